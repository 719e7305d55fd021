"""Commands that read stores: plot, compare, validate, report, recommend."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lotbench.cli.options import OtherStore, StoreFolder, StoreFolders
from lotbench.cli.output import counted, draw, show_table
from lotbench.errors import InputError


def plot(
    folder: StoreFolder,
    into: Annotated[
        Path | None,
        typer.Option(
            help="A front page in Markdown: write its marked table, draw its figure.",
            metavar="PAGE",
        ),
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", help="Formats of figures beside PNG: svg, pdf or svg,pdf.")
    ] = "",
) -> None:
    """Redraw every figure of a store and write its README.md, from the store alone."""
    from lotbench.report.tables.of_task import console
    from lotbench.statistics.store_view import StoreView

    chosen = ["png", *filter(None, formats.split(","))]
    if unknown := sorted({*chosen} - {"png", "svg", "pdf"}):
        raise InputError(f"--format {formats}: {unknown[0]} is not known; use svg, pdf or svg,pdf")
    study = StoreView(folder)
    if not draw(study, chosen):
        show_table(console(study))
        raise typer.Exit(2)
    if into is not None:
        from lotbench.report.figures.draw import draw_hero
        from lotbench.report.tables import headline

        for path in draw_hero(study):
            typer.echo(f"drew {path}")
        typer.echo(f"wrote {headline.write(study, into)}")


def compare(
    folder: StoreFolder,
    other: OtherStore,
    output: Annotated[
        Path | None, typer.Option(help="Write the tables to this file, in Markdown.")
    ] = None,
) -> None:
    """Compare the scores of a store with those of another, model by model, in pairs."""
    from lotbench.report.tables.render import markdown, plain, terminal
    from lotbench.report.tables.two_stores import agreement, two_stores
    from lotbench.statistics.store_view import StoreView
    from lotbench.store.files import write_file

    studies = StoreView(folder), StoreView(other)
    tables = two_stores(*studies)
    if not tables:
        raise InputError(
            f"{folder}, {other}: they share no model (task, texts, method, parameters, seed); "
            "compare two runs of one task"
        )
    for table in tables:
        show_table(terminal(table))
    sentences = agreement(*studies)
    for sentence in sentences:
        typer.echo(sentence)
    if output is not None:
        parts = ["`lotbench compare` writes this file; edits are lost.", *map(markdown, tables)]
        write_file(output, "\n\n".join([*parts, *map(plain, sentences)]) + "\n")
        typer.echo(f"wrote {output}")


def validate(folders: StoreFolders) -> None:
    """Check that the numbers of a store agree with each other; exit code 1 if some do not."""
    from lotbench.audit.store import audit

    found = [audit(folder) for folder in folders]
    for own in found:
        for fault in own.faults:
            typer.echo(f"{own.folder}: {fault}")
        counts = ", ".join(counted(n, kind.removesuffix("s")) for kind, n in own.counts.items())
        passes = counted(own.rowless, "timing pass")
        missing = f"; without the rows of some models: {passes}" if own.rowless else ""
        faults = counted(len(own.faults), "fault") if own.faults else "no faults"
        typer.echo(f"{own.folder}: {counts}; {faults}{missing}")
    if any(own.faults for own in found):
        raise typer.Exit(1)


def report(
    folders: StoreFolders,
    output: Annotated[
        Path | None,
        typer.Option(help="The HTML file; report.html in the store, or here for several stores."),
    ] = None,
    title: Annotated[
        str, typer.Option(help="The title; else the name of the store, or their number.")
    ] = "",
) -> None:
    """Write one HTML file that shows and explains stores, and their tables in other formats."""
    from lotbench.report.page import page
    from lotbench.statistics.store_view import StoreView

    for path in page.write([StoreView(folder) for folder in folders], output, title=title):
        typer.echo(f"wrote {path}")


def recommend(
    folder: StoreFolder,
    drop: Annotated[
        float, typer.Option("--max-drop", min=0, help="Largest drop below the reference in points.")
    ],
    p95: Annotated[
        str | None, typer.Option(help="Longest 95th percentile from text to answer, such as 20ms.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Texts per call; the smallest batch that was timed by default."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda or one GPU, such as cuda:0.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for scripts.")] = False,
) -> None:
    """Name the fastest trained model within limits, or the nearest; exit code 1 if none is."""
    import json

    from lotbench.report import advice
    from lotbench.report.recommend import Limits, default_batch, recommend
    from lotbench.statistics.store_view import StoreView

    study = StoreView(folder)
    batch = batch or default_batch(study, device, threads)
    limits = Limits(drop, advice.seconds(p95) if p95 else None, batch, threads, device)
    found = recommend(study, limits)
    if as_json:
        typer.echo(json.dumps([advice.as_json(own, study, limits) for own in found], indent=1))
    else:
        typer.echo("\n\n".join(advice.as_text(own, study, limits) for own in found))
    if any(own.choice is None for own in found):
        raise typer.Exit(1)

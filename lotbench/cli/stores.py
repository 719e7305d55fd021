"""Commands that read stores: plot, compare, validate, submit, report, leaderboard, recommend."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from lotbench.cli.options import SHIPPED, OtherStore, StoreFolder, StoreFolders
from lotbench.cli.output import counted, draw, show_failures, show_lines, show_store
from lotbench.errors import InputError

log = logging.getLogger(__name__)

MOST_FAULTS = 20


def plot(
    folders: StoreFolders,
    into: Annotated[
        Path | None,
        typer.Option(
            help="A front page in Markdown: write the table of all these stores into it, and draw "
            "the figure of the first.",
            metavar="PAGE",
        ),
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", help="Formats of figures beside PNG: svg, pdf or svg,pdf.")
    ] = "",
) -> None:
    """Draw the figures of stores again and write their README.md."""
    from lotbench.statistics.frames import error_text
    from lotbench.statistics.store_view import StoreView

    chosen = ["png", *filter(None, formats.split(","))]
    if unknown := sorted({*chosen} - {"png", "svg", "pdf"}):
        raise InputError(f"--format {formats}: {unknown[0]} is not known; use svg, pdf or svg,pdf")
    studies = [StoreView(folder) for folder in folders]
    drawn = [draw(study, chosen) for study in studies]
    first = studies[0]
    if all(drawn) and into is not None:
        from lotbench.report.figures.draw import draw_hero
        from lotbench.report.tables import headline

        draw_hero(first)
        log.info("wrote %s", headline.write(studies, into))
    for study in studies:
        failed = {run.trial.trial_id: error_text(run) for run in study.failed}
        show_failures(failed, study.folder)
    if len(studies) == 1:
        show_store(first)
    if not all(drawn):
        raise typer.Exit(2)


def compare(
    folder: StoreFolder,
    other: OtherStore,
    output: Annotated[
        Path | None, typer.Option(help="Write the tables to this file, in Markdown.")
    ] = None,
) -> None:
    """Compare two stores, model by model, in pairs."""
    from lotbench.report.screen import of_two
    from lotbench.report.tables.render import markdown, plain
    from lotbench.report.tables.two_stores import agreement, two_stores
    from lotbench.statistics.store_view import StoreView
    from lotbench.store.files import write_file

    studies = StoreView(folder), StoreView(other)
    tables, orders = two_stores(*studies), agreement(*studies)
    if not tables:
        raise InputError(
            f"{folder}, {other}: they share no model (task, texts, method, parameters, seed); "
            "compare two runs of one task"
        )
    if output is not None:
        parts = ["`lotbench compare` writes this file; edits are lost.", *map(markdown, tables)]
        parts += [plain(own.sentence) for own in orders]
        write_file(output, "\n\n".join(parts) + "\n")
    written = output or f"lotbench compare {folder} {other} --output tables.md"
    typer.echo("\n".join(of_two(tables, orders, str(written))))


def validate(folders: StoreFolders) -> None:
    """Check that the numbers of a store agree with each other.

    Exit code 1 if some do not.
    """
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


def submit(folder: StoreFolder) -> None:
    """Check a store of the suite, bundle it, and say where to send it.

    Exit code 1 if it does not fit.
    """
    from lotbench.audit.submission import bundle, faults, plugins
    from lotbench.config.load import load_sweep

    suite, _ = load_sweep(SHIPPED["suite"])
    if found := faults(folder, suite):
        for fault in found[:MOST_FAULTS]:
            typer.echo(f"{folder}: {fault}")
        typer.echo(f"{folder}: {counted(len(found), 'fault')}; nothing is bundled")
        raise typer.Exit(1)
    written, place = bundle(folder), f"results/submissions/{folder.resolve().name}"
    files = "".join(f" and {Path(own).name}" for own in plugins(folder))
    lines = [
        f"Wrote  {written} ({written.stat().st_size / 1e6:.1f} MB)",
        f"Send   a pull request that adds its folder as {place}{files}",
        f"Look   lotbench leaderboard results/reference/suite {folder}",
    ]
    show_lines(lines)


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
    """Write one HTML page of stores, and their tables as files."""
    from lotbench.report.page import page
    from lotbench.statistics.store_view import StoreView

    studies = [StoreView(folder) for folder in folders]
    whole, *tables = page.write(studies, output, title=title)
    typer.echo(f"wrote {whole} and {counted(len(tables), 'file')} in {tables[0].parent}")
    typer.echo(f"open {whole}")


def leaderboard(
    folders: StoreFolders,
    into: Annotated[
        Path, typer.Option(help="Folder of leaderboard.csv and leaderboard.html.", metavar="FOLDER")
    ] = Path("results"),
) -> None:
    """Rank the methods of all stores of a suite, as CSV and as one HTML page."""
    from lotbench.report.leaderboard import write
    from lotbench.statistics.store_view import StoreView

    for file in write([StoreView(folder) for folder in folders], into):
        typer.echo(f"wrote {file}")


def recommend(
    folder: StoreFolder,
    drop: Annotated[
        float, typer.Option("--max-drop", min=0, help="Largest drop below the reference in points.")
    ] = 1.0,
    p95: Annotated[
        str | None, typer.Option(help="Longest 95th percentile from text to answer, such as 20ms.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Texts per call; by default the least timed.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; by default the fewest timed.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda or one GPU, such as cuda:0; by default what was timed."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for scripts.")] = False,
) -> None:
    """Name the fastest trained model within limits, or the nearest.

    Exit code 1 if none is within them.
    """
    import json

    from lotbench.report import advice
    from lotbench.report.recommend import Limits, default_where, recommend
    from lotbench.statistics.store_view import StoreView

    study = StoreView(folder)
    where = default_where(study, device, threads, batch)
    longest = advice.seconds(p95) if p95 else None
    limits = Limits(drop, longest, where.batch_size, where.threads, where.device)
    found = recommend(study, limits)
    if as_json:
        typer.echo(json.dumps([advice.as_json(own, study, limits) for own in found], indent=1))
    else:
        typer.echo("\n".join(advice.screen(found, study, limits)))
    if any(own.choice is None for own in found):
        raise typer.Exit(1)

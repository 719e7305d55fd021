"""Commands that train and time: sweep, run, measure, accelerate."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotbench.cli.interruption import kept
from lotbench.cli.options import Overrides, Plugins, Root, RunFolder, StoreFolder, SweepFile, synced
from lotbench.cli.output import counted, draw, show, show_failures, show_lines, show_standing
from lotbench.errors import InputError

if TYPE_CHECKING:
    from lotbench.accelerate.run import Acceleration
    from lotbench.cluster.sweep import SweepResult
    from lotbench.config.load import Alone

MAPPED = ("threads", "devices", "backends", "rounds")
"""The keys of a measure block that a map uses."""


def sweep(
    context: typer.Context,
    file: SweepFile,
    overrides: Overrides = None,
    root: Root = Path("results"),
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to run on: 'auto' or an address.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most trials side by side; 1 runs in this process without Ray. By default as many "
            "as there are cores for.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the trials and their hours; run none.")
    ] = False,
    max_trials: Annotated[
        int | None, typer.Option(min=1, help="Run at most this many trials now.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="Train this method alone (a file, or a name), and rank it among the others in the "
            "store that the sweep's `compare` names.",
            metavar="METHOD",
        ),
    ] = None,
    tasks: Annotated[str, typer.Option(help="Only these tasks, divided by commas.")] = "",
) -> None:
    """Train, score and time the methods of a sweep file.

    Finished trials are skipped.
    """
    from lotbench.config.load import load_sweep

    names = [name.strip() for name in tasks.split(",") if name.strip()]
    alone = None if method is None else _alone(method)
    config, document = load_sweep(file, overrides or [], names, alone)
    reference = Path(config.compare) if config.compare else None
    if alone and (reference is None or not (reference / "trials").is_dir()):
        raise InputError(f"--method: no store {reference} of the others here; --set compare=STORE")
    from lotbench.plan.plan import plan

    folder = root / config.name
    synced(context, folder)
    planned = plan(config, document, root, max_trials)
    if dry_run:
        from lotbench.cli.progress_lines import progress_bar
        from lotbench.forecast.preview import preview
        from lotbench.trial.progress import listening

        with kept("nothing was run"), progress_bar() as show_bar, listening(show_bar):
            lines = preview(planned)
        typer.echo("\n".join(lines))
        return
    from lotbench.cli.progress_lines import live_table
    from lotbench.cluster.sweep import run_sweep

    with kept("finished trials and timing passes are kept; run it again to go on"):
        done = run_sweep(planned, address, live_table, workers)
    show_failures(done.failed, folder)
    if alone and reference:
        show_standing(reference, folder, [*config.tasks], _counts(done, folder))
    elif (folder / "trials").is_dir():
        show(folder, [_counts(done, folder)], reference)
    else:
        show_lines([_counts(done, folder)])
    if done.failed:
        raise typer.Exit(1)


def _alone(method: str) -> Alone:
    from lotbench import registry
    from lotbench.config.load import Alone

    classes, plugins = registry.find(method)
    return Alone([cls.name for cls in classes], plugins)


def _counts(done: SweepResult, folder: Path) -> str:
    """What a sweep did, in a line."""
    from lotbench.store import bucket

    line = (
        f"{counted(done.ran, 'trial')} ran, {done.skipped} done before, {len(done.failed)} failed; "
        f"{counted(done.timed, 'timing pass')} added"
    )
    return f"{line}; store: {bucket.address(folder)}" if bucket.place_of(folder) else line


def run(
    file: Annotated[Path, typer.Argument(help="The trial's YAML file.")],
    overrides: Overrides = None,
    folder: RunFolder = Path("results/runs"),
) -> None:
    """Train and score one trial, without Ray."""
    from lotbench.config.load import load_trial

    config, place = load_trial(file, overrides or [])
    from lotbench.cli.progress_lines import progress_bar
    from lotbench.plan.plan import plan_trial
    from lotbench.store.store import Store
    from lotbench.trial.progress import four_digits, listening
    from lotbench.trial.trial import run_alone

    store = Store(folder)
    trial = plan_trial(config, place, store)
    with (
        kept("nothing of this trial is kept but its teacher; run it again"),
        progress_bar() as show,
        listening(show),
    ):
        try:
            result = run_alone(trial, store)
        except InputError as error:  # the data's keys are those of a sweep, which has many tasks
            message = str(error).replace(f"tasks.{config.task}.", "task.")
            raise InputError(message) from error
    if result.error is not None:
        typer.echo(f"failed: {result.error.kind}: {result.error.message}", err=True)
        if result.error.traceback is not None:
            typer.echo(result.error.traceback, err=True)
        raise typer.Exit(1)
    for point in result.evaluations:
        budget = str(point.budget or "")
        scores = " ".join(f"{name} {four_digits(value)}" for name, value in point.metrics.items())
        speed = f"{point.flops_speedup:.2f}x FLOPs"
        typer.echo(" ".join(filter(None, [f"{point.split}:", budget, scores, speed])))
    model = folder / str(result.model)
    typer.echo(f"\nRow   {folder / 'trials' / result.trial_id}.json")
    if result.model is not None:
        typer.echo(f'Load  lotbench.load("{model}")')
        show_lines([f"Next  lotbench inspect {shlex.quote(str(model))} --split validation"])


def measure(
    folder: StoreFolder,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the measure block."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Store no pass with a noisy speed-up.")
    ] = False,
    plugins: Plugins = None,
    break_even: Annotated[
        bool,
        typer.Option(
            "--map", help="Map where reduction pays on this machine; time no stored model."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how long the passes take; run none.")
    ] = False,
) -> None:
    """Time the models of a store again.

    Passes are added, never overwritten.
    """
    from lotbench.config.load import stored_sweep
    from lotbench.config.sections import MeasureConfig

    config = stored_sweep(folder, overrides or [])
    unused = ["--dry-run"] * dry_run + ["--strict"] * strict + ["--plugin"] * bool(plugins)
    for change in overrides or []:
        if change.partition("=")[0].strip() not in MAPPED:
            unused.append(f"--set {change}")
    if break_even and unused:
        raise InputError(
            f"{unused[0]}: cannot be combined with --map, but --set of {', '.join(MAPPED)} can"
        )
    from lotbench.statistics.store_view import StoreView
    from lotbench.store import bucket
    from lotbench.store.store import Store

    store = Store(folder)
    if break_even:
        from lotbench.measure.breakeven import map_break_even

        with kept("maps that are done are kept; run it again for the others"), store.lock():
            count = map_break_even(store, config)
        draw(StoreView(folder))
        typer.echo(f"{counted(count, 'map')} added; see {folder / 'README.md'}")
        return
    from lotbench.timing.run import time_models
    from lotbench.timing.select import announced, check_targets, select

    block = config.measure or MeasureConfig()
    check_targets(store, block)
    bucket.pull(folder, "models")
    if dry_run:
        selections = select(store, block, ids=None, again=True, plugins=plugins or [])
        typer.echo("\n".join(announced(selections, block)))
        return
    with kept("timing passes that are done are kept; run it again for the others"), store.lock():
        done = time_models(store, block, again=True, strict=strict, plugins=plugins or [])
    for rows in done.refused:
        typer.echo(f"noisy, not stored: {rows}", err=True)
    if done.refused:
        typer.echo("measure on a quieter machine, or raise rounds (--set rounds=50)", err=True)
    for why in done.failed:
        typer.echo(f"failed: {why}", err=True)
    show(folder, [f"{counted(done.written, 'timing pass')} added"])
    if done.refused or done.failed:
        raise typer.Exit(1)


def accelerate(
    model: Annotated[
        str,
        typer.Argument(
            help="Your fine-tuned classifier, cross-encoder or sentence encoder: a folder, "
            "package:NAME/FOLDER or a hub id.",
            metavar="MODEL",
        ),
    ],
    texts: Annotated[
        str,
        typer.Argument(
            help="Texts like those that it will read, with labels or without: a table, a folder, "
            "or a built-in task.",
            metavar="TEXTS",
        ),
    ],
    drop: Annotated[
        float, typer.Option("--max-drop", min=0, help="Largest drop of the score in points.")
    ],
    batch: Annotated[int, typer.Option(min=1, help="Texts per call (batch size).")] = 1,
    passages: Annotated[
        int | None,
        typer.Option(min=2, help="Of a reranker: a call is one query with so many passages."),
    ] = None,
    passages_from: Annotated[
        str | None,
        typer.Option(
            help="Passages for queries that have none: a table, a .txt file or a folder of .txt "
            "files; each query gets the best 50 by BM25."
        ),
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(min=0.1, max=1000, help="Time for all of it; by default about half an hour."),
    ] = None,
    output: Annotated[
        Path, typer.Option(help="Folder of the faster model, the page and all that led to it.")
    ] = Path("accelerated"),
    or_dense: Annotated[
        bool,
        typer.Option(
            "--or-dense", help="If nothing is faster, export the model itself, fastest backend."
        ),
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY.PATH=VALUE", help="Change one value of the sweep behind it."
        ),
    ] = None,
) -> None:
    """Make your own model faster: search, time, choose and export.

    Exit code 1 if nothing is faster.
    """
    from lotbench.accelerate.recipe import Extent
    from lotbench.accelerate.run import accelerate
    from lotbench.cli.progress_lines import live_table, progress_bar
    from lotbench.report.recommend import Limits

    if passages and batch > 1:
        raise InputError("--batch: a call has the --passages of one query; give one of the two")
    limits = Limits(drop, None, passages or batch, threads=1, device="cpu", exported=True)
    again = f"all that is done is kept in {output}; run the same command again to go on"
    with kept(again):
        extent = Extent(limits.batch, passages is not None, hours)
        given = overrides or [], extent, or_dense, passages_from
        found = accelerate(model, texts, limits, output, *given, live_table, progress_bar)
    _show_faster(found, drop, output)
    if not found.faster:
        raise typer.Exit(1)


def _show_faster(found: Acceleration, drop: float, output: Path) -> None:
    from lotbench.report.layout import labelled

    if not found.faster:
        typer.echo(f"Nothing is faster within a drop of {drop:g}; the nearest:")
    ends = {"Open": str(found.page)}
    if found.model is not None:
        ends["Load"] = f'lotbench.load("{found.model}")'
    if found.tokens is not None:
        ends["Look"] = str(found.tokens)
    if not found.faster:
        ends["Next"] = "the same command with a larger --max-drop, or with --or-dense"
    ends["All"] = str(output / "study")
    typer.echo("\n".join([*labelled(found.lines), "", *labelled(ends)]))

"""The command line: results go to stdout, progress and notes to stderr.

Every import that costs time is inside its command.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from lotbench.errors import InputError, PassFailed

app = typer.Typer(
    help="Benchmarks and ablations for token reduction in transformer encoders.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

WIDEST = 180
"""Most columns of a table on a narrower terminal."""
UNWRITABLE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EDQUOT, errno.ENAMETOOLONG),
}
"""No permission, a read-only or full disk, a file in the place of a folder, or a long name."""

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change one value of the file."),
]
Root = Annotated[Path, typer.Option("--results", help="Folder that holds the stores.")]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin", metavar="FILE", help="Import this file or module, which defines a method."
    ),
]
StoreFolder = Annotated[Path, typer.Argument(help="A sweep's store, such as results/quickstart.")]


class Interrupted(Exception):
    """Ctrl-C; the message says what is kept and how to go on."""


@contextmanager
def _kept(what: str) -> Iterator[None]:
    """Inside, Ctrl-C ends the command with a sentence, where typer would say nothing."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {what}") from None


def main() -> None:
    """Run the command line.

    Exit code 0 is done, 1 trials or a timing pass failed, 2 bad input, 130 interrupted.
    """
    from lotbench.console import show_log

    show_log()
    try:
        app()
    except (InputError, PassFailed) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except Interrupted as error:
        typer.echo(f"\n{error}", err=True)
        sys.exit(130)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"error: {where}{error.strerror}", err=True)
        sys.exit(2)


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="The sweep's YAML file.")],
    overrides: Overrides = None,
    root: Root = Path("results"),
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to run on: 'auto' or an address.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the trials and what they cost; run none.")
    ] = False,
    max_trials: Annotated[
        int | None, typer.Option(min=1, help="Run at most this many trials now.")
    ] = None,
) -> None:
    """Train, score, time and draw every trial of a sweep; finished ones are skipped."""
    from lotbench.config.load import load_sweep

    config, document = load_sweep(file, overrides or [])
    from lotbench.study.plan import plan

    planned = plan(config, document, root, max_trials)
    if dry_run:
        from lotbench.study.preview import preview

        _print(preview(planned))
        return
    from lotbench.study.sweep import run_sweep

    with _kept("finished trials and timing passes are kept; run it again to go on"):
        done = run_sweep(planned, address)
    if (done.folder / "trials").is_dir():
        _show(done.folder)
    typer.echo(
        f"{done.ran} trials ran, {done.skipped} were done before, {len(done.failed)} failed; "
        f"{done.timed} timing passes added; store: {done.folder}"
    )
    for name, why in done.failed.items():
        typer.echo(f"failed: {name}: {why}", err=True)
    if done.failed:
        raise typer.Exit(1)


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="The trial's YAML file.")],
    overrides: Overrides = None,
    folder: Annotated[
        Path, typer.Option("--results", help="Store of the row and the model.")
    ] = Path("results/runs"),
) -> None:
    """Train and score one trial, without Ray."""
    from lotbench.config.load import load_trial

    config, place = load_trial(file, overrides or [])
    from lotbench.console import progress_bar
    from lotbench.study.plan import resolve
    from lotbench.study.progress import listening
    from lotbench.study.trial import run_alone

    trial = resolve(config, place)
    with (
        _kept("nothing of this trial is kept but its teacher; run it again"),
        progress_bar() as show,
        listening(show),
    ):
        result = run_alone(trial, folder, sys.__stderr__)
    if result.error is not None:
        typer.echo(f"failed: {result.error.kind}: {result.error.message}", err=True)
        if result.error.traceback is not None:
            typer.echo(result.error.traceback, err=True)
        raise typer.Exit(1)
    for point in result.evaluations:
        budget = " ".join(f"{name}={value}" for name, value in point.budget.items())
        scores = " ".join(f"{name} {value:.4f}" for name, value in point.metrics.items())
        speed = f"{point.flops_speedup:.2f}x FLOPs"
        typer.echo(" ".join(filter(None, [f"{point.split}:", budget, scores, speed])))
    typer.echo(
        f"row: {folder / 'trials' / result.trial_id}.json; model: {folder / str(result.model)}"
    )


@app.command()
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
) -> None:
    """Time the stored models again; passes are added, never overwritten."""
    from lotbench.config.load import stored_sweep
    from lotbench.config.sections import MeasureConfig

    config = stored_sweep(folder, overrides or [])
    if break_even and strict:
        raise InputError("--strict: a map has no strict form; leave out --map or --strict")
    from lotbench.store.store import Store
    from lotbench.study import timing

    store = Store(folder)
    if break_even:
        with _kept("maps that are done are kept; run it again for the others"), store.lock():
            count = timing.map_break_even(store, config)
        _draw_maps(folder)
        typer.echo(f"maps added: {count}")
        return
    block = config.measure or MeasureConfig()
    with _kept("timing passes that are done are kept; run it again for the others"), store.lock():
        done = timing.measure(store, block, again=True, strict=strict, plugins=plugins or [])
    _show(folder)
    typer.echo(f"{done.written} timing passes added")
    for rows in done.refused:
        typer.echo(f"noisy, not stored: {rows}", err=True)
    if done.refused:
        typer.echo("measure on a quieter machine, or raise rounds (--set rounds=50)", err=True)
    for why in done.failed:
        typer.echo(f"failed: {why}", err=True)
    if done.refused or done.failed:
        raise typer.Exit(1)


@app.command()
def plot(folder: StoreFolder) -> None:
    """Redraw every figure of a store and write its README.md, from the store alone."""
    if not _draw(folder):
        from lotbench.report import tables

        _print(tables.render(folder))
        raise typer.Exit(2)


@app.command()
def validate(
    folders: Annotated[list[Path], typer.Argument(help="Stores to check.", metavar="RESULTS...")],
) -> None:
    """Check that the numbers of a store agree with each other; exit code 1 if some do not."""
    from lotbench.audit.audit import audit

    found = [audit(folder) for folder in folders]
    for own in found:
        for fault in own.faults:
            typer.echo(f"{own.folder}: {fault}")
        counts = ", ".join(f"{count} {kind}" for kind, count in own.counts.items())
        lacking = ", ".join(f"{what} ({count} files)" for what, count in own.unchecked.items())
        missing = f"; not there to check: {lacking}" if lacking else ""
        typer.echo(f"{own.folder}: {counts}; {len(own.faults) or 'no'} faults{missing}")
    if any(own.faults for own in found):
        raise typer.Exit(1)


@app.command()
def inspect(
    folders: Annotated[
        list[Path], typer.Argument(help="Trained models, one or more.", metavar="MODEL...")
    ],
    text: Annotated[
        list[str] | None, typer.Option("--text", help="A text; give it twice for a pair.")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="validation or selection, instead of a text.")
    ] = None,
    target: Annotated[
        float | None, typer.Option(help="Use the budget of this FLOPs speed-up, from the row.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the figure (PNG, SVG) and an HTML page.")
    ] = None,
    plugins: Plugins = None,
) -> None:
    """Show which tokens trained models process, layer by layer."""
    if bool(text) == bool(split):
        raise InputError("give either --text TEXT or --split validation")
    if split not in (None, "validation", "selection"):
        raise InputError(f"--split {split}: validation or selection is needed")
    if text and len(text) > 2:
        raise InputError(f"--text: one text, or the two of a pair; {len(text)} are given")
    from lotbench import registry
    from lotbench.inspection import inspect as inspection

    for plugin in plugins or []:
        registry.load_plugin(plugin)
    if text:
        table, files = inspection.of_text(folders, text, target, output)
    else:
        table, files = inspection.of_split(folders, str(split), target, output)
    _print(table)
    for path in files:
        typer.echo(f"wrote {path}")


@app.command()
def export(
    model: Annotated[
        Path, typer.Argument(help="Folder of a trained model, models/... in a store.")
    ],
    folder: Annotated[Path, typer.Argument(help="New folder for the exported model.")],
    backend: Annotated[
        str,
        typer.Option(help="onnx-fp32, onnx-int8, openvino-fp32 or openvino-bf16."),
    ] = "onnx-fp32",
    budget: Annotated[
        float | None, typer.Option(help="The method's budget; that of training by default.")
    ] = None,
    plugins: Plugins = None,
) -> None:
    """Write a trained model as an ONNX file that runs without LoTBench."""
    from lotbench.deploy.folder import write
    from lotbench.report.measured import measured

    about = write(model, folder, backend, budget, measured(model), plugins or [])
    typer.echo(f"wrote {folder}/model.onnx ({about.method}, {about.backend}) and README.md")


@app.command()
def report(
    folders: Annotated[
        list[Path], typer.Argument(help="One or several stores.", metavar="RESULTS...")
    ],
    output: Annotated[
        Path | None,
        typer.Option(help="The HTML file; report.html in the store, or here for several stores."),
    ] = None,
) -> None:
    """Write one HTML file that shows and explains stores, and their tables in other formats."""
    from lotbench.report.html import page

    for path in page.write(folders, output):
        typer.echo(f"wrote {path}")


@app.command()
def schema() -> None:
    """Write the JSON schema of the stored records: trials, timing passes and maps."""
    import json

    from lotbench.store.records import schema

    typer.echo(json.dumps(schema(), indent=1))


@app.command()
def methods() -> None:
    """List the methods with their parameters and defaults."""
    from rich.console import Console

    from lotbench.console import methods_table

    Console().print(methods_table())


@app.command()
def check(
    method: Annotated[str, typer.Argument(help="A method's name, a Python file or module:Class.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one hyper-parameter."),
    ] = None,
) -> None:
    """Check a method against every rule of the contract; exit code 1 if one is broken."""
    from lotbench import registry
    from lotbench.config.document import Document
    from lotbench.config.overrides import override

    params = override(Document("--set"), overrides or []).data
    classes, plugins = registry.find(method)
    from lotbench.console import checklist

    if not all([checklist(cls, params, plugins) for cls in classes]):
        raise typer.Exit(1)


@app.command()
def new_method(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens.")],
    folder: Annotated[Path, typer.Option("--output", help="Folder of the file.")] = Path("."),
) -> None:
    """Write a small working method to start from, as a plugin file."""
    from lotbench.conformance.scaffold import write

    path = write(name, folder)
    typer.echo(f"wrote {path}; next: lotbench check {path}")


def _show(folder: Path) -> None:
    """Draw the figures of a store and print its tables."""
    from lotbench.report import tables

    _draw(folder)
    _print(tables.render(folder))


def _draw(folder: Path) -> bool:
    """Draw every figure of a store and write its README.md; False if the store is read-only."""
    from lotbench.report import plots, readme

    try:
        figures = plots.draw(folder)
        for path in figures:
            typer.echo(f"drew {path}")
        figures += _draw_maps(folder)
        if written := readme.write(folder, figures):
            typer.echo(f"wrote {written}")
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        typer.echo(
            f"not drawn: {error.filename or folder}: {error.strerror}; to have figures and "
            "README.md, copy the store to a folder that can be written and plot it there",
            err=True,
        )
        return False
    return True


def _draw_maps(folder: Path) -> list[Path]:
    from lotbench.report import breakeven

    files = breakeven.draw(folder)
    for path in files:
        typer.echo(f"drew {path}")
    return files


def _print(table: Any) -> None:
    """Print a table at its full width; at less, rich leaves out columns."""
    from rich.console import Console

    need = Console(width=WIDEST).measure(table).maximum
    Console(width=max(Console().width, need)).print(table)

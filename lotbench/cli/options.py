"""Options and arguments that several commands have, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

import lotbench
from lotbench.errors import InputError, near_misses
from lotbench.store.bucket import mirror

Given = TypeVar("Given", Path, list[Path])

MODELS = "models"
SHIPPED = {path.stem: path for path in Path(lotbench.__file__).parent.glob("sweeps/*.yaml")}
"""The sweeps of the project by name; their folder is a link in a clone."""


def sweep_file(given: Path) -> Path:
    """The given file, ``NAME.yaml`` in this folder, or the sweep of that name in LoTBench."""
    if given.suffix or given.is_file():
        return given
    own = given.with_suffix(".yaml")
    if own.is_file():
        return own
    if str(given) not in SHIPPED:
        raise InputError(f"{given}: no such file or sweep; {near_misses(str(given), [*SHIPPED])}")
    return SHIPPED[str(given)]


def synced(context: typer.Context, given: Given) -> Given:
    """The folders of stores; those of a bucket are pulled now, and pushed at the end."""
    from lotbench.store import bucket

    for folder in given if isinstance(given, list) else [given]:
        if bucket.place_of(folder) is not None:
            from lotbench.store.store import Store

            store = Store(folder)
            store.pull()
            context.call_on_close(store.push)
    return given


def with_rows(context: typer.Context, given: Given) -> Given:
    """The folders of models; those of a bucket are pulled now, with the rows of their stores."""
    from lotbench.store import bucket

    for folder in given if isinstance(given, list) else [given]:
        if folder.parent.name == MODELS:
            synced(context, folder.parent.parent)
        bucket.pull(folder)
    return given


def version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        typer.echo(f"lotbench {lotbench.__version__}")
        raise typer.Exit


def _folder(words: str, metavar: str, callback: Callable[..., object]) -> Any:
    """An argument for folders, which may be given as URIs."""
    return typer.Argument(help=words, metavar=metavar, parser=mirror, callback=callback)


def _results(words: str, callback: Callable[..., object] | None = None) -> Any:
    """The option of a store or of stores, which may be given as a URI."""
    metavar = "FOLDER|URI"
    return typer.Option("--results", help=words, metavar=metavar, parser=mirror, callback=callback)


Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change one value of the file."),
]
Root = Annotated[Path, _results("Folder or URI that holds the stores.")]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin", metavar="FILE", help="Import this file or module, which defines a method."
    ),
]
StoreFolder = Annotated[
    Path, _folder("A sweep's store, such as results/quickstart.", "RESULTS", synced)
]
OtherStore = Annotated[Path, _folder("The store to compare it with.", "OTHER", synced)]
StoreFolders = Annotated[list[Path], _folder("One or several stores.", "RESULTS...", synced)]
RunFolder = Annotated[Path, _results("Store of the row and the model.", synced)]
ModelFolder = Annotated[
    Path, _folder("Folder of a trained model, models/... in a store.", "MODEL", with_rows)
]
ModelFolders = Annotated[list[Path], _folder("Trained models, one or more.", "MODEL...", with_rows)]
SweepFile = Annotated[
    Path,
    typer.Argument(
        help="A YAML file, or the name of a sweep that comes with LoTBench: "
        + ", ".join(sorted(SHIPPED)),
        metavar="SWEEP",
        callback=sweep_file,
    ),
]
Version = Annotated[
    bool,
    typer.Option("--version", callback=version, is_eager=True, help="Print the version."),
]

"""What several commands print and draw."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from lotbench.statistics.store_view import StoreView

WIDEST = 180
"""Most columns of a table on a narrower terminal."""
UNWRITABLE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EDQUOT, errno.ENAMETOOLONG),
}
"""No permission, a read-only or full disk, a file in the place of a folder, or a long name."""


def show(folder: Path) -> None:
    """Draw the figures of a store and print its tables."""
    from lotbench.report.chance import nothing_learned
    from lotbench.report.tables.of_task import console
    from lotbench.statistics.store_view import StoreView

    study = StoreView(folder)
    for task in study.tasks:
        if warning := nothing_learned(task, study):
            typer.echo(f"{task}: {warning}")
    draw(study)
    show_table(console(study))


def show_agreement(folder: Path, other: Path) -> None:
    """Print how far the order of methods agrees with that of another store, if it is there."""
    from lotbench.report.tables.two_stores import agreement
    from lotbench.statistics.store_view import StoreView

    if not (other / "trials").is_dir():
        typer.echo(f"compare: no store {other} here, so the order of methods is not compared")
        return
    for sentence in agreement(StoreView(folder), StoreView(other)):
        typer.echo(sentence)


def draw(study: StoreView, formats: Sequence[str] = ("png",)) -> bool:
    """Draw every figure of a store and write its README.md; False if the store is read-only."""
    from lotbench.report import readme
    from lotbench.report.figures.draw import draw

    try:
        figures = draw(study, formats)
        for path in figures:
            typer.echo(f"drew {path}")
        if written := readme.write(study, figures):
            typer.echo(f"wrote {written}")
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        typer.echo(
            f"not drawn: {error.filename or study.folder}: {error.strerror}; to have figures and "
            "README.md, copy the store to a folder that can be written and plot it there",
            err=True,
        )
        return False
    return True


def show_table(table: Any) -> None:
    """Print a table at its full width; at less, rich leaves out columns."""
    from rich.console import Console

    need = Console(width=WIDEST).measure(table).maximum
    Console(width=max(Console().width, need)).print(table)


def counted(number: int, thing: str) -> str:
    """``1 trial`` or ``2 trials``."""
    ending = "" if number == 1 else "es" if thing.endswith("s") else "s"
    return f"{number} {thing}{ending}"

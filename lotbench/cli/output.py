"""What several commands print and draw."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from lotbench.statistics.store_view import StoreView

log = logging.getLogger(__name__)

UNWRITABLE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EDQUOT, errno.ENAMETOOLONG),
}
"""No permission, a read-only or full disk, a file in the place of a folder, or a long name."""
MOST_FAILURES = 3


def show(folder: Path, before: Sequence[str], compare: Path | None = None) -> None:
    """Draw the figures of a store, write its pages, and print its screen.

    The screen begins with the lines ``before``.  It says how far the order of methods agrees with
    that of the store ``compare``.
    """
    from lotbench.report.page import page
    from lotbench.statistics.store_view import StoreView

    study = StoreView(folder)
    draw(study)
    try:
        page.write([study])
    except Exception as error:  # the results are there, and a sweep of hours has not failed
        log.warning("report.html is not written: %s: %s", type(error).__name__, error)
    show_store(study, before, [] if compare is None else agreed(study, compare))


def show_store(study: StoreView, before: Sequence[str] = (), after: Sequence[str] = ()) -> None:
    """Print the screen of a store."""
    from lotbench.report.screen import of_store

    typer.echo("\n".join(of_store(study, before, after)))


def show_standing(reference: Path, folder: Path, tasks: Sequence[str], first: str) -> None:
    """Draw a store, and print where its methods stand among those of another one, by task."""
    from lotbench.report.page import page
    from lotbench.report.screen import of_standing
    from lotbench.statistics.store_view import StoreView

    study = StoreView(folder)
    draw(study)
    page.write([study])
    typer.echo("\n".join([first, *of_standing(StoreView(reference), study, tasks)]))


def show_lines(lines: Iterable[str]) -> None:
    """Print lines, those that are too long for the screen in several."""
    from lotbench.report.layout import fit

    typer.echo("\n".join(fit(lines)))


def show_failures(failed: dict[str, str], folder: Path) -> None:
    """Print why trials failed, the first of them."""
    for name, why in [*failed.items()][:MOST_FAILURES]:
        typer.echo(f"failed: {name}: {why}", err=True)
    if (more := len(failed) - MOST_FAILURES) > 0:
        typer.echo(f"failed: {more} more; lotbench report {folder} lists all", err=True)


def agreed(study: StoreView, other: Path) -> list[str]:
    """How far the order of methods agrees with that of another store, if it is there."""
    from lotbench.report.tables.two_stores import agreement
    from lotbench.statistics.store_view import StoreView

    if not (other / "trials").is_dir():
        return [f"compare: no store {other} here, so the order of methods is not compared"]
    return [own.line for own in agreement(study, StoreView(other))]


def draw(study: StoreView, formats: Sequence[str] = ("png",)) -> bool:
    """Draw every figure of a store and write its README.md; False if the store is read-only."""
    from lotbench.report import readme
    from lotbench.report.figures.draw import draw

    try:
        figures = draw(study, formats)
        written = readme.write(study, figures)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        typer.echo(
            f"not drawn: {error.filename or study.folder}: {error.strerror}; to have figures and "
            "README.md, copy the store to a folder that can be written and plot it there",
            err=True,
        )
        return False
    page = f"; wrote {written}" if written else ""
    log.info("drew %s in %s%s", counted(len(figures), "figure"), study.folder / "figures", page)
    return True


def counted(number: int, thing: str) -> str:
    """``1 trial`` or ``2 trials``."""
    ending = "" if number == 1 else "es" if thing.endswith("s") else "s"
    return f"{number} {thing}{ending}"

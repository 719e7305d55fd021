"""Console tables of a store: the largest speed-ups close to the reference, and all points."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lotbench.report.content import read
from lotbench.report.differences import differences
from lotbench.report.overview import Overview, overview
from lotbench.report.rows import PointTable, point_table
from lotbench.store.frame import noise_floors

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table


def render(folder: str | Path) -> Group:
    """The tables of a store, ready for ``rich.print``.

    Each task has all points, then the largest speed-ups close to the reference.  Failed trials come
    last, each with its error.

    Raises
    ------
    InputError
        If the folder is not a store.
    """
    from rich.console import Group
    from rich.text import Text

    content, floors = read(folder), noise_floors(folder)
    parts: list[Any] = []
    for task, own in content.rows.groupby("task"):
        reference = content.references.get(str(task))
        parts += [_points(point_table(str(task), own, reference, floors)), Text()]
        opening = overview(str(task), content)
        if opening:
            parts += [_overview(opening), Text()]
        for each in differences(str(task), content):
            parts += [_overview(each), Text()]
    if not parts:
        parts.append(Text("No trial is done and scored on validation."))
    failed = content.table[content.table["status"] == "failed"]
    if len(failed):
        parts.append(Text(f"Failed trials: {len(failed)}", style="bold red"))
    for trial in failed.to_dict("records"):
        parts.append(Text(f"  {trial['trial_id']}  {trial['error']}"))
    return Group(*parts)


def _points(content: PointTable) -> Table:
    from rich.markup import escape

    result = _table(content.title)
    result.add_column(content.columns[0], no_wrap=True)
    result.add_column(content.columns[1], overflow="fold", min_width=16)
    for name in content.columns[2:]:
        # Two short lines instead of one wide column.
        result.add_column(name.replace("-b", "\nb"), justify="right")
    for rows in content.groups:
        for row in rows:
            result.add_row(*map(escape, row))
        result.add_section()
    result.caption = "\n".join(content.notes)
    return result


def _overview(content: Overview) -> Table:
    """The largest speed-ups of each method close to the reference, and its area."""
    from rich.markup import escape

    result = _table(content.title)
    result.add_column(content.columns[0], no_wrap=True)
    for name in content.columns[1:]:
        result.add_column(name.replace("-b", "\nb"), justify="right", overflow="fold")
    for row in content.rows:
        result.add_row(*(escape("\n".join(lines)) for lines in row))
    result.caption = "\n".join(content.notes)
    return result


def _table(title: str) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    # Narrow, since rich drops whole columns if the terminal is too narrow.
    result = Table(title=escape(title), box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    result.title_justify = result.caption_justify = "left"
    return result

"""Console tables of a store: the largest speed-ups close to the reference, and all points."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lotbench.report.all_tasks import all_tasks, drops_of
from lotbench.report.content import read
from lotbench.report.differences import differences
from lotbench.report.overview import overview
from lotbench.report.rows import point_table
from lotbench.report.table import Table
from lotbench.store.frame import noise_floors

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table as RichTable


def render(folder: str | Path) -> Group:
    """The tables of a store, ready for ``rich.print``.

    Each task has all points, then the largest speed-ups close to the reference.  A store with
    several tasks has the mean drops over all of them after that.  Failed trials come last, each
    with its error.

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
        parts += [_shown(point_table(str(task), own, reference, floors)), Text()]
        opening = overview(str(task), content)
        if opening:
            parts += [_shown(opening), Text()]
        for each in differences(str(task), content):
            parts += [_shown(each), Text()]
    compared = drops_of(content)
    if compared:
        parts += [_shown(all_tasks(compared)), Text()]
    if not parts:
        parts.append(Text("No trial is done and scored on validation."))
    failed = content.table[content.table["status"] == "failed"]
    if len(failed):
        parts.append(Text(f"Failed trials: {len(failed)}", style="bold red"))
    for trial in failed.to_dict("records"):
        parts.append(Text(f"  {trial['trial_id']}  {trial['error']}"))
    return Group(*parts)


def _shown(content: Table) -> RichTable:
    """The table for the terminal, under its title and above its notes."""
    from rich import box
    from rich import table as rich_table
    from rich.markup import escape

    # Narrow, since rich drops whole columns if the terminal is too narrow.
    result = rich_table.Table(
        title=escape(content.title), box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False
    )
    result.title_justify = result.caption_justify = "left"
    method, *others = content.columns
    result.add_column(method, no_wrap=True)
    if content.setting:
        result.add_column(others.pop(0), overflow="fold", min_width=16)
    for name in others:
        # Two short lines instead of one wide column.
        result.add_column(name.replace("-b", "\nb"), justify="right", overflow="fold")
    for rows in content.groups:
        for row in rows:
            result.add_row(*map(escape, row))
        result.add_section()
    result.caption = "\n".join(content.notes)
    return result

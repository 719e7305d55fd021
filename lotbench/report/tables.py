"""Console tables of a store: all points, and the largest speed-ups close to dense."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lotbench.report.looks import order
from lotbench.report.pareto import (
    DENSE,
    DROPS,
    largest_speedups,
    points,
    ranking,
    settings_of,
)
from lotbench.report.rows import FLOPS, PointTable, number, point_table
from lotbench.store.frame import frame, noise_floors

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Group
    from rich.table import Table


def render(folder: str | Path) -> Group:
    """The tables of a store, ready for ``rich.print``.

    Each task has all points, then the largest speed-ups close to dense.  Failed trials come last,
    each with its error.

    Raises
    ------
    InputError
        If the folder is not a store.
    """
    from rich.console import Group
    from rich.text import Text

    table = frame(folder)
    rows, floors = points(table), noise_floors(folder)
    parts: list[Any] = []
    for task, own in rows.groupby("task"):
        parts += [_points(point_table(str(task), own, table, floors)), Text()]
        parts += [_largest_speedups(str(task), table), Text()]
    if not parts:
        parts.append(Text("No trial is done and scored on validation."))
    failed = table[table["status"] == "failed"]
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


def _largest_speedups(task: str, table: pd.DataFrame) -> Table:
    """The largest speed-up of each method within 0.5, 1 and 2 points of dense, and hypervolume."""
    rows = points(table)
    measures = {FLOPS: "flops_speedup"}
    measures |= {label: f"real.{label}" for label in settings_of(rows[rows["task"] == task])}
    result = _table(f"{task}, largest speed-up within so many points of dense")
    result.add_column("method", no_wrap=True)
    result.add_column("speed-up", no_wrap=True)
    for drop in DROPS:
        result.add_column(f"{drop:g}", justify="right")
    result.add_column("hypervolume", justify="right")
    result.add_column("rank", justify="right")
    largest = {name: largest_speedups(table, column) for name, column in measures.items()}
    ranks = {name: ranking(table, column) for name, column in measures.items()}
    for method in order(set(rows.loc[rows["task"] == task, "method"]) - set(DENSE)):
        for name in measures:
            cells = largest[name].query("task == @task and method == @method")
            rank = ranks[name].query("task == @task and method == @method").iloc[0]
            speedups = [number(value) for value in cells["speedup"]]
            area, place = f"{rank['hypervolume']:.1f}", str(rank["rank"])
            result.add_row(method, name, *speedups, area, place)
        result.add_section()
    return result


def _table(title: str) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    # Narrow, since rich drops whole columns if the terminal is too narrow.
    result = Table(title=escape(title), box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    result.title_justify = result.caption_justify = "left"
    return result

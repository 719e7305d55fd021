"""The mean drop of every method on each task, and over all tasks."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lotbench.report import text
from lotbench.report.figures import style
from lotbench.report.figures.base import columns_of, panels
from lotbench.report.looks import looks, mark
from lotbench.report.tables.all_tasks import explained, ranked
from lotbench.statistics.drops import Drops
from lotbench.statistics.runs import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(found: Drops, runs: Sequence[Run]) -> Figure:
    """The mean drops with their intervals: a panel per task, and one for their mean."""
    methods = ranked(found)
    given = looks(methods)
    shown = dict(found.tasks)
    if found.mean:
        shown["all tasks"] = {method: own.value for method, own in found.mean.items()}
    result, grid = panels(len(shown), 2.2, 0.5 + 0.2 * len(methods))
    for index, (axes, (name, own)) in enumerate(zip(grid, shown.items(), strict=True)):
        axes.tick_params(labelleft=index % columns_of(len(shown)) == 0)
        for place, method in enumerate(methods):
            if method not in own:
                continue
            value, low, high = own[method]
            axes.hlines(place, low, high, color=given[method].line, linewidth=1.2)
            axes.plot(value, place, linestyle="", **mark(given[method]))
        axes.set_title(textwrap.fill(name, 25), loc="left", fontweight="bold")
        axes.set_xlabel("mean drop, in points")
    grid[0].set_yticks(range(len(methods)), methods)
    grid[0].set_ylim(len(methods) - 0.5, -0.5)
    grid[0].set_xlim(left=min(0.0, grid[0].get_xlim()[0]))
    style.title(result, f"All tasks, {text.backbones(runs)}, {text.trained_on(runs)}")
    lines = f"lines: 95% intervals over {text.unit_of(runs)} and seeds"
    style.caption(result, [explained(found), lines])
    return result

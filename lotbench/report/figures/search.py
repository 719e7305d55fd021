"""What effort bought: the best area to expect after so many trials of a search."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lotbench.report import text
from lotbench.report.figures import style
from lotbench.report.looks import Style, looks, mark
from lotbench.report.tables.search import in_order, verdict
from lotbench.statistics.search import SearchTrials, orders
from lotbench.statistics.store_view import StoreView

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

READ = "Lines: mean of the best over all choices of so many of these trials"
BANDS = "bands: where it lies in 95% of the choices; dashed: the default setting"
# Panels in a row; the large one is as wide as two.
COLUMNS = 3


def figure(study: StoreView, task: str) -> Figure | None:
    """All searches in a large panel, then each with its band; None if nothing is searched."""
    found, given = in_order(task, study), looks(study.methods(task))
    if not any(own.space for own in found):
        return None
    lines = math.ceil(len(found) / COLUMNS)
    result = style.figure(7.6, 3.7 + 1.5 * lines)
    grid = result.add_gridspec(1 + lines, COLUMNS, height_ratios=[2, *[1] * lines])
    every = result.add_subplot(grid[0, : COLUMNS - 1])
    most = max(own.trials for own in found)
    for place, own in enumerate(found, COLUMNS):
        _draw(every, own, given[own.method], most, label=own.name)
        cell = grid[place // COLUMNS, place % COLUMNS]
        axes = result.add_subplot(cell, sharex=every, sharey=every)
        _draw(axes, own, given[own.method], most)
        _draw_band(axes, own, given[own.method].line, most)
        axes.set_title(own.name, loc="left", fontweight="bold")
    beside = result.add_subplot(grid[0, COLUMNS - 1])
    beside.axis("off")
    beside.legend(*every.get_legend_handles_labels(), loc="center left").set_in_layout(False)
    every.set(xscale="log", xlim=(0.9, most * 1.15), ylim=(0, None))
    places = [2**power for power in range(most.bit_length())]
    every.set_xticks(places, list(map(str, places)))
    every.minorticks_off()
    every.locator_params(axis="y", nbins=5)
    every.set(xlabel="trials", ylabel="expected best area on selection")
    runs = [run for own in found for run in own.runs]
    style.title(result, text.title(runs, text.trained_on(runs)))
    style.caption(result, [f"{verdict(orders(found))} {READ}", BANDS])
    return result


def _draw(axes: Axes, own: SearchTrials, look: Style, most: int, label: str = "") -> None:
    """The curve of a search."""
    trials = _trials(own, most)
    best = [float(own.expected_best(n)[0]) for n in trials]
    # At powers of two and at the end, since all marks would hide the curve.
    places = [n - 1 for n in trials if n & (n - 1) == 0 or n == trials[-1]]
    line = {"linewidth": 1.4, "linestyle": look.dash, "markevery": places} | mark(look)
    axes.plot(trials, best, label=label, **line)


def _draw_band(axes: Axes, own: SearchTrials, colour: str, most: int) -> None:
    """The band of a search, and the area of its default setting."""
    low, high = zip(*(own.band(n) for n in _trials(own, most)), strict=True)
    axes.fill_between(_trials(own, most), low, high, color=colour, alpha=0.15, linewidth=0)
    if own.default is not None:
        axes.axhline(own.default.value, color=colour, linewidth=0.8, linestyle=(0, (2, 2)))


def _trials(own: SearchTrials, most: int) -> range:
    """The trials of a curve; one without more settings to try goes on level."""
    return range(1, (most if own.exhausted else own.trials) + 1)

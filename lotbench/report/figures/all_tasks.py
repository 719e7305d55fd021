"""The mean drop of every method on each task, and over all tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lotbench.report import text
from lotbench.report.figures import chart, style
from lotbench.report.figures.base import panels
from lotbench.report.looks import looks, mark, order, page_marks
from lotbench.report.tables.all_tasks import explained
from lotbench.statistics.drops import Drops
from lotbench.statistics.runs import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEAN = "mean over all tasks"
# Height of a method on a page, in pixels.
ROW = 26


def figure(found: Drops, runs: Sequence[Run]) -> Figure:
    """The mean drops with their intervals: a panel per task, and one for their mean."""
    methods = order(set().union(*found.tasks.values()))
    given = looks(methods)
    shown = dict(found.tasks)
    if found.mean:
        shown["all tasks"] = {method: own.value for method, own in found.mean.items()}
    result, grid = panels(len(shown), 2.2, 0.5 + 0.2 * len(methods))
    for axes, (name, own) in zip(grid, shown.items(), strict=True):
        for place, method in enumerate(methods):
            if method not in own:
                continue
            value, low, high = own[method]
            axes.hlines(place, low, high, color=given[method][0], linewidth=1.2)
            axes.plot(value, place, linestyle="", **mark(given[method]))
        axes.set_title(name, loc="left", fontweight="bold")
        axes.set_xlabel("mean drop, in points")
    grid[0].set_yticks(range(len(methods)), methods)
    grid[0].set_ylim(len(methods) - 0.5, -0.5)
    grid[0].set_xlim(left=min(0.0, grid[0].get_xlim()[0]))
    style.title(result, f"All tasks, {text.backbones(runs)}, {text.trained_on(runs)}")
    lines = f"lines: 95% intervals over {text.unit_of(runs)} and seeds"
    style.caption(result, [f"{explained(found)}; {lines}"])
    return result


def page_chart(found: Drops) -> chart.Spec:
    """A line per method, the best at the top: its mean with the interval, and faint each task."""
    methods = order(set().union(*found.tasks.values()))
    # In the order of legends where equal.
    best = sorted(order(found.mean), key=lambda method: found.mean[method].value.value)
    rows = best + [method for method in methods if method not in found.mean]
    of_mean, by_method = {"filter": f"datum.task === '{MEAN}'"}, chart.by_method(methods)
    symbols = {"fill": by_method, "shape": by_method, "tooltip": {"field": "tip"}}
    own = chart.spec(
        f"Mean drop of {text.listed(rows)}; all numbers are in the table below.",
        list(_values(found)),
        {"title": "Mean drop below the reference, in points"},
        {"field": "method", "type": "nominal", "sort": rows, "title": None},
        page_marks(methods, methods),
        [
            {
                "transform": [{"filter": f"datum.task !== '{MEAN}'"}],
                "mark": {"type": "point", "opacity": 0.45},
                "encoding": symbols | {"size": {"value": chart.SMALL}},
            },
            {
                "transform": [of_mean],
                "mark": {"type": "rule", "strokeWidth": 2, "aria": False},
                "encoding": {
                    "x": {"field": "low", "type": "quantitative"},
                    "x2": {"field": "high"},
                },
            },
            {
                "transform": [of_mean],
                "mark": {"type": "point"},
                "encoding": symbols | {"size": {"value": chart.LARGE}},
            },
        ],
    )
    return own | {"height": {"step": ROW}}


def _values(found: Drops) -> Iterator[dict[str, Any]]:
    mean = {method: found.mean[method].value for method in order(found.mean)}
    for task, own in [*found.tasks.items(), (MEAN, mean)]:
        for method, estimate in own.items():
            value, low, high = (round(each, 3) for each in estimate)
            tip = {"title": method, task: text.with_interval(estimate)}
            place = {"method": method, "task": task, "x": value, "low": low, "high": high}
            yield place | {"tip": tip}

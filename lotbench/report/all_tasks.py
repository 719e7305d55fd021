"""How far each method is below the reference over several tasks: a table and a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lotbench.report import style, words
from lotbench.report.area import FLOOR, LEAST_END
from lotbench.report.bootstrap import Estimate, estimate
from lotbench.report.content import Content
from lotbench.report.looks import looks, mark, order
from lotbench.report.panels import panels
from lotbench.report.rows import NONE
from lotbench.report.statistics import Area, Evidence, ranked
from lotbench.report.table import Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Drops(NamedTuple):
    """The mean drops of methods: on each task, and their mean over all tasks."""

    tasks: dict[str, dict[str, Estimate]]
    """By name of the task, then by method."""
    mean: dict[str, Area]
    """The mean over all tasks with its rank, of the methods that every task has, if several."""
    ends: dict[str, float]
    """The speed-up up to which each task is compared."""


def drops(tasks: Mapping[str, Evidence]) -> Drops | None:
    """The mean drops; None if fewer than two tasks have whole curves to compare.

    The mean drop is how far the best model is below the reference, in points, in the mean over the
    doublings of speed from 1 to `Evidence.end`.  It is at most ``FLOOR``, which also counts where a
    method cannot go.
    """
    own = {name: each for name, each in tasks.items() if each.candidates and each.end >= LEAST_END}
    if len(own) < 2:
        return None
    heights = {
        name: {method: draws / np.log2(each.end) for method, draws in each.area_draws().items()}
        for name, each in own.items()
    }
    shown = {
        name: {
            method: _below(estimate(draws, own[name].candidates[method].sampled))
            for method, draws in methods.items()
        }
        for name, methods in heights.items()
    }
    everywhere = order(set.intersection(*map(set, heights.values())))
    everywhere = everywhere if len(everywhere) > 1 else []
    means = {m: np.mean([methods[m] for methods in heights.values()], axis=0) for m in everywhere}
    sampled = {m: all(each.candidates[m].sampled for each in own.values()) for m in everywhere}
    mean = {m: Area(_below(each.value), each.rank) for m, each in ranked(means, sampled).items()}
    return Drops(shown, mean, {name: each.end for name, each in own.items()})


def drops_of(content: Content) -> Drops | None:
    """The mean drops of the tasks of a store."""
    return drops({words.task_name(task): own for task, own in content.evidence.items()})


def _below(height: Estimate) -> Estimate:
    """The mean drop that belongs to a mean height."""
    return Estimate(FLOOR - height.value, FLOOR - height.high, FLOOR - height.low)


def all_tasks(found: Drops) -> Table:
    """One line per method: its mean drop on every task, and over all of them."""
    lines = []
    for method in order(set().union(*found.tasks.values())):
        cells = [
            words.with_interval(own[method]) if method in own else NONE
            for own in found.tasks.values()
        ]
        mean = found.mean.get(method)
        if mean:
            cells += [words.with_interval(mean.value), str(mean.rank)]
        elif found.mean:
            cells += [NONE, NONE]
        lines.append([method, *cells])
    notes = [
        f"mean drop: {_explained(found)}",
        "models are chosen on selection and read on validation; in brackets: 95% bootstrap "
        "intervals over texts and seeds, where rows have predictions",
    ]
    columns = ["method", *found.tasks]
    if found.mean:
        columns += ["mean", "rank"]
        notes.append(
            "mean: over all tasks, for methods that every task has; ranks differ where the "
            "intervals of the difference exclude 0"
        )
    return Table("Mean drop below the reference, in points", columns, [lines], notes)


def all_tasks_figure(found: Drops, trials: pd.DataFrame) -> Figure:
    """The mean drops with their intervals: a panel per task, and one for their mean."""
    methods = order(set().union(*found.tasks.values()))
    given = looks(methods)
    shown = dict(found.tasks)
    if found.mean:
        shown["all tasks"] = {method: own.value for method, own in found.mean.items()}
    figure, grid = panels(len(shown), 2.2, 0.5 + 0.2 * len(methods))
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
    grid[0].invert_yaxis()
    grid[0].set_xlim(left=min(0.0, grid[0].get_xlim()[0]))
    style.title(figure, f"All tasks, {words.backbones(trials)}, {words.trained_on(trials)}")
    style.caption(figure, [f"{_explained(found)}; lines: 95% intervals over texts and seeds"])
    return figure


def _explained(found: Drops) -> str:
    upto = [f"{end:.1f}{words.TIMES} on {name}" for name, end in found.ends.items()]
    return (
        "points below the reference, in the mean over the doublings of FLOPs speed-up from "
        f"1{words.TIMES} to {words.listed(upto)}; at most {FLOOR:g}, which also counts where a "
        "method cannot go"
    )

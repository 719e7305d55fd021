"""How far each method is below the reference over several tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lotbench.scoring.area import LEAST_END
from lotbench.statistics.bootstrap import Estimate
from lotbench.statistics.evidence import Area, Evidence, ranked


class Drops(NamedTuple):
    """The mean drops of methods: on each task, and their mean over all tasks."""

    tasks: dict[str, dict[str, Estimate]]
    """By name of the task, then by method."""
    mean: dict[str, Area]
    """The mean over all tasks with its rank, of the methods that every task has, if several."""
    ends: dict[str, float]
    """The speed-up up to which each task is compared."""
    floors: dict[str, float]
    """The largest drop that counts on each task, in points."""


def mean_drops(task: Evidence) -> dict[str, Area]:
    """The mean drop of every method on one task; empty without whole curves to compare.

    The mean drop is how far the best model is below the reference, in points, in the mean over the
    doublings of speed from 1 to `Evidence.end`.  It is at most `Evidence.floor`, which also counts
    where a method cannot go.
    """
    return _below(_heights(task), task.floor)


def drops(tasks: Mapping[str, Evidence]) -> Drops | None:
    """The mean drops; None if fewer than two tasks have whole curves to compare."""
    heights = {name: own for name, each in tasks.items() if (own := _heights(each))}
    if len(heights) < 2:
        return None
    floors = {name: tasks[name].floor for name in heights}
    shown = {
        name: {method: own.value for method, own in _below(each, floors[name]).items()}
        for name, each in heights.items()
    }
    everywhere = sorted(set.intersection(*map(set, heights.values())))
    means = {m: np.mean([methods[m] for methods in heights.values()], axis=0) for m in everywhere}
    means = means if len(means) > 1 else {}
    mean = _below(means, float(np.mean(list(floors.values()))))
    return Drops(shown, mean, {name: tasks[name].end for name in heights}, floors)


def _heights(task: Evidence) -> dict[str, np.ndarray]:
    """The mean height above the floor in every draw, by method."""
    if task.end < LEAST_END:
        return {}
    return {method: draws / np.log2(task.end) for method, draws in task.area_draws().items()}


def _below(heights: Mapping[str, np.ndarray], floor: float) -> dict[str, Area]:
    """The mean drops that belong to mean heights above a floor, with their ranks."""
    found = {}
    for method, own in ranked(heights).items():
        value, low, high = own.value
        found[method] = Area(Estimate(floor - value, floor - high, floor - low), own.rank)
    return found

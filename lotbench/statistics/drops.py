"""How far each method is below the reference over several tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lotbench.scoring.area import LEAST_END
from lotbench.statistics.bootstrap import Estimate, estimate
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


def drops(tasks: Mapping[str, Evidence]) -> Drops | None:
    """The mean drops; None if fewer than two tasks have whole curves to compare.

    The mean drop is how far the best model is below the reference, in points, in the mean over the
    doublings of speed from 1 to `Evidence.end`.  It is at most `Evidence.floor`, which also counts
    where a method cannot go.
    """
    own = {name: each for name, each in tasks.items() if each.curves and each.end >= LEAST_END}
    if len(own) < 2:
        return None
    floors = {name: each.floor for name, each in own.items()}
    heights = {
        name: {method: draws / np.log2(each.end) for method, draws in each.area_draws().items()}
        for name, each in own.items()
    }
    shown = {
        name: {method: _below(estimate(draws), floors[name]) for method, draws in methods.items()}
        for name, methods in heights.items()
    }
    everywhere = sorted(set.intersection(*map(set, heights.values())))
    means = {m: np.mean([methods[m] for methods in heights.values()], axis=0) for m in everywhere}
    means = means if len(means) > 1 else {}
    floor = float(np.mean(list(floors.values())))
    mean = {m: Area(_below(each.value, floor), each.rank) for m, each in ranked(means).items()}
    return Drops(shown, mean, {name: each.end for name, each in own.items()}, floors)


def _below(height: Estimate, floor: float) -> Estimate:
    """The mean drop that belongs to a mean height above a floor."""
    return Estimate(floor - height.value, floor - height.high, floor - height.low)

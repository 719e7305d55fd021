"""How far the order of methods agrees between two stores."""

from __future__ import annotations

from typing import Any

import numpy as np

from lotbench.report import text
from lotbench.statistics.bootstrap import estimate
from lotbench.statistics.store_view import StoreView

FEWEST = 3
"""Two methods have only two orders."""


def agreement(own: StoreView, other: StoreView) -> list[str]:
    """A sentence for each task that both stores have: the rank correlation of the methods' areas.

    It is Spearman's; its interval has the draws of both stores, which are independent.  A task that
    the other store does not have by name is compared with those of the same source.
    """
    from scipy.stats import rankdata

    found = []
    for task, twin in _pairs(own, other):
        areas = [own.evidence[task].area_draws(), other.evidence[twin].area_draws()]
        shared = sorted(areas[0].keys() & areas[1].keys())
        if len(shared) < FEWEST:
            continue
        ranks = [rankdata([each[method] for method in shared], axis=0) for each in areas]
        found.append(
            f"{task}: the order of {len(shared)} methods by area agrees with that in "
            f"{other.folder}{'' if twin == task else f' ({twin})'} by a rank correlation of "
            f"{text.with_interval(estimate(_correlation(*ranks)))} (1: the same order, 0: none)"
        )
    return found


def _pairs(own: StoreView, other: StoreView) -> list[tuple[str, str]]:
    """The tasks of the first store, each with those of the other that it is compared with."""
    ours, theirs = _sources(own), _sources(other)
    pairs = []
    for task in own.evidence:
        same = [twin for twin in other.evidence if theirs[twin] == ours[task]]
        pairs += [(task, twin) for twin in ([task] if task in other.evidence else same)]
    return pairs


def _sources(study: StoreView) -> dict[str, str]:
    """The source of each task; a built-in task that names none is its own."""
    sources: dict[str, str] = {}
    for row in study.trials:
        data: Any = (row.config or {}).get("data") or {}
        sources[row.task] = data.get("source") or row.task
    return sources


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each draw's ranks, (methods, draws) both; 0 where all are equal."""
    first, second = (ranks - ranks.mean(axis=0) for ranks in (first, second))
    size = np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
    return (first * second).sum(axis=0) / np.where(size, size, 1.0)

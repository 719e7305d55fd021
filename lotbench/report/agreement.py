"""How far the order of methods agrees between two stores."""

from __future__ import annotations

import numpy as np

from lotbench.report import text
from lotbench.statistics.bootstrap import estimate
from lotbench.statistics.store_view import StoreView

FEWEST = 3
"""Two methods have only two orders."""


def agreement(own: StoreView, other: StoreView) -> list[str]:
    """A sentence for each task that both stores have: the rank correlation of the methods' areas.

    It is Spearman's; its interval has the draws of both stores, which are independent.
    """
    from scipy.stats import rankdata

    found = []
    for task in own.tasks:
        if task not in own.evidence or task not in other.evidence:
            continue
        areas = [study.evidence[task].area_draws() for study in (own, other)]
        shared = sorted(areas[0].keys() & areas[1].keys())
        if len(shared) < FEWEST:
            continue
        ranks = [rankdata([each[method] for method in shared], axis=0) for each in areas]
        found.append(
            f"{task}: the order of {len(shared)} methods by area agrees with that in "
            f"{other.folder} by a rank correlation of "
            f"{text.with_interval(estimate(_correlation(*ranks)))} (1: the same order, 0: none)"
        )
    return found


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each draw's ranks, (methods, draws) both; 0 where all are equal."""
    first, second = (ranks - ranks.mean(axis=0) for ranks in (first, second))
    size = np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
    return (first * second).sum(axis=0) / np.where(size, size, 1.0)

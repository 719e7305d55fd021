"""The reference of every task: the better of dense and the teacher on the selection split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Reference:
    """The model that others are compared with, and its scores by seed."""

    name: str
    """``dense`` or ``teacher``."""
    setting: str | None
    """The setting of dense; None for the teacher."""
    selection: dict[int, float]
    validation: dict[int, float]

    @property
    def score(self) -> float:
        """Mean score over the seeds on validation."""
        return float(np.mean(list(self.validation.values())))

    def score_beside(self, seed: int) -> float:
        """The validation score with a seed, or the mean score if there is none with it."""
        return self.validation.get(seed, self.score)


def references(done: pd.DataFrame) -> dict[str, Reference]:
    """The reference of every task that has one, from its finished rows (see `pareto.scored`).

    Dense and the teacher are compared on the seeds that both have.  If both are equal, or neither
    has a score on selection, it is dense.
    """
    found: dict[str, Reference] = {}
    for task, rows in done.groupby("task"):
        dense = rows[rows["method"] == "dense"]
        candidates = [
            Reference("dense", str(setting), *_by_seed(own, "score"))
            for setting, own in dense.groupby("setting")
        ]
        candidates.append(Reference("teacher", None, *_by_seed(rows, "teacher_score")))
        candidates = [own for own in candidates if own.validation]
        if candidates:
            found[str(task)] = _best(candidates)
    return found


def _best(candidates: list[Reference]) -> Reference:
    known = [own for own in candidates if own.selection]
    if not known:
        return candidates[0]
    shared = set.intersection(*(set(own.selection) for own in known))

    def mean(own: Reference) -> float:
        # Rounding must not decide between equal scores.
        return round(float(np.mean([own.selection[seed] for seed in shared or own.selection])), 9)

    return max(known, key=mean)


def _by_seed(rows: pd.DataFrame, column: str) -> tuple[dict[int, float], dict[int, float]]:
    """The column's mean by seed on the selection and on the validation split."""
    known = rows.dropna(subset=[column])
    means: dict[str, dict[int, float]] = {"selection": {}, "validation": {}}
    for (split, seed), own in known.groupby(["split", "seed"]):
        means[str(split)][int(str(seed))] = float(own[column].mean())
    return means["selection"], means["validation"]

"""The reference of a task: the better of dense and the teacher on the selection split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lotbench.statistics.runs import Row


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


def reference_of(rows: Sequence[Row]) -> Reference | None:
    """The reference of a task with these rows; None if neither dense nor the teacher has a score.

    Dense and the teacher are compared on the seeds that both have.  If both are equal, or neither
    has a score on selection, it is dense.
    """
    dense = defaultdict(list)
    for row in rows:
        if row.run.method == "dense":
            dense[row.run.setting].append((row.split, row.run.seed, row.score))
    candidates = [Reference("dense", own, *_by_seed(dense[own])) for own in sorted(dense)]
    teachers = [(row.split, row.run.seed, row.run.teacher_score(row.split)) for row in rows]
    candidates.append(Reference("teacher", None, *_by_seed(teachers)))
    candidates = [own for own in candidates if own.validation]
    known = [own for own in candidates if own.selection]
    if not known:
        return candidates[0] if candidates else None
    shared = set.intersection(*(set(own.selection) for own in known))

    def mean(own: Reference) -> float:
        # Rounding must not decide between equal scores.
        return round(float(np.mean([own.selection[seed] for seed in shared or own.selection])), 9)

    return max(known, key=mean)


def _by_seed(
    scores: Iterable[tuple[str, int, float | None]],
) -> tuple[dict[int, float], dict[int, float]]:
    """The mean score by seed on the selection and on the validation split."""
    found: dict[str, dict[int, list[float]]] = {"selection": {}, "validation": {}}
    for split, seed, score in scores:
        if score is not None:
            found[split].setdefault(seed, []).append(score)
    means = [
        {seed: float(np.mean(own)) for seed, own in sorted(found[split].items())}
        for split in ("selection", "validation")
    ]
    return means[0], means[1]

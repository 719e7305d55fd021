"""The reference of a task: the better of dense and the teacher on the selection split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lotbench.statistics import bootstrap
from lotbench.statistics.drawn import CHOOSE_THEN_REPORT, Drawn, Side, Splits, draws_of
from lotbench.statistics.runs import Row


@dataclass(frozen=True, eq=False)
class Reference:
    """The model that others are compared with."""

    name: str
    """``dense`` or ``teacher``."""
    drawn: Drawn

    @property
    def exact(self) -> bool:
        """True if its scores are constants, since rows lack its predictions."""
        constant = np.ptp(self.drawn.sides["validation"].scores, axis=1) == 0
        return self.name == "teacher" and bool(constant.any())

    @property
    def score(self) -> float:
        """Mean score over the seeds on validation."""
        return float(np.mean(list(self.drawn.by_seed("validation").values())))

    def margin(self, own: Drawn, split: Splits, seeds: tuple[int, ...]) -> np.ndarray:
        """Score of a model minus that of the reference, in points, shape (1 + draws,)."""
        return 100 * (own.score(split, seeds) - self.drawn.score(split, seeds))


def reference_of(dense: Mapping[str, Drawn], rows: Sequence[Row]) -> Reference | None:
    """The reference of a task; None if neither dense nor the teacher has a score.

    Dense (its settings are in ``dense``) and the teacher (of these rows) are compared on the seeds
    that both have, or on all if they share none.  If both are equal, or neither has a score on
    selection, it is dense.
    """
    candidates = [Reference("dense", dense[setting]) for setting in sorted(dense)]
    candidates.append(Reference("teacher", _teacher(rows)))
    candidates = [own for own in candidates if own.drawn.by_seed("validation")]
    known = [own for own in candidates if own.drawn.by_seed("selection")]
    if not known:
        return candidates[0] if candidates else None
    shared = set.intersection(*(set(own.drawn.by_seed("selection")) for own in known))

    def mean(own: Reference) -> float:
        scores = own.drawn.by_seed("selection")
        # Rounding must not decide between equal scores.
        return round(float(np.mean([scores[seed] for seed in shared or scores])), 9)

    return max(known, key=mean)


def _teacher(rows: Sequence[Row]) -> Drawn:
    """The teacher as a model; where rows lack its predictions, its scores are constants."""
    scores: dict[tuple[Splits, int], list[float]] = defaultdict(list)
    answered: dict[tuple[Splits, int], Row] = {}
    for row in rows:
        key: tuple[Splits, int] = (row.split, row.run.seed)
        score = row.run.teacher_score(row.split)
        if score is not None:
            scores[key].append(score)
            if own := row.of_teacher():
                answered[key] = own
    draws = draws_of(list(answered.values()))
    seeds = tuple(sorted({seed for split, seed in scores if split == "validation"}))
    sides: dict[Splits, Side] = {}
    for split in CHOOSE_THEN_REPORT:
        own = [
            draws[answered[split, seed]]
            if (split, seed) in answered
            else np.full(1 + bootstrap.DRAWS, np.mean(scores.get((split, seed), [np.nan])))
            for seed in seeds
        ]
        shape = (len(seeds), 1 + bootstrap.DRAWS)
        sides[split] = Side(np.reshape(own, shape), np.ones(len(seeds)), (None,) * len(seeds))
    return Drawn(seeds, sides)

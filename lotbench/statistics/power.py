"""How many texts and seeds it takes to tell two models apart."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np

from lotbench.statistics.drawn import Drawn, shared_seeds
from lotbench.statistics.evidence import Evidence

STANDARD_ERRORS = 1.96 + 0.84
"""A difference of so many is found with 80% power, at an interval of 95% (normal distribution)."""


class Needed(NamedTuple):
    """What a comparison takes."""

    texts: float
    """Validation texts."""
    seeds: float | None
    """None if it is not known, since the models share one seed."""
    found: float
    """The difference in points that the texts and seeds at hand find."""


def needed(a: Drawn, b: Drawn, count: int) -> Needed | None:
    """The texts and seeds that find a difference of one point in four of five experiments.

    Both were scored on ``count`` validation texts.  The variance of the difference has a part of
    the texts and one of the seeds; half of the allowed variance goes to each.  With one seed all
    goes to the texts.  None if they share none.
    """
    seeds = shared_seeds(a, b)
    if not seeds:
        return None
    own, other = (each.sides["validation"].scores for each in (a, b))
    rows = [(a.seeds.index(seed), b.seeds.index(seed)) for seed in seeds]
    gaps = 100 * np.stack([own[i] - other[j] for i, j in rows])  # (seeds, 1 + draws)
    of_texts = count * float(gaps.mean(axis=0)[1:].var())
    allowed = 1 / STANDARD_ERRORS**2
    if len(seeds) == 1:
        return Needed(of_texts / allowed, None, STANDARD_ERRORS * (of_texts / count) ** 0.5)
    of_seeds = float(gaps[:, 0].var(ddof=1))
    error = (of_texts / count + of_seeds / len(seeds)) ** 0.5
    return Needed(2 * of_texts / allowed, 2 * of_seeds / allowed, STANDARD_ERRORS * error)


def needed_for_a_point(evidence: Evidence, count: int) -> Needed | None:
    """The median over all pairs of methods at equal targets, with ``count`` validation texts.

    None without such a pair.
    """
    each: list[Needed] = []
    for target in evidence.targets:
        models = [margin.model.drawn for margin in evidence.at_target(target).values()]
        each += [own for a, b in combinations(models, 2) if (own := needed(a, b, count))]
    # Pairs with one seed know less, so they count only where there is no other.
    several = [own for own in each if own.seeds is not None] or each
    if not several:
        return None
    texts = float(np.median([own.texts for own in several]))
    found = float(np.median([own.found for own in several]))
    seeds = [own.seeds for own in several if own.seeds is not None]
    return Needed(texts, float(np.median(seeds)) if seeds else None, found)

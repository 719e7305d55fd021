"""How much each searched parameter alone explains of the area."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lotbench.config.spaces import Space, space_of
from lotbench.statistics.bootstrap import SEED
from lotbench.statistics.evidence import SLACK
from lotbench.statistics.runs import Run
from lotbench.statistics.search import SearchTrials

CHANCE = 0.05
"""A parameter matters if shuffled areas give its share of the variance less often."""
SHUFFLES = 2000
LEAST = 8
"""With fewer trials a quadratic curve fits almost anything, and there are few ways to shuffle."""


@dataclass(frozen=True)
class Importance:
    """What a searched parameter alone explains of the area, among finished trials."""

    share: float
    """Of the variance, adjusted so that chance gives about 0 in the mean."""
    p: float
    """How often areas in a shuffled order give as much."""

    @property
    def by_chance(self) -> bool:
        return self.p >= CHANCE


def importance(search: SearchTrials, parameter: str) -> Importance | None:
    """The importance of a parameter of a search; None if its trials are too few.

    A number counts by its place in its space, logarithmic for ``loguniform``, with a straight and a
    quadratic term.  The values of a ``choice`` are groups.
    """
    space = space_of(search.space[parameter])
    columns = [_columns(space, run, parameter) for run in search.runs]
    pairs = [
        (own, value)
        for run, own, value in zip(search.runs, columns, search.areas[:, 0], strict=True)
        if own is not None and not run.failed
    ]
    if len(pairs) < LEAST:
        return None
    design, areas = (np.array(own, float) for own in zip(*pairs, strict=True))
    return _explained(design - design.mean(axis=0), areas - areas.mean())


def _explained(design: np.ndarray, areas: np.ndarray) -> Importance | None:
    """What the columns explain; both are centred."""
    vectors, sizes, _ = np.linalg.svd(design, full_matrices=False)
    basis = vectors[:, sizes > SLACK]
    terms, free = basis.shape[1], len(areas) - 1
    total = areas @ areas
    if not 0 < terms < free or total <= SLACK:
        return None
    shuffled = np.random.default_rng(SEED).permuted(np.tile(areas, (SHUFFLES, 1)), axis=1)
    shares = ((np.vstack([areas, shuffled]) @ basis) ** 2).sum(axis=1) / total
    as_much = 1 + int((shares[1:] >= shares[0] - SLACK).sum())
    adjusted = 1 - (1 - shares[0]) * free / (free - terms)
    return Importance(max(0.0, float(adjusted)), as_much / (1 + SHUFFLES))


def _columns(space: Space, run: Run, parameter: str) -> list[float] | None:
    """The terms of a trial's value; None if a default is no number within the space."""
    value = run.trial.params.get(parameter)
    if space.kind == "choice":
        return [float(value == own) for own in space.given]
    place = space.place(value)
    return None if place is None else [place, place**2]

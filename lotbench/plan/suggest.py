"""How a search suggests settings: a Sobol sequence, independent points, or Optuna.

A point is a list of places from 0 to 1, one for each searched parameter.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch.quasirandom import SobolEngine

if TYPE_CHECKING:
    from lotbench.config.spaces import Space

OPTUNA_STARTS = 30
"""With fewer trials Optuna's TPE hardly differs from random points, since it starts with ten."""


def sobol(dimensions: int, seed: int) -> Iterator[list[float]]:
    """The points of a scrambled Sobol sequence, without end."""
    engine = SobolEngine(dimensions, scramble=True, seed=seed)
    while True:
        yield engine.draw(1, dtype=torch.float64)[0].tolist()


def independent(dimensions: int, seed: int) -> Iterator[list[float]]:
    """Independent points, without end."""
    source = random.Random(seed)
    while True:
        yield [source.random() for _ in range(dimensions)]


def optuna_point(
    spaces: Sequence[Space], told: Sequence[tuple[list[float], float | None]], seed: int
) -> list[float]:
    """The point that Optuna's TPE suggests.

    It is ``told`` the points that were tried before, in order, each with its area; that of a failed
    trial is None.
    """
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
    from optuna.trial import TrialState, create_trial

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Choices have no order, so Optuna sees the number of the value instead of a place.
    counts = [int(space.size) if space.kind == "choice" else 0 for space in spaces]
    distributions: dict[str, BaseDistribution] = {
        str(i): CategoricalDistribution(range(count)) if count else FloatDistribution(0, 1)
        for i, count in enumerate(counts)
    }
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for point, area in told:
        params = {
            str(i): int(place * count) if count else place
            for i, (place, count) in enumerate(zip(point, counts, strict=True))
        }
        state = TrialState.FAIL if area is None else TrialState.COMPLETE
        study.add_trial(
            create_trial(state=state, value=area, params=params, distributions=distributions)
        )
    asked = study.ask(distributions).params
    places = [asked[str(i)] for i in range(len(spaces))]
    return [
        (place + 0.5) / count if count else min(place, 1 - 1e-9)
        for place, count in zip(places, counts, strict=True)
    ]

"""Bootstrap draws.

A draw is a row of weights: how often each text (or each seed) is in it.  The first row is the
sample itself, every weight 1, so the first of all values computed from the weights is the estimate.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

DRAWS = 1000
SEED = 0
LEVEL = 95.0


class Estimate(NamedTuple):
    """A value with its 95% interval, which is NaN where it is not known."""

    value: float
    low: float
    high: float


UNKNOWN = Estimate(np.nan, np.nan, np.nan)


@lru_cache(maxsize=16)
def weights(count: int, *key: int) -> np.ndarray:
    """How often each of ``count`` texts or seeds is in each draw; float32 (1 + DRAWS, count).

    Equal arguments give equal draws, so what shares its texts is compared in pairs.
    """
    generator = np.random.default_rng([SEED, *key])
    places = generator.integers(count, size=(DRAWS, count))
    places += count * np.arange(DRAWS)[:, None]
    drawn = np.bincount(places.ravel(), minlength=DRAWS * count).reshape(DRAWS, count)
    found = np.vstack([np.ones((1, count)), drawn]).astype(np.float32)
    found.setflags(write=False)
    return found


def estimate(draws: np.ndarray) -> Estimate:
    """The first of the values, and the percentile interval of the others if all are finite."""
    if not np.isfinite(draws).all():
        return Estimate(float(draws[0]), np.nan, np.nan)
    low, high = np.percentile(draws[1:], [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return Estimate(float(draws[0]), float(low), float(high))

"""How long a call of a timed model takes, and whether one of two is faster, with intervals."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np

from lotbench.statistics.bootstrap import DRAWS, SEED, Estimate, estimate
from lotbench.statistics.timed import TimedModel

# First number of the key of draws of rounds; draws of texts have smaller ones.
ROUNDS = 3


def call_seconds(timed: TimedModel) -> Estimate:
    """Seconds of a call, which is one batch: the median over rounds, with its 95% interval.

    In passes that did not time calls, it is the encoder's.
    """
    own = timed.contender.call_or_encoder
    value = own.seconds_per_example * timed.timing.setting.batch_size
    medians = _medians(np.asarray(own.samples, float), _processes(timed), 0)
    return estimate(value * medians / medians[0])


def times_slower(slow: TimedModel, fast: TimedModel) -> Estimate:
    """The seconds of one model over those of another, with the 95% interval of the ratio.

    Models of one group are compared round by round.
    """
    (pass_a, a), (pass_b, b) = slow, fast
    one, other = (np.asarray(own.call_or_encoder.samples, float) for own in (a, b))
    if pass_a is pass_b and a.group == b.group and len(one) == len(other):
        draws = _medians(one / other, _processes(slow), 0)
    else:
        draws = _medians(one, _processes(slow), 0) / _medians(other, _processes(fast), 1)
    return estimate(draws)


def is_tie(ratio: Estimate, slow: TimedModel, fast: TimedModel) -> bool:
    """True if a ratio may be 1: 1 is in its interval, or it is within a pass's noise floor."""
    known = [own.call_or_encoder.noise_floor for own, _ in (slow, fast)]
    floors = [own.ratio for own in known if own]
    return ratio.low <= 1 <= ratio.high or abs(ratio.value - 1) <= max(floors, default=0.0)


def _processes(timed: TimedModel) -> list[int]:
    """The rounds of each process that timed a contender."""
    timing, own = timed
    groups = timing.groups
    mine = groups if own.group is None else groups[own.group : own.group + 1]
    # A process times all groups, and a dense model in each of them.
    counts = [sum(own) for own in zip_longest(*(each.rounds for each in mine), fillvalue=0)]
    samples = len(own.call_or_encoder.samples)
    return counts if sum(counts) == samples else [samples]


def _medians(values: np.ndarray, processes: list[int], key: int) -> np.ndarray:
    """The median of the values, then those of draws over processes and their rounds; (1 + DRAWS,).

    Equal keys and processes give equal draws.
    """
    parts = np.split(values, np.cumsum(processes)[:-1])
    generator = np.random.default_rng([SEED, ROUNDS, key])
    found = [np.median(values)]
    for _ in range(DRAWS):
        chosen = generator.integers(len(parts), size=len(parts))
        drawn = [generator.choice(parts[place], len(parts[place])) for place in chosen]
        found.append(np.median(np.concatenate(drawn)))
    return np.array(found)

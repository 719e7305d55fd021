"""Wall-clock times of models: in every backend, in the best one of each, and of two compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple, TypeVar

import numpy as np

from lotbench.budget import Budget
from lotbench.statistics.bootstrap import DRAWS, SEED, Estimate, estimate
from lotbench.statistics.runs import Row
from lotbench.store.passes import Contender, Interval, TimingPass

Key = TypeVar("Key")
# First number of the key of draws of rounds; draws of texts have smaller ones.
ROUNDS = 3


class Where(NamedTuple):
    """A timing setting."""

    device: str
    threads: int
    batch_size: int

    def __str__(self) -> str:
        """``cpu-1t-b32``"""
        return f"{self.device}-{self.threads}t-b{self.batch_size}"

    @classmethod
    def of(cls, timing: TimingPass) -> Where:
        """The setting of a pass."""
        setting = timing.setting
        return cls(setting.device, setting.threads, setting.batch_size)


class TimedModel(NamedTuple):
    """One trained model at one budget in one backend, with the pass that timed it."""

    timing: TimingPass
    contender: Contender


BackendTimes = dict[tuple[Where, str], TimedModel]
"""What was timed of one model at one budget, by timing setting and backend."""


class TimingIndex:
    """The times in the passes of a store, by model and budget; newer passes win."""

    def __init__(self, passes: Sequence[TimingPass]) -> None:
        """``passes`` are the comparable ones, oldest first (see `Store.newest_passes`)."""
        self.timed: dict[tuple, TimedModel] = {}
        """The newest times of each model, budget, setting and backend, in the order in which they
        were first timed."""
        self._found: dict[tuple[str, str, Budget | None], BackendTimes] = defaultdict(dict)
        for timing in passes:
            for own in timing.contenders:
                # A pass may time the dense baselines without a trial of theirs.
                owner = own.trial_id or f"{own.name} {timing.setting.seed}"
                model = timing.task, owner, own.budget
                place = Where.of(timing), own.backend
                self.timed[model, place] = self._found[model][place] = TimedModel(timing, own)

    def of(self, row: Row) -> BackendTimes:
        """What was timed of the model and budget of a row."""
        trial, budget = row.run.trial, row.evaluation.budget
        owners = f"{trial.method} {trial.seed}", trial.trial_id
        found: BackendTimes = {}
        for owner in owners:
            found |= self._found.get((trial.task, owner, budget), {})
        return found


class ModelTimes:
    """A scored model in one timing setting: means over its timed seeds.

    Intervals reach from the lowest to the highest end of the seeds' own.
    """

    def __init__(self, found: Sequence[tuple[Row, TimedModel, float | None]]) -> None:
        """``found`` has the row, the times and the known FLOPs speed-up of each seed."""
        own = [measured.contender for _, measured, _ in found]
        self.backend = " or ".join(sorted({each.backend for each in own}))
        """Of several seeds, ``onnx-int8 or torch-fp32``."""
        self.seeds = len(own)
        called = [each.call.speedup_best if each.call else None for each in own]
        self.call = _if_known(called)
        """``x best``: the call, from texts to outputs, against that of the fastest dense model of
        any backend; None if no dense model counts, or in older passes."""
        encoder = [each.speedup_best for each in own]
        self.encoder = _if_known(encoder)
        """The same of the encoder alone; None if no dense model counts."""
        self.best = self.call or self.encoder
        """``x best`` of the call; of the encoder where calls were not timed."""
        self.same = _over_seeds([each.speedup for each in own])
        """``x same``: the encoder alone against dense of the same backend."""
        # Some passes have no FLOPs of their texts; the FLOPs of the split are used instead.
        flops = [row.evaluation.flops_speedup if each is None else each for row, _, each in found]
        self.flops = Estimate(float(np.mean(flops)), min(flops), max(flops))
        """FLOPs speed-up on the timed texts: mean, smallest and largest of the seeds."""
        known = [each for each in (called if all(called) else encoder) if each is not None]
        self.flagged = any(each.flagged for each in known)
        """True if ``best`` may be 1, for any seed."""
        self.noisy = any(each.noisy for each in known)
        """True if the interval of ``best`` is wide, for any seed."""
        shares = [each.time_shares for each in own if each.time_shares]
        sections = dict.fromkeys(name for each in shares for name in each)
        self.shares = {name: float(np.mean([each[name] for each in shares])) for name in sections}
        """Share of the encoder's time by section, in a backend of torch."""


def best_backend(clocked: BackendTimes, where: Where) -> str | None:
    """The backend in which a model is fastest in a setting, among those that hold its score.

    A backend holds the score if it is at most half a point below that in ``torch-fp32``, on the
    selection split.
    """
    held = {
        backend: own.call_or_encoder.seconds_per_example
        for (place, backend), (_, own) in clocked.items()
        if place == where and own.speedup_best is not None and own.scores["selection"].held
    }
    return min(held, key=lambda backend: held[backend]) if held else None


def in_backends(
    rows: Mapping[int, Row], clocks: TimingIndex
) -> tuple[dict[Where, ModelTimes], dict[tuple[Where, str], ModelTimes]]:
    """A model by timing setting in the best backend of each seed, and by setting and backend.

    ``rows`` are by seed.
    """
    best: dict[Where, list[tuple[Row, TimedModel, float | None]]] = defaultdict(list)
    every: dict[tuple[Where, str], list[tuple[Row, TimedModel, float | None]]] = defaultdict(list)
    for row in rows.values():
        clocked = clocks.of(row)
        # Only torch counts FLOPs; the texts are the same in every backend.
        flops: dict[Where, float] = {}
        for (where, backend), own in clocked.items():
            speedup = own.contender.flops_speedup
            every[where, backend].append((row, own, speedup))
            if speedup is not None:
                flops.setdefault(where, speedup)
        for where in dict.fromkeys(where for where, _ in clocked):
            backend = best_backend(clocked, where)
            if backend is not None:
                best[where].append((row, clocked[where, backend], flops.get(where)))
    return (
        {where: ModelTimes(best[where]) for where in sorted(best)},
        {place: ModelTimes(every[place]) for place in sorted(every)},
    )


def fastest(speeds: Mapping[Key, Estimate]) -> list[Key]:
    """Those whose interval reaches that of the fastest, in their order."""
    first = max(speeds.values(), key=lambda own: own.value, default=None)
    return [key for key, own in speeds.items() if first and own.high >= first.low]


def _if_known(intervals: Sequence[Interval | None]) -> Estimate | None:
    """The mean over the seeds; None if a seed has none."""
    known = [own for own in intervals if own is not None]
    return _over_seeds(known) if len(known) == len(intervals) else None


def _over_seeds(intervals: Sequence[Interval]) -> Estimate:
    return Estimate(
        float(np.mean([own.median for own in intervals])),
        min(own.low for own in intervals),
        max(own.high for own in intervals),
    )


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

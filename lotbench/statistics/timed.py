"""Wall-clock speed-ups of scored models: in every backend, and in the best one of each model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from lotbench.statistics.bootstrap import Estimate
from lotbench.statistics.runs import Row
from lotbench.store.records import TimingPass
from lotbench.store.timing_parts import Contender, Interval

Key = TypeVar("Key")


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


class Measured(NamedTuple):
    """One trained model at one budget in one backend, with the pass that timed it."""

    timing: TimingPass
    contender: Contender


Clocked = dict[tuple[Where, str], Measured]
"""What was timed of one model at one budget, by timing setting and backend."""


class Clocks:
    """What the passes of a store timed, by model and budget; newer passes win."""

    def __init__(self, passes: Sequence[TimingPass]) -> None:
        """``passes`` are the comparable ones, oldest first (see `Store.newest_passes`)."""
        self.timed: dict[tuple, Measured] = {}
        """The newest times of each model, budget, setting and backend, in the order in which they
        were first timed."""
        self._found: dict[tuple[str, str, str], Clocked] = defaultdict(dict)
        for timing in passes:
            for own in timing.contenders:
                # A pass may time the dense baselines without a trial of theirs.
                owner = own.trial_id or f"{own.name} {timing.setting.seed}"
                model = timing.task, owner, str(own.budget or "")
                place = Where.of(timing), own.backend
                self.timed[model, place] = self._found[model][place] = Measured(timing, own)

    def of(self, row: Row) -> Clocked:
        """What was timed of the model and budget of a row."""
        trial, budget = row.run.trial, str(row.evaluation.budget or "")
        owners = f"{trial.method} {trial.seed}", trial.trial_id
        found: Clocked = {}
        for owner in owners:
            found |= self._found.get((trial.task, owner, budget), {})
        return found


@dataclass(frozen=True)
class Timed:
    """A scored model in one timing setting: means over its timed seeds.

    Intervals reach from the lowest to the highest end of the seeds' own.
    """

    backend: str
    """Of several seeds, ``onnx-int8 or torch-fp32``."""
    seeds: int
    call: Estimate | None
    """``x best``: the call, from texts to outputs, against that of the fastest dense model of any
    backend; None if no dense model counts, or in older passes."""
    encoder: Estimate | None
    """The same of the encoder alone; None if no dense model counts."""
    same: Estimate
    """``x same``: the encoder alone against dense of the same backend."""
    flops: Estimate
    """FLOPs speed-up on the timed texts: mean, smallest and largest of the seeds."""
    flagged: bool
    """True if ``best`` may be 1, for any seed."""
    noisy: bool
    """True if the interval of ``best`` is wide, for any seed."""
    shares: dict[str, float]
    """Share of the encoder's time by section, in a backend of torch."""

    @property
    def best(self) -> Estimate | None:
        """``x best`` of the call; of the encoder where calls were not timed."""
        return self.call or self.encoder


def best_backend(clocked: Clocked, where: Where) -> str | None:
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


def in_best_backend(rows: Mapping[int, Row], clocks: Clocks) -> dict[Where, Timed]:
    """A model in the best backend of each seed, by timing setting; ``rows`` are by seed."""
    groups: dict[Where, list[tuple[Row, Measured, float | None]]] = defaultdict(list)
    for row in rows.values():
        clocked = clocks.of(row)
        for where in dict.fromkeys(place for place, _ in clocked):
            backend = best_backend(clocked, where)
            if backend is not None:
                # Only torch counts FLOPs; the texts are the same in every backend.
                flops = [own.flops_speedup for (at, _), (_, own) in clocked.items() if at == where]
                known = next((each for each in flops if each is not None), None)
                groups[where].append((row, clocked[where, backend], known))
    return {where: _timed(groups[where]) for where in sorted(groups)}


def in_every_backend(rows: Mapping[int, Row], clocks: Clocks) -> dict[tuple[Where, str], Timed]:
    """A model by timing setting and backend; ``rows`` are by seed."""
    groups: dict[tuple[Where, str], list[tuple[Row, Measured, float | None]]] = defaultdict(list)
    for row in rows.values():
        for place, measured in clocks.of(row).items():
            groups[place].append((row, measured, measured.contender.flops_speedup))
    return {place: _timed(groups[place]) for place in sorted(groups)}


def fastest(speeds: Mapping[Key, Estimate]) -> list[Key]:
    """Those whose interval reaches that of the fastest, in their order."""
    first = max(speeds.values(), key=lambda own: own.value, default=None)
    return [key for key, own in speeds.items() if first and own.high >= first.low]


def _timed(found: list[tuple[Row, Measured, float | None]]) -> Timed:
    contenders = [measured.contender for _, measured, _ in found]
    called = [own.call.speedup_best if own.call else None for own in contenders]
    encoder = [own.speedup_best for own in contenders]
    known = [each for each in (called if all(called) else encoder) if each is not None]
    # Some passes have no FLOPs of their texts; the FLOPs of the split are used instead.
    flops = [row.evaluation.flops_speedup if own is None else own for row, _, own in found]
    sections = dict.fromkeys(name for own in contenders for name in own.time_shares or ())
    return Timed(
        " or ".join(sorted({own.backend for own in contenders})),
        len(found),
        _if_known(called),
        _if_known(encoder),
        _over_seeds([own.speedup for own in contenders]),
        Estimate(float(np.mean(flops)), min(flops), max(flops)),
        any(each.flagged for each in known),
        any(each.noisy for each in known),
        {
            name: float(np.mean([own.time_shares[name] for own in contenders if own.time_shares]))
            for name in sections
        },
    )


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

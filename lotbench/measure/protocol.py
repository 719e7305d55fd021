"""The wall-clock protocol: interleaved rounds, paired ratios and a noise floor.

This module is independent of models and devices.  A contender is a list of calls, one per batch.
A timer measures them, and a *sample* is the seconds of one pass over all calls of a contender: of
the whole calls, from texts to outputs, and of the encoder alone.
Every round takes one sample of every contender.  They take turns of a few calls, in shuffled order,
so a temporary slowdown of the machine affects all of them.  A speed-up is the median of ratios
within rounds.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import inf
from typing import Any, NamedTuple

import numpy as np

from lotbench.measure.spec import Entry, Passes, Samples, key
from lotbench.store.passes import (
    CallSeconds,
    Contender,
    Group,
    Interval,
    NoiseFloor,
    References,
    Speedup,
)

VERSION = 4
"""Version of the rules of measurement; every pass records it.  Raise it when a rule changes."""

DENSE_NAME, AGAIN, PACKED = BASELINES = "dense", "dense, again", "dense-packed"
"""The untouched padded model, the same model again (A/A), and the same weights in the engine."""

RESAMPLES = 4000
WIDE = 0.10
"""An interval wider than this share of its median makes the row noisy."""
STILL_FASTER, MAX_WARM_UP = 0.05, 10
ROUNDS_EACH = 4
TURN = 4
"""Calls of a contender in a row, at least, if it has so many."""


class Call(NamedTuple):
    """A call on one batch, in two steps."""

    run: Callable[[Any], Any]
    """The encoder: what was prepared to outputs."""
    prepare: Callable[[], Any] = lambda: None
    """Texts to what the encoder takes."""

    def __call__(self) -> Any:
        return self.run(self.prepare())


class CallTimer:
    """A timer of contenders' passes, which keeps the seconds of whole calls and of the encoder."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.encoder: Passes = {}
        self.call: Passes = {}
        self.events: Passes = {}
        """Empty: only a GPU has events."""

    def __call__(self, name: str, calls: Sequence[Call], goes_on: bool = False) -> float:
        """Seconds of a new pass, or of more calls of the last one if it ``goes_on``."""
        encoder, whole = [], []
        for call in calls:
            start = self.clock()
            given = call.prepare()
            ready = self.clock()
            self.run(call, given)
            end = self.clock()
            encoder.append(end - ready)
            whole.append(end - start)
        keep(self.encoder, name, encoder, goes_on)
        keep(self.call, name, whole, goes_on)
        return sum(whole)

    def run(self, call: Call, given: Any) -> None:
        """The second step."""
        call.run(given)


def keep(passes: Passes, name: str, seconds: list[float], goes_on: bool) -> None:
    """Adds the calls of a new pass of a contender, or of its last one if it ``goes_on``."""
    if goes_on:
        passes[name][-1] += seconds
    else:
        passes.setdefault(name, []).append(seconds)


def rounds_of_processes(rounds: int) -> list[int]:
    """Number of rounds for each process; there is one process for every four rounds."""
    count = max(1, rounds // ROUNDS_EACH)
    return [rounds // count + (number < rounds % count) for number in range(count)]


def turns(calls: int) -> int:
    """Number of turns in which a contender makes its calls of a round."""
    return max(1, calls // TURN)


def warm_up(
    contenders: Mapping[str, Sequence[Call]],
    timer: CallTimer,
    first: Mapping[str, float] | None = None,
) -> int:
    """Number of passes until no contender gets faster, from 2 to 10.

    Noise only slows, so a contender gets faster if it beats its best time by over 5%.  One that
    does not is warm, and the others go on without it.  ``first`` has the seconds of the first pass,
    if it was made before.
    """
    best = dict(first or {name: timer(name, calls) for name, calls in contenders.items()})
    done = 1
    cold = list(contenders)
    while cold and done < MAX_WARM_UP:
        before = dict(best)
        for name in cold:
            best[name] = min(best[name], timer(name, contenders[name]))
        cold = [name for name in cold if best[name] < (1 - STILL_FASTER) * before[name]]
        done += 1
    return done


def run_rounds(
    contenders: Mapping[str, Sequence[Call]],
    rounds: int,
    min_seconds: float,
    seed: int | str,
    timer: CallTimer,
    dense: Collection[str] = (DENSE_NAME,),
) -> None:
    """Lets the timer measure a pass of every contender in each round.

    In a round the contenders take turns.  If there are several, the call before a turn is made
    again, untimed, since the processor's caches have the weights of another model.  Rounds go on
    until there are ``rounds`` of them and each ``dense``, which are in the ratios, has taken
    ``min_seconds`` in total.
    """
    order = list(contenders)
    shuffle = random.Random(seed).shuffle
    count = turns(max(map(len, contenders.values()), default=0))
    done, taken = 0, dict.fromkeys(order, 0.0)
    while done < rounds or min((taken[name] for name in dense), default=inf) < min_seconds:
        for turn in range(count):
            shuffle(order)
            for name in order:
                calls = contenders[name]
                first, end = (len(calls) * each // count for each in (turn, turn + 1))
                if count > 1:
                    calls[first - 1]()
                taken[name] += timer(name, calls[first:end], goes_on=turn > 0)
        done += 1


def median_interval(
    values: np.ndarray, seed: int = 0, runs: Sequence[int] | None = None
) -> Interval:
    """Median of values (n,) and its 95% bootstrap interval (percentiles of resampled medians).

    ``runs`` has the number of values from each process, in order.  Processes differ by more than
    rounds of one process, so a resample draws processes first, then as many rounds from each.  With
    five processes the interval is approximate: if all variation is between processes, it covers
    about 90%.
    """
    values = np.asarray(values, dtype=np.float64)
    sizes = np.array([len(values)] if runs is None else runs)
    starts = np.cumsum(sizes) - sizes
    draw = np.random.default_rng(seed)
    chosen = draw.integers(0, len(sizes), (RESAMPLES, len(sizes), 1))
    within = draw.random((RESAMPLES, len(sizes), sizes.max())) * sizes[chosen]
    picks = (starts[chosen] + within.astype(int)).reshape(RESAMPLES, -1)
    low, high = np.percentile(np.median(values[picks], axis=1), [2.5, 97.5])
    return Interval(median=float(np.median(values)), low=float(low), high=float(high))


def percentiles(seconds: Sequence[float]) -> CallSeconds:
    """The 50th, 90th, 95th and 99th percentile of the calls' seconds, and the number of calls."""
    p50, p90, p95, p99 = map(float, np.percentile(seconds, [50, 90, 95, 99]))
    return CallSeconds(p50=p50, p90=p90, p95=p95, p99=p99, calls=len(seconds))


def speedup(
    reference: Sequence[float],
    samples: Sequence[float],
    seed: int = 0,
    runs: Sequence[int] | None = None,
) -> Interval:
    """How many times faster than the reference: median and interval of the ratio per round."""
    return median_interval(np.divide(reference, samples), seed, runs)


def fastest_dense(samples: Samples, names: Sequence[str] = (DENSE_NAME, PACKED)) -> str:
    """The name that is fastest in the median round, paired with the first; of equals, the first."""
    first = samples[names[0]]
    return max(names, key=lambda name: np.median(np.divide(first, samples[name])))


def noise_floor(
    first: Sequence[float], again: Sequence[float], seed: int, runs: Sequence[int] | None
) -> NoiseFloor:
    """The noise of dense against itself: median deviation from 1, and interval of the ratio."""
    ratio = np.divide(first, again)
    own, off = median_interval(ratio, seed, runs), float(np.median(np.abs(ratio - 1)))
    return NoiseFloor(ratio=off, low=own.low, high=own.high, samples=list(again))


def judged(speed: Interval, floor: NoiseFloor, itself: bool) -> Speedup:
    """A speed-up, and whether it is noisy and may be 1.

    It may be 1 if it is noisy, within the noise floor, or has 1 in its interval; that of a model
    against itself is not flagged for it.
    """
    noisy = speed.high - speed.low > WIDE * speed.median
    may_be_1 = noisy or abs(speed.median - 1) <= floor.ratio or speed.low <= 1 <= speed.high
    return Speedup(**dict(speed), flagged=may_be_1 and not itself, noisy=noisy)


def pool(runs: Sequence[Mapping[str, list]], names: Iterable[str]) -> dict[str, list]:
    """The lists of several runs joined, for each of these names."""
    return {name: [item for run in runs for item in run[name]] for name in names}


def compare(
    groups: Sequence[Sequence[Samples]],
    dense: Sequence[Entry],
    entries: Sequence[Entry],
    examples: int,
    seed: int,
) -> tuple[References, list[Group], list[Contender]]:
    """The references, the groups, and one row per contender, from the samples of the groups.

    Every group includes the dense models, and a contender is compared with the dense models of its
    own group.  Samples of several processes are joined.  The entries of the dense models have the
    samples of all groups, process by process.

    ``groups`` has for each group one dict per process, each sample of one round, ``dense`` the
    dense models of each backend, of which the first gives the noise floor, and ``examples`` the
    number of texts.  Those of the ``entries`` that are in the samples get a row.
    """
    # A process times all groups with the same dense models in the same memory.
    processes = list(zip(*groups, strict=True))
    names = [each.key for each in dense]
    first, again = names[0], key(AGAIN, dense[0].backend)
    pooled = pool([run for runs in processes for run in runs], [*names, again])
    rounds = [sum(len(run[first]) for run in runs) for runs in processes]
    floor = noise_floor(pooled[first], pooled[again], seed, rounds)
    # One reference for the whole record, so that a speed-up does not depend on the group.
    fastest = fastest_of_backends(pooled, dense)
    # The reference of ``x best``.
    held = {each.key: each for each in fastest.values() if each.held}
    best = held[fastest_dense(pooled, list(held))] if held else None

    def judge(entry: Entry, own: Samples, rounds: list[int], group: int | None) -> Contender:
        samples, same = own[entry.key], fastest[entry.backend]
        speed = judged(speedup(own[same.key], samples, seed, rounds), floor, entry == same)
        return Contender(
            name=entry.name,
            backend=entry.backend,
            group=group,
            seconds_per_example=float(np.median(samples)) / examples,
            samples=samples,
            speedup=Interval(median=speed.median, low=speed.low, high=speed.high),
            speedup_padded=speedup(own[key(DENSE_NAME, entry.backend)], samples, seed, rounds),
            flagged=speed.flagged,
            noisy=speed.noisy,
            speedup_best=best
            and judged(speedup(own[best.key], samples, seed, rounds), floor, entry == best),
            scores=entry.scores,
            trial_id=entry.trial_id,
            budget=entry.budget,
        )

    rows = [judge(each, pooled, rounds, None) for each in dense]
    sizes = [[len(run[first]) for run in group] for group in groups]
    for number, (group, own) in enumerate(zip(groups, sizes, strict=True)):
        samples = pool(group, group[0])
        rows += [judge(each, samples, own, number) for each in entries if each.key in samples]
    names_of_fastest = {backend: each.name for backend, each in fastest.items()}
    references = References(fastest=names_of_fastest, best=best and best.backend, noise_floor=floor)
    return references, [Group(rounds=own) for own in sizes], rows


def fastest_of_backends(samples: Samples, dense: Sequence[Entry]) -> dict[str, Entry]:
    """The faster dense model of each backend, padded or packed: the reference of ``x same``.

    One that loses its score on the selection split stands aside, unless both do.
    """
    found = {}
    for backend in dict.fromkeys(each.backend for each in dense):
        both = {each.key: each for each in dense if each.backend == backend}
        held = {name: each for name, each in both.items() if each.held} or both
        found[backend] = held[fastest_dense(samples, list(held))]
    return found

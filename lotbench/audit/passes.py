"""What must add up within a timing pass, and between it and the trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from lotbench.audit.fault import Fault, close
from lotbench.store.records import TimingPass, Trial
from lotbench.store.timing_parts import Contender

DENSE = "dense"
RATIOS = ("speedup", "speedup_padded", "speedup_best")
SLACK = 0.1
"""By so much another dense model may be faster than the best: medians of ratios do not chain."""

Model = tuple[str, str]
"""Name and backend of a contender."""


def faults(path: str, timing: TimingPass, rows: Mapping[str, Trial]) -> Iterator[Fault]:
    """Everything in a pass that does not add up."""
    by_name = {(own.name, timing.backend(own)): own for own in timing.contenders}
    if len(by_name) < len(timing.contenders):
        yield Fault(path, "contenders", "two of one backend have the same name")
    yield from (Fault(path, key, text) for key, text in _references(timing, by_name))
    for place, own in enumerate(timing.contenders):
        found = [*_trial(own, timing, rows), *_times(own, timing), *_ratios(own, timing, by_name)]
        found += _scores(own, timing, rows)
        yield from (Fault(path, f"contenders.{place}.{key}", text) for key, text in found)


def unchecked(timing: TimingPass, rows: Mapping[str, Trial]) -> Iterator[str]:
    """What a pass or the store lacks, so that a check is left out."""
    if any(own.trial_id and own.trial_id not in rows for own in timing.contenders):
        yield "rows of timed models"
    if not all(own.samples for own in timing.contenders):
        yield "samples"


def _trial(
    own: Contender, timing: TimingPass, rows: Mapping[str, Trial]
) -> Iterator[tuple[str, str]]:
    """The trial of a contender is in the store, and scored at its budget."""
    if own.trial_id is None:
        return
    trial = rows.get(own.trial_id)
    if trial is None:
        return
    if trial.task != timing.task:
        yield "trial_id", f"{own.trial_id} is of another task"
    if own.budget not in {each.budget for each in trial.evaluations}:
        yield "budget", f"{own.trial_id} was not scored at {own.budget or 'no budget'}"


def _times(own: Contender, timing: TimingPass) -> Iterator[tuple[str, str]]:
    """Times are positive, and agree with their medians and shares."""
    if own.samples:
        if min(own.samples) <= 0:
            yield "samples", "a time is not above 0"
        elif own.seconds_per_example and timing.setting.examples:
            median = float(np.median(own.samples)) / timing.setting.examples
            if not close(own.seconds_per_example, median):
                yield "seconds_per_example", f"{own.seconds_per_example:.6g}, not {median:.6g}"
    if own.time_shares and abs(sum(own.time_shares.values()) - 1) > 1e-3:
        yield "time_shares", f"they sum to {sum(own.time_shares.values()):.4g}, not 1"
    for key in RATIOS:
        interval = getattr(own, key)
        if interval and not interval.low <= interval.median <= interval.high:
            yield key, "the median is outside the interval"


def _ratios(
    own: Contender, timing: TimingPass, by_name: Mapping[Model, Contender]
) -> Iterator[tuple[str, str]]:
    """The speed-ups are the medians of the ratios of the samples, round by round."""
    backend, fastest = timing.backend(own), timing.fastest or {}
    same = fastest.get(backend) or timing.fastest_dense
    best = timing.best or ""
    names = ((same, backend), (DENSE, backend), (fastest.get(best), best))
    for key, (name, where) in zip(RATIOS, names, strict=True):
        interval, dense = getattr(own, key), by_name.get((name or "", where))
        if interval is None or dense is None or not own.samples or not dense.samples:
            continue
        reference = np.array(dense.samples, float)
        if own.group is not None:
            reference = reference[_rounds(timing, own.group, len(reference))]
        if len(reference) != len(own.samples):
            yield "samples", f"{len(own.samples)} rounds, but {name} has {len(reference)} in them"
            return
        median = float(np.median(reference / np.array(own.samples, float)))
        if not close(interval.median, median):
            yield f"{key}.median", f"{interval.median:.6g}, but the samples give {median:.6g}"


def _references(
    timing: TimingPass, by_name: Mapping[Model, Contender]
) -> Iterator[tuple[str, str]]:
    """The dense models that others are measured against are timed, and the best is as claimed."""
    for backend, name in (timing.fastest or {}).items():
        if (name, backend) not in by_name:
            yield "fastest", f"no {name} in {backend} was timed"
    if timing.best is None or timing.fastest is None:
        return
    name = timing.fastest.get(timing.best)
    best = by_name.get((name or "", timing.best))
    if best is None:
        yield "best", f"{timing.best} has no dense model"
        return
    if not _held(best):
        yield "best", f"dense in {timing.best} does not hold its score on selection"
    for backend, name in timing.fastest.items():
        own = by_name.get((name, backend))
        if own and _held(own) and own.samples and best.samples:
            ratio = float(np.median(np.array(best.samples, float) / np.array(own.samples, float)))
            if len(own.samples) == len(best.samples) and ratio > 1 + SLACK:
                yield "best", f"dense in {backend} is {ratio:.3g} times faster"


def _held(own: Contender) -> bool:
    return bool(own.scores and "selection" in own.scores and own.scores["selection"].held)


def _scores(
    own: Contender, timing: TimingPass, rows: Mapping[str, Trial]
) -> Iterator[tuple[str, str]]:
    """Score and change give the score of the trial's row, and flips allow the change."""
    trial = rows.get(own.trial_id or "")
    for split, score in (own.scores or {}).items():
        if score.score is None or score.change is None:
            continue
        for each in trial.evaluations if trial and timing.metric else ():
            same = (each.split, each.budget) == (split, own.budget)
            if not same or each.predictions is None:  # the change is against these predictions
                continue
            expected = each.metrics.get(timing.metric or "")
            if expected is not None and abs(score.score - score.change - expected) > 1e-6:
                text = f"less change {score.score - score.change:.6g}, the row has {expected:.6g}"
                yield f"scores.{split}.score", text
            moved, flips = abs(score.change) * (each.examples or 0), score.flips
            if timing.metric == "accuracy" and flips is not None and moved > flips + 0.5:
                yield f"scores.{split}.flips", f"{flips} texts, but {moved:.0f} changed the score"


def _rounds(timing: TimingPass, group: int, total: int) -> np.ndarray:
    """Which samples of a dense model, which is in all groups, are of one group's rounds."""
    sizes = [[g.rounds] if isinstance(g.rounds, int) else g.rounds for g in timing.groups or []]
    # Process by process, and within a process group by group.
    owner = [
        number
        for process in range(max(map(len, sizes), default=0))
        for number, own in enumerate(sizes)
        for _ in range(own[process] if process < len(own) else 0)
    ]
    if len(owner) != total:
        return np.zeros(total, bool)
    return np.array(owner) == group

"""What must add up within a timing pass, and between it and the trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from lotbench.audit.fault import Fault, close
from lotbench.store.records import Contender, TimingPass, Trial
from lotbench.store.timed import budget_text

DENSE = "dense"


def faults(path: str, timing: TimingPass, rows: Mapping[str, Trial]) -> Iterator[Fault]:
    """Everything in a pass that does not add up."""
    by_name = {own.name: own for own in timing.contenders}
    if len(by_name) < len(timing.contenders):
        yield Fault(path, "contenders", "two have the same name")
    for place, own in enumerate(timing.contenders):
        found = [*_trial(own, timing, rows), *_times(own, timing), *_ratios(own, timing, by_name)]
        yield from (Fault(path, f"contenders.{place}.{key}", text) for key, text in found)


def unchecked(timing: TimingPass, rows: Mapping[str, Trial]) -> Iterator[str]:
    """What a pass refers to that the store lacks."""
    if any(own.trial_id and own.trial_id not in rows for own in timing.contenders):
        yield "rows of timed models"


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
    if own.budget is not None:
        scored = {budget_text(each.budget) for each in trial.evaluations}
        if budget_text(own.budget) not in scored:
            yield "budget", f"{own.trial_id} was not scored at {budget_text(own.budget)}"


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
    for key in ("speedup", "speedup_padded"):
        interval = getattr(own, key)
        if interval and not interval.low <= interval.median <= interval.high:
            yield key, "the median is outside the interval"


def _ratios(
    own: Contender, timing: TimingPass, by_name: Mapping[str, Contender]
) -> Iterator[tuple[str, str]]:
    """The speed-ups are the medians of the ratios of the samples, round by round."""
    for key, name in (("speedup", timing.fastest_dense), ("speedup_padded", DENSE)):
        interval, dense = getattr(own, key), by_name.get(name or "")
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

"""Re-checks a timing pass: whether its times, speed-ups and references agree; for `audit`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from lotbench.store.passes import Contender, TimingPass
from lotbench.store.rows import Trial

SLACK = 0.1
"""By so much another dense model may be faster than the best: medians of ratios do not chain."""
CALLS = 3
"""The protocol from which on a pass times calls."""

Complaint = tuple[str, str]
"""A key path of a record, such as ``evaluations.0.flops``, and what is wrong there."""
ByName = Mapping[tuple[str, str], Contender]
"""The contenders of a pass by name and backend."""


def close(one: float, other: float) -> bool:
    """True if two numbers differ by rounding alone."""
    return abs(one - other) <= 1e-6 * max(abs(one), abs(other), 1e-6)


def pass_complaints(timing: TimingPass, rows: Mapping[str, Trial]) -> Iterator[Complaint]:
    """Contradictions within a pass, and between it and the trials, given by trial id."""
    if len({(model.name, model.backend) for model in timing.contenders}) < len(timing.contenders):
        yield "contenders", "two of one backend have the same name"
    yield from _measures(timing)
    with_calls = [(model, model.call) for model in timing.contenders if model.call]
    if timing.call and len(with_calls) == len(timing.contenders):
        called = [model.model_copy(update=call.known()) for model, call in with_calls]
        of_calls = timing.call.known() | {"contenders": called}
        yield from _measures(timing.model_copy(update=of_calls), "call.")
    elif timing.call or with_calls or timing.protocol >= CALLS:
        yield "call", "the pass or a contender has no times of its calls"
    for place, model in enumerate(timing.contenders):
        if model.time_shares and abs((total := sum(model.time_shares.values())) - 1) > 1e-3:
            yield f"contenders.{place}.time_shares", f"they sum to {total:.4g}, not 1"
        if trial := rows.get(model.trial_id or ""):
            for key, message in _against_row(timing, model, trial):
                yield f"contenders.{place}.{key}", message


def _measures(timing: TimingPass, part: str = "") -> Iterator[Complaint]:
    """The times of a pass agree; ``part`` is ``call.`` if they are of its calls."""
    by_name = {(model.name, model.backend): model for model in timing.contenders}
    for key, message in _references(timing, by_name):
        yield f"{part}{key}", message
    for place, model in enumerate(timing.contenders):
        for key, message in _times(timing, model, by_name):
            yield f"contenders.{place}.{part}{key}", message


def _references(timing: TimingPass, by_name: ByName) -> Iterator[Complaint]:
    """The dense models that others are measured against are timed, and are as claimed.

    No other dense model that holds its score is faster, and they hold theirs if any does.
    """
    for backend, name in timing.fastest.items():
        if (name, backend) not in by_name:
            yield "fastest", f"no {name} in {backend} was timed"
    best = by_name.get((timing.fastest.get(timing.best or "", ""), timing.best or ""))
    if timing.best and best is None:
        yield "best", f"{timing.best} has no dense model"
    if best and not best.scores["selection"].held:
        yield "best", f"dense in {timing.best} does not hold its score on selection"
    held = [
        model for model in by_name.values() if not model.trial_id and model.scores["selection"].held
    ]
    for model in held:
        same = by_name.get((timing.fastest.get(model.backend, ""), model.backend))
        if same and not same.scores["selection"].held:
            yield "fastest", f"{same.name} in {model.backend} does not hold its score on selection"
        for key, first in (("fastest", same), ("best", best)):
            if first and len(model.samples) == len(first.samples):
                ratio = float(np.median(np.divide(first.samples, model.samples)))
                if ratio > 1 + SLACK:
                    yield key, f"{model.name} in {model.backend} is {ratio:.3g} times faster"


def _times(timing: TimingPass, model: Contender, by_name: ByName) -> Iterator[Complaint]:
    """The time per text is the median of the samples, a speed-up that of ratios within rounds."""
    if timing.setting.examples:
        median = float(np.median(model.samples)) / timing.setting.examples
        if not close(model.seconds_per_example, median):
            yield "seconds_per_example", f"{model.seconds_per_example:.6g}, not {median:.6g}"
    backend, fastest, best = model.backend, timing.fastest, timing.best or ""
    for key, interval, dense in (
        ("speedup", model.speedup, by_name.get((fastest.get(backend, ""), backend))),
        ("speedup_padded", model.speedup_padded, by_name.get(("dense", backend))),
        ("speedup_best", model.speedup_best, by_name.get((fastest.get(best, ""), best))),
    ):
        if interval is None or dense is None:
            continue
        reference = np.array(dense.samples, float)
        if model.group is not None:
            reference = reference[_rounds(timing, model.group, len(reference))]
        if len(reference) != len(model.samples):
            text = f"{len(model.samples)} rounds, but {dense.name} has {len(reference)} in them"
            yield "samples", text
            return
        median = float(np.median(reference / np.array(model.samples, float)))
        if not close(interval.median, median):
            yield f"{key}.median", f"{interval.median:.6g}, but the samples give {median:.6g}"


def _rounds(timing: TimingPass, group: int, total: int) -> np.ndarray:
    """Mask of a dense model's samples that are of one group's rounds; it is in all groups."""
    sizes = [group.rounds for group in timing.groups]
    # Process by process, and within a process group by group.
    owner = [
        number
        for process in range(max(map(len, sizes), default=0))
        for number, rounds in enumerate(sizes)
        for _ in range(rounds[process] if process < len(rounds) else 0)
    ]
    return np.array(owner) == group if len(owner) == total else np.zeros(total, bool)


def _against_row(timing: TimingPass, model: Contender, trial: Trial) -> Iterator[Complaint]:
    """A contender is a scored model of its trial, and its scores are those of the row, changed."""
    if trial.task != timing.task:
        yield "trial_id", f"{model.trial_id} is of another task"
    scored = {row.split: row for row in trial.evaluations if row.budget == model.budget}
    if not scored:
        yield "budget", f"{model.trial_id} was not scored at {model.budget or 'no budget'}"
    for split, score in model.scores.items():
        row = scored.get(split)
        # The change is against the predictions of the row.
        if row is None or score.score is None or score.change is None:
            continue
        before, expected = score.score - score.change, row.metrics.get(timing.metric or "")
        if expected is not None and abs(before - expected) > 1e-6:
            yield f"scores.{split}.score", f"less change {before:.6g}, the row has {expected:.6g}"
        moved, flips = abs(score.change) * row.examples, score.flips
        if timing.metric == "accuracy" and flips is not None and moved > flips + 0.5:
            yield f"scores.{split}.flips", f"{flips} texts, but {moved:.0f} changed the score"

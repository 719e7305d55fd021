"""Choosing a trained model, its budget and its backend by limits on score and latency.

The choice is made on the selection split; validation scores are only read.  Margins are means over
the seeds of a model, so that no lucky seed is chosen; what is handed out is one of its trials.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lotbench.backends import EXPORTED
from lotbench.errors import InputError
from lotbench.statistics.bootstrap import UNKNOWN, Estimate, estimate
from lotbench.statistics.drawn import CHOOSE_THEN_REPORT
from lotbench.statistics.evidence import Evidence, holds_drop
from lotbench.statistics.runs import Key, Row
from lotbench.statistics.scored import Scored
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import BackendTimes, TimedModel, Where

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What a model must keep to, and where."""

    drop: float
    """Most points below the reference on selection."""
    p95: float | None
    """Most seconds of 95% of the calls."""
    batch: int
    threads: int
    device: str
    """``cpu`` or ``cuda``; with a number, that GPU alone."""
    exported: bool = False
    """Take only backends that run an exported file."""


@dataclass(frozen=True)
class Option:
    """A trained model at one budget in one backend, scored and timed."""

    row: Row
    """Its scores on selection in ``torch-fp32``."""
    measured: TimedModel
    margins: dict[str, Estimate]
    """Score minus that of the reference in points, over all seeds of the model, by split."""
    score: Estimate
    """Of this trial on validation."""
    seeds: int
    """Of the model."""

    @property
    def kind(self) -> tuple[Key, str]:
        """The model and its backend, which its seeds have in common."""
        return self.row.key, self.backend

    @property
    def backend(self) -> str:
        return self.measured.contender.backend

    @property
    def seconds(self) -> float:
        """Median seconds per text: of the call, or of the encoder where calls were not timed."""
        return self.measured.contender.call_or_encoder.seconds_per_example

    @property
    def p95(self) -> float:
        """95th percentile of a call's seconds; of the encoder's where calls were not timed."""
        calls = self.measured.contender.call_or_encoder.call_seconds
        return calls.p95 if calls else np.inf

    def excess(self, limits: Limits) -> tuple[float, float]:
        """How far past the limits: points, and the share of the allowed seconds; 0 if it keeps."""
        margin = self.margins["selection"].value
        share = self.p95 / limits.p95 - 1 if limits.p95 else 0.0
        return 0.0 if holds_drop(margin, limits.drop) else -margin - limits.drop, max(0.0, share)

    @property
    def speedup(self) -> Estimate | None:
        """``x best`` of the call, or of the encoder where calls were not timed."""
        best = self.measured.contender.call_or_encoder.speedup_best
        return best and Estimate(best.median, best.low, best.high)


class Advice:
    """The choice for one task."""

    def __init__(self, task: str, reference: str, found: list[Option], limits: Limits) -> None:
        """``reference`` is ``dense`` or ``teacher``; ``found`` are all options."""
        self.task, self.reference = task, reference
        found = sorted(found, key=lambda own: own.seconds)
        good = [own for own in found if own.excess(limits) == (0.0, 0.0)]
        self.good = good
        """All that keep to the limits, fastest first."""
        faster = [own for own in found if good and own.seconds < good[0].seconds]
        self.choice = good[0] if good else None
        """The fastest that keeps to the limits; None if there is none."""
        both = (own for own in good if holds_drop(own.margins["validation"].value, limits.drop))
        self.holding = next(both, None)
        """The fastest that keeps to the drop on validation, too; often the choice itself."""
        others = (own for own in good if own.kind != good[0].kind)
        self.runner_up = next(others, None)
        """The next fastest that keeps to the limits, and is no other seed of the choice."""
        self.nearest = None if good else _nearest(found, limits)
        """If nothing keeps to the limits: what comes nearest."""
        self.passed_over = _nearest(faster, limits) if faster else None
        """Of those that are faster than the choice, the one that is least past a limit."""


def recommend(study: StoreView, limits: Limits) -> list[Advice]:
    """The advice for every task of a store; refused if none has times and scores to choose by."""
    found = {task: advise(task, study, limits) for task in study.tasks}
    missing = [_why_none(study, task, limits) for task, own in found.items() if not own]
    if len(missing) == len(found):
        raise InputError("\n".join(missing) or f"{study.folder}: no trials to choose from")
    for message in missing:
        log.warning(message)
    return [own for own in found.values() if own]


def advise(task: str, study: StoreView, limits: Limits) -> Advice | None:
    """The advice for a task, as `recommend` and reports give it; None without times and scores."""
    options = _options(task, study, limits)
    return Advice(task, study.references[task].name, options, limits) if options else None


def default_where(
    study: StoreView,
    device: str | None = None,
    threads: int | None = None,
    batch: int | None = None,
) -> Where:
    """The timing setting of a recommendation: what is asked for, and else what was timed.

    The CPU comes before GPUs, and fewer threads and texts before more; without a pass that fits it
    is one thread of the CPU and one text.
    """
    wheres = [
        where
        for where in map(Where.of, study.shown_passes)
        if device in (None, where.device, where.device.partition(":")[0])
        and threads in (None, where.threads)
        and batch in (None, where.batch_size)
    ]
    found = min(wheres, key=lambda own: (own.device != "cpu", *own), default=Where("cpu", 1, 1))
    return Where(device or found.device, threads or found.threads, batch or found.batch_size)


def _nearest(found: list[Option], limits: Limits) -> Option:
    """The option that is least past the limits."""

    def rank(own: Option) -> tuple[bool, float, float]:
        points, share = own.excess(limits)
        # Within the drop, time decides; else the score, first among those that are fast enough.
        return (points > 0, points > 0 and share > 0, points or share)

    return min(found, key=rank)


def _options(task: str, study: StoreView, limits: Limits) -> list[Option]:
    """Every model, budget and backend of a task that is scored, and timed at these limits."""
    found = study.evidence.get(task)
    if found is None:
        return []
    models = {own.key: own for own in found.models}
    rows = {
        (row.run, row.evaluation.budget): row
        for row in study.rows[task]
        if row.split == "selection"
    }
    options = []
    for row in rows.values():
        for measured in _newest(study.clocks.of(row), limits):
            options += _option(row, measured, models[row.key], found)
    return options


def _newest(clocked: BackendTimes, limits: Limits) -> list[TimedModel]:
    """What was timed with this batch, threads and device; of several GPUs, the newest pass."""
    found: dict[str, TimedModel] = {}
    for (where, backend), own in sorted(clocked.items(), key=lambda each: each[1].timing.created):
        same = (where.batch_size, where.threads) == (limits.batch, limits.threads)
        able = backend in EXPORTED or not limits.exported
        if same and able and limits.device in (where.device, where.device.partition(":")[0]):
            found[backend] = own
    return list(found.values())


def _option(row: Row, measured: TimedModel, model: Scored, found: Evidence) -> Iterator[Option]:
    """The option of a row in a backend; nothing if a score is undefined."""
    seeds, margins, score = model.drawn.seeds, {}, UNKNOWN
    for split in CHOOSE_THEN_REPORT:
        change = measured.contender.scores[split].change
        if change is None:
            return
        margin = found.reference.margin(model.drawn, split, seeds) + 100 * change
        if not np.isfinite(margin[0]):
            return
        margins[split] = estimate(margin)
        score = estimate(model.drawn.score(split, (row.run.seed,)) + change)
    yield Option(row, measured, margins, score, len(seeds))


def _why_none(study: StoreView, task: str, limits: Limits) -> str:
    """Why a task has no option, and what is there instead."""
    if task not in study.references:
        return f"{study.folder}: {task}: neither dense nor the teacher has a score"
    where = f"{limits.device}, threads {limits.threads}, batch {limits.batch}"
    timed = {str(where) for own in study.models[task] for where, _ in own.backends}
    have = f"timed are {', '.join(sorted(timed))}" if timed else "no model is timed"
    block = f"batch_sizes=[{limits.batch}]' --set 'threads=[{limits.threads}]"
    if limits.device != "cpu":
        block += f"' --set 'devices=[{limits.device}]"
    return (
        f"{study.folder}: {task}: nothing is timed on {where} and scored on both splits; {have}. "
        f"To time it: lotbench measure {study.folder} --set '{block}'"
    )

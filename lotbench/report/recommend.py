"""Choosing a trained model, its budget and its backend by limits on score and latency.

The choice is made on the selection split; validation scores are only read.  A model is one trial:
the margins are of its own seed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lotbench.errors import InputError
from lotbench.report.bootstrap import Estimate, estimate
from lotbench.report.content import Content, read
from lotbench.report.latency import Timed
from lotbench.report.models import Model
from lotbench.report.pareto import scored
from lotbench.report.statistics import SLACK, Evidence
from lotbench.store.store import Store
from lotbench.store.timed import timed_models

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


@dataclass(frozen=True)
class Candidate:
    """A trained model at one budget in one backend, scored and timed."""

    trial_id: str
    method: str
    budget: str
    backend: str
    metric: str
    margins: dict[str, Estimate]
    """Score minus that of the reference with the same seed, in points, by split."""
    score: Estimate
    """On validation."""
    timed: Timed

    @property
    def seconds(self) -> float:
        """Median seconds per text."""
        value = self.timed[1].seconds_per_example
        assert value is not None, "what has no time is no candidate"
        return value

    @property
    def p95(self) -> float | None:
        """Seconds of a call that 95% of the calls keep to; None in older passes."""
        calls = self.timed[1].call_seconds
        return calls.p95 if calls else None

    def excess(self, limits: Limits) -> tuple[float, float]:
        """How far past the limits: points, and the share of the allowed seconds; 0 if it keeps."""
        points = max(0.0, -self.margins["selection"].value - limits.drop)
        if limits.p95 is None:
            share = 0.0
        elif self.p95 is None:
            share = np.inf
        else:
            share = max(0.0, self.p95 / limits.p95 - 1)
        return points if points > 100 * SLACK else 0.0, share


@dataclass(frozen=True)
class Advice:
    """The choice for one task."""

    task: str
    reference: str
    """``dense`` or ``teacher``."""
    choice: Candidate | None
    """The fastest that keeps to the limits; None if there is none."""
    runner_up: Candidate | None
    """The next fastest that keeps to the limits."""
    nearest: Candidate | None
    """If nothing keeps to the limits: what comes nearest."""
    passed_over: Candidate | None
    """Of those that are faster than the choice, the one that is least past a limit."""


def recommend(folder: str | Path, limits: Limits) -> list[Advice]:
    """The advice for every task of a store.

    Raises
    ------
    InputError
        If the folder is not a store, or if no task has times and scores to choose by.
    """
    content, store = read(folder), Store(folder)
    tasks = [str(task) for task in content.table["task"].unique()]
    if not tasks:
        raise InputError(f"{folder}: no trials to choose from")
    found, missing = {}, []
    for task in tasks:
        try:
            found[task] = _candidates(task, content, store, limits)
        except InputError as error:
            missing.append(str(error))
    if not found:
        raise InputError("\n".join(missing))
    for message in missing:
        log.warning(message)
    return [_advice(task, own, content, limits) for task, own in found.items()]


def _advice(task: str, found: list[Candidate], content: Content, limits: Limits) -> Advice:
    found = sorted(found, key=lambda own: own.seconds)
    good = [own for own in found if own.excess(limits) == (0.0, 0.0)]
    reference = content.references[task].name
    if not good:
        return Advice(task, reference, None, None, _nearest(found, limits), None)
    faster = [own for own in found if own.seconds < good[0].seconds]
    passed_over = _nearest(faster, limits) if faster else None
    return Advice(task, reference, good[0], good[1] if good[1:] else None, None, passed_over)


def _nearest(found: list[Candidate], limits: Limits) -> Candidate:
    """The candidate that is least past the limits."""

    def rank(own: Candidate) -> tuple[bool, float, float]:
        points, share = own.excess(limits)
        # Within the drop, time decides; else the score, first among those that are fast enough.
        return (points > 0, points > 0 and share > 0, points or share)

    return min(found, key=rank)


def _candidates(task: str, content: Content, store: Store, limits: Limits) -> list[Candidate]:
    """Every model of a task, at every budget and in every backend, that is scored and timed here.

    Raises
    ------
    InputError
        If nothing of the task is, with what is there instead.
    """
    found = content.evidence.get(task)
    if found is None:
        raise InputError(f"{store.folder}: {task}: neither dense nor the teacher has a score")
    models = {(own.method, own.setting, own.point): own for own in found.models}
    timed = timed_models(store)
    rows = scored(content.table)
    rows = rows[(rows["task"] == task) & (rows["split"] == "selection")]
    rows = rows.drop_duplicates(["trial_id", "budget"])
    candidates, settings = [], set()
    for row in rows.to_dict("records"):
        model = models[row["method"], row["setting"], row["point"]]
        # A pass may time the dense baseline without its trial.
        owners = row["trial_id"], f"{row['registered']} {row['seed']}"
        here = {}
        for owner in owners:
            here |= timed.get((task, owner, row["budget"]), {})
        settings |= {own.setting.label for own, _ in here.values()}
        for backend, own in _newest(here, limits).items():
            candidates += _candidate(row, backend, own, model, found)
    if not candidates:
        raise InputError(_why_none(store, task, limits, settings))
    if limits.p95 is not None and all(own.p95 is None for own in candidates):
        raise InputError(
            f"--p95: the timing passes of {store.folder} have no 95th percentile; time again with "
            f"`lotbench measure {store.folder}`"
        )
    return candidates


def _newest(timed: dict[tuple[str, str], Timed], limits: Limits) -> dict[str, Timed]:
    """What the newest passes with this batch, threads and device timed, by backend."""
    found: dict[str, Timed] = {}
    for (_, backend), (timing, own) in sorted(timed.items(), key=lambda each: each[1][0].created):
        setting = timing.setting
        same = setting.batch_size == limits.batch and setting.threads == limits.threads
        device = limits.device in (setting.device, setting.device.partition(":")[0])
        if same and device and own.seconds_per_example is not None:
            found[backend] = timing, own
    return found


def _candidate(
    row: dict[Any, Any], backend: str, timed: Timed, model: Model, found: Evidence
) -> Iterator[Candidate]:
    """The candidate of a row in a backend; nothing if a score is missing."""
    seeds, reference = (row["seed"],), found.reference
    margins: dict[str, Estimate] = {}
    score = Estimate(np.nan, np.nan, np.nan)
    for split in ("selection", "validation"):
        scores = timed[1].scores
        change = scores[split].change if scores and split in scores else 0.0
        if change is None:
            return
        own = model.score(split, seeds) + change
        margin = 100 * (own - reference.score_beside(split, seeds))
        if not np.isfinite(margin[0]):
            return
        sampled = model.sampled(split)
        margins[split] = estimate(margin, sampled and reference.sampled(split))
        score = estimate(own, sampled)
    names = row["trial_id"], row["method"], row["budget"], backend, row["score_name"]
    yield Candidate(*names, margins, score, timed)


def _why_none(store: Store, task: str, limits: Limits, settings: set[str]) -> str:
    where = f"{limits.device}, threads {limits.threads}, batch {limits.batch}"
    have = f"timed are {', '.join(sorted(settings))}" if settings else "no model is timed"
    block = f"batch_sizes=[{limits.batch}]' --set 'threads=[{limits.threads}]"
    if limits.device != "cpu":
        block += f"' --set 'devices=[{limits.device}]"
    return (
        f"{store.folder}: {task}: nothing is timed on {where} and scored on both splits; {have}. "
        f"To time it: lotbench measure {store.folder} --set '{block}'"
    )

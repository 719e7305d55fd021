"""The trials of a sweep in turn: which is next, and what is said when one ends."""

from __future__ import annotations

import logging
import time

from lotbench.cluster.watch import Watch
from lotbench.plan.plan import Plan, mark_rows
from lotbench.store.rows import Trial
from lotbench.trial.planned import PlannedTrial
from lotbench.trial.progress import four_digits, rough

log = logging.getLogger(__name__)


class TrialQueue:
    """The trials of a plan in turn, whoever runs them.

    A trial that ends may make others known, such as those that confirm its search.
    """

    def __init__(self, planned: Plan, watch: Watch) -> None:
        self.planned, self.store, self.watch = planned, planned.store, watch
        self.clock = time.perf_counter()
        self.started: set[str] = set()
        self.ended = set(self.store.done())
        """Ids of the trials that will not run again: finished before, and ended now."""
        self.grown = len(self.ended)
        self.succeeded = 0
        self.failed: dict[str, str] = {}
        """Why trials failed, by their ids."""

    def next(self) -> PlannedTrial | None:
        """The trial to start now; None if there is none, unless one that runs makes it known."""
        self.grow()
        for name, trial in self.planned.todo.items():
            if name not in self.started:
                self.started.add(name)
                return trial
        return None

    def grow(self) -> None:
        """Adds the trials to the plan that have become known since the last call."""
        if len(self.ended) > self.grown:
            self.grown = len(self.ended)
            self.planned.grow({row.trial_id: row for row in self.store.trials()}, self.ended)
            mark_rows(self.planned)

    def end(self, name: str, row: Trial) -> None:
        """A trial has ended with this row: it counts, and a line says so."""
        self.ended.add(name)
        if row.error is None:
            self.succeeded += 1
            outcome = _scores(row)
        else:
            first = (row.error.message or "").partition("\n")[0]
            outcome = self.failed[name] = f"failed: {row.error.kind}: {first}"
        self.watch.end(name, row)
        count = f"{self.succeeded + len(self.failed)}/{len(self.planned.todo)}"
        seconds, left = time.perf_counter() - self.clock, self.watch.left()
        rest = f", about {rough(left)} left" if left else ""
        label = self.planned.todo[name].label
        log.info("[%s, %.0f s%s] %s: %s", count, seconds, rest, label, outcome)


def _scores(trial: Trial) -> str:
    """The area of a trial of a search, else its validation scores by FLOPs speed-up."""
    if trial.search is not None and trial.search.part == "search":
        area = trial.search.area
        return "no area" if area is None else f"area on selection {area:.1f}"
    metric = str(trial.metric)
    points = [
        (point.metrics[metric], point.flops_speedup)
        for point in trial.evaluations
        if point.split == "validation"
    ]
    shown = [f"{four_digits(score)} at {speedup:.2f}x" for score, speedup in points]
    return f"{metric} {', '.join(shown)}" + ("" if trial.model else " (its model was not kept)")

"""The state of a running sweep, for whoever shows it: what runs, what has ended, the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import fmean

from lotbench.plan.groups import Group, groups, part_of
from lotbench.plan.plan import Plan
from lotbench.store.rows import Trial

LINE_SECONDS = 30.0
"""Time between two lines of the log on what each worker does."""


@dataclass(frozen=True)
class Progress:
    """How far a group of trials is."""

    group: Group
    running: int
    done: int
    failed: int
    todo: int
    best: float | None
    """The largest score of a finished trial on selection: `Watch.measure` says which."""


class Watch:
    """A sweep while it runs; its plan may grow.

    ``before`` has the finished trials of the store by id.
    """

    def __init__(self, planned: Plan, before: Mapping[str, Trial]) -> None:
        self.planned = planned
        self.rows = dict(before)
        self.scores = {name: self._score(row) for name, row in before.items()}
        self.started = time.monotonic()
        self.began: dict[str, float] = {}
        self.took: dict[str, float] = {}
        self.workers = 1
        """The most trials that ran side by side."""
        self.doing: list[str] = []
        """What each worker does now."""
        self.shown = False
        """True while a table shows the state, which then needs no lines in the log."""

    def begin(self, name: str) -> None:
        """A worker starts a trial."""
        self.began.setdefault(name, time.monotonic())
        self.workers = max(self.workers, len(self.running))

    def end(self, name: str, row: Trial) -> None:
        """A trial has ended with this row."""
        now = time.monotonic()
        self.rows[name], self.scores[name] = row, self._score(row)
        self.took[name] = now - self.began.get(name, now)

    @property
    def running(self) -> set[str]:
        """Ids of the trials that run."""
        return {*self.began} - {*self.took}

    @property
    def measure(self) -> str:
        """What tells trials apart: the score, at the target in the middle if there are any."""
        return "best score" if self.target is None else f"best at {self.target:g}x"

    @property
    def target(self) -> float | None:
        targets = sorted(self.planned.sweep.targets or ())
        return targets[len(targets) // 2] if targets else None

    def progress(self) -> list[Progress]:
        """A line for each group of trials, in the order of the plan."""
        running, lines = self.running, []
        for group in groups(self.planned):
            rows = {name: self.rows[name] for name in group.trials if name in self.rows}
            failed = sum(row.status == "failed" for row in rows.values())
            # A confirmation has another seed, so it is no rival of the trial that it confirms.
            tried = [name for name in rows if part_of(group.trials[name]) == "search"]
            scores = [score for name in tried if (score := self.scores[name]) is not None]
            busy = len(running & group.trials.keys())
            todo = len(self._waiting(group)) + group.coming.total() - busy
            best = max(scores, default=None)
            lines.append(Progress(group, busy, len(rows) - failed, failed, todo, best))
        return lines

    def left(self) -> float | None:
        """Seconds until the last trial ends; None as long as no trial has finished.

        A trial takes as long as those of its group did on average, else as those of its task, else
        as all.
        """
        now, rest, every = time.monotonic(), [], groups(self.planned)
        for group in every:
            waiting = self._waiting(group)
            task = [name for other in every if other.task == group.task for name in other.trials]
            means = (self._mean(names) for names in (group.trials, task, [*self.took]))
            mean = next((mean for mean in means if mean is not None), None)
            if mean is None and (waiting or group.coming):
                return None
            spent = [now - self.began.get(name, now) for name in waiting]
            spent += [0.0] * group.coming.total()
            rest += [max(0.0, (mean or 0.0) - seconds) for seconds in spent]
        return max(sum(rest) / self.workers, max(rest, default=0.0))

    def _waiting(self, group: Group) -> list[str]:
        """The trials of a group that run or are to do."""
        todo = self.planned.todo
        return [name for name in group.trials if name in todo and name not in self.took]

    def _mean(self, names: Collection[str]) -> float | None:
        """Mean seconds of those trials that were finished in this run."""
        ended = [name for name in names if name in self.took]
        done = [self.took[name] for name in ended if self.rows[name].status == "done"]
        return fmean(done) if done else None

    def _score(self, row: Trial) -> float | None:
        """The score of a trial on selection; None if it failed."""
        points = [point for point in row.evaluations if point.split == "selection"]
        if self.target is not None:  # dense has none
            points = [point for point in points if point.target in (None, self.target)]
        scores = [point.metrics.get(str(row.metric)) for point in points]
        return max((score for score in scores if score is not None), default=None)


Show = Callable[[Watch], AbstractContextManager[object]]
"""Shows a sweep while the block runs."""

"""Expected best area after n trials of a search, and the order of methods by then."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np

from lotbench.config.spaces import space_of
from lotbench.scoring.area import area
from lotbench.statistics.bootstrap import DRAWS, LEVEL, Estimate, estimate
from lotbench.statistics.drawn import draws_of
from lotbench.statistics.evidence import SLACK
from lotbench.statistics.runs import Row, Run, varying
from lotbench.statistics.scored import DENSE_METHODS, written
from lotbench.store.rows import Searched, Trial

Points = Mapping[Run, list[tuple[float, np.ndarray]]]
"""The models of each trial on selection: FLOPs speed-up, and points above the trial's teacher in
every draw of texts, shape (1 + draws,)."""


@dataclass(frozen=True, eq=False)
class SearchTrials:
    """The trials of one search; the settings of a method without a space count as one trial."""

    name: str
    """The written name of the method; searches of one method have their fixed parameters in it."""
    method: str
    """The written name of the method."""
    space: Mapping[str, Any]
    """As in the rows: ``{"top_p": {"uniform": [0.2, 0.9]}}``."""
    runs: list[Run]
    """By index; the first is the default setting."""
    areas: np.ndarray
    """Area on selection of each trial, the sample first, then in every draw of texts; 0 for a
    failed one; shape (trials, 1 + draws).  Settings without a space have one area together, of the
    best of their models at every speed-up."""
    confirmations: list[Trial]

    @property
    def trials(self) -> int:
        """How many trials the areas are of."""
        return len(self.areas)

    @property
    def failed(self) -> int:
        return sum(run.failed for run in self.runs)

    @property
    def exhausted(self) -> bool:
        """True if no setting of the space is left to try; the default may lie outside."""
        spaces = {name: space_of(own) for name, own in self.space.items()}
        outside = 0
        for run in self.runs:
            params = run.trial.params
            given = [(own, params[name]) for name, own in spaces.items() if name in params]
            outside += any(own.place(value) is None for own, value in given)
        return self.trials - outside >= math.prod(own.size for own in spaces.values())

    @property
    def default(self) -> Estimate | None:
        """The area of the default setting; None without its trial."""
        tried = bool(self.space) and _mark(self.runs[0]).index == 0
        return estimate(self.areas[0]) if tried else None

    @property
    def best(self) -> Run | None:
        """The finished trial with the largest area; None if none has finished."""
        areas = {run: area for run, area in zip(self.runs, self.areas[:, 0], strict=False)}
        done = [run for run in self.runs if not run.failed]
        return max(done, key=lambda run: areas.get(run, 0.0), default=None)

    @property
    def seconds(self) -> float:
        """Wall-clock of its trials."""
        return sum(_seconds(run.trial) for run in self.runs)

    @property
    def confirmation_seconds(self) -> float:
        """Wall-clock of training the chosen settings again."""
        return sum(map(_seconds, self.confirmations))

    def expected_best(self, trials: int) -> np.ndarray:
        """The expected best area after so many trials, in every draw, shape (1 + draws,).

        If no setting is left to try, it stays at the largest.
        """
        return self._expected[min(trials, self.trials) - 1]

    def band(self, trials: int) -> tuple[float, float]:
        """Where the best of so many of its trials lies with 95% probability."""
        ordered = np.sort(self.areas[:, 0])
        reached = at_most(self.trials)[min(trials, self.trials) - 1]
        ends = [(100 - LEVEL) / 200, (100 + LEVEL) / 200]
        # Rounding must not decide at the ends.
        low, high = (ordered[np.argmax(reached >= end - SLACK)] for end in ends)
        return float(low), float(high)

    @cached_property
    def _expected(self) -> np.ndarray:
        reached = at_most(self.trials)
        return np.diff(reached, axis=1, prepend=0) @ np.sort(self.areas, axis=0)


def at_most(count: int) -> np.ndarray:
    """Probability that the best of n of so many trials is at most their i-th smallest.

    It is C(i, n) / C(count, n); shape (count, count), n and i from 1.
    """
    numbers = np.arange(count)
    # C(i, n) / C(count, n) is the product of (i - k) / (count - k) over k below n.
    steps = np.maximum(numbers + 1 - numbers[:, None], 0) / (count - numbers[:, None])
    return np.cumprod(steps, axis=0)


@dataclass(frozen=True)
class Order:
    """How the searches of a task compare after the same number of trials each."""

    trials: int
    ahead: frozenset[tuple[str, str]]
    """Names, of which the first has the larger expected best, outside the interval over texts."""
    ranks: dict[str, int]
    """By name: 1 plus the searches that are ahead of it."""

    @property
    def first(self) -> list[str]:
        """The searches with rank 1."""
        return [name for name, rank in self.ranks.items() if rank == 1]


def orders(found: Sequence[SearchTrials]) -> list[Order]:
    """The order after 1, 2, ... trials each, up to the fewest of a search that could go on."""
    unended = [own.trials for own in found if not own.exhausted]
    last = min(unended, default=max((own.trials for own in found), default=0))
    return [_order(found, trials) for trials in range(1, last + 1)]


def reversals(found: Sequence[Order]) -> list[tuple[int, str, str]]:
    """Number of trials and two names, of which the first is ahead from there on, not before."""
    turned, known = [], set()
    for own in found:
        for pair in sorted(own.ahead - known):
            if pair[::-1] in known:
                turned.append((own.trials, *pair))
        known -= {pair[::-1] for pair in own.ahead}
        known |= own.ahead
    return turned


def _order(found: Sequence[SearchTrials], trials: int) -> Order:
    expected = {own.name: own.expected_best(trials) for own in found}
    ahead = frozenset(
        (one, other)
        for one, other in permutations(expected, 2)
        if estimate(expected[one] - expected[other]).low > SLACK
    )
    ranks = {name: 1 + sum(name == behind for _, behind in ahead) for name in expected}
    return Order(trials, ahead, ranks)


def searches(runs: Iterable[Run], confirmations: Iterable[Trial]) -> list[SearchTrials]:
    """The searches of a task by name, from the trials of searches and those that confirm them."""
    groups: dict[tuple[str, str], dict[tuple[str, int], Run]] = defaultdict(dict)
    # A new version of a method leaves its older trials in the store.
    for run in sorted(runs, key=lambda run: run.trial.created):
        mark = _mark(run)
        if run.method not in DENSE_METHODS:
            group = ("", mark.key) if mark.space else (run.method, "")
            groups[group][mark.key, mark.index] = run
    found = {key: [own[at] for at in sorted(own)] for key, own in groups.items()}
    points = _points([run for own in found.values() for run in own])
    confirmed: dict[str, list[Trial]] = defaultdict(list)
    for trial in confirmations:
        if trial.search is not None:
            confirmed[trial.search.key].append(trial)
    named = []
    for name, key in sorted((name, key) for key, name in _names(found).items()):
        own = found[key]
        space = _mark(own[0]).space
        together = [[run] for run in own] if space else [own]
        areas = np.stack([_area(some, points) for some in together])
        keys = dict.fromkeys(_mark(run).key for run in own)
        again = [trial for each in keys for trial in confirmed[each]]
        named.append(SearchTrials(name, own[0].method, space, own, areas, again))
    return named


def _area(runs: Sequence[Run], points: Points) -> np.ndarray:
    """The area of the best of these trials at every speed-up in every draw, shape (1 + draws,)."""
    speedups, margins, settings = [], [], []
    for number, run in enumerate(runs):
        for speedup, margin in points[run]:
            speedups.append(np.full_like(margin, speedup))
            margins.append(margin)
            settings.append(str(number))
    if not margins:
        return np.zeros(1 + DRAWS)
    end = max(_mark(run).end for run in runs)
    floor = max(run.trial.floor for run in runs)  # failed trials do not know their metric
    heights = np.stack(margins)
    return area(np.stack(speedups), heights, heights, settings, end, floor)


def _points(runs: Sequence[Run]) -> Points:
    """A trial that failed, or whose teacher has no score, has none."""
    rows = {
        run: [
            row
            for row in (Row(run, own) for own in run.trial.evaluations)
            if row.split == "selection" and row.score is not None
        ]
        for run in runs
        if not run.failed and run.teacher_score("selection") is not None
    }
    teachers = {run: own[0].of_teacher() for run, own in rows.items() if own}
    draws = draws_of([row for own in (*rows.values(), teachers.values()) for row in own if row])

    def margin(row: Row) -> np.ndarray:
        teacher = teachers[row.run]
        # Rows without the teacher's predictions have its score alone.
        score = row.run.teacher_score("selection") if teacher is None else draws[teacher]
        return 100 * (draws[row] - score)

    return {
        run: [(row.evaluation.flops_speedup, margin(row)) for row in rows.get(run, ())]
        for run in runs
    }


def _names(found: Mapping[tuple[str, str], list[Run]]) -> dict[tuple[str, str], str]:
    """The written name of the method; of several searches with it, each with what is fixed."""
    methods: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key, (first, *_) in found.items():
        methods[first.method].append(key)
    names = {}
    for method, keys in methods.items():
        params = varying(found[key][0] for key in keys)
        for key in keys:
            names[key] = f"{method} {written(params[found[key][0].setting])}".strip()
    shared = Counter(names.values())
    return {
        key: name if shared[name] == 1 else f"{name} #{key[1] or 'fixed'}"
        for key, name in names.items()
    }


def _mark(run: Run) -> Searched:
    assert run.trial.search is not None, "it is the trial of a search"
    return run.trial.search


def _seconds(trial: Trial) -> float:
    """Wall-clock of a trial; of rows without it, that of its training."""
    return trial.seconds or (trial.training and trial.training.seconds) or 0.0

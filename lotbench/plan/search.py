"""The search of a method's settings on a task: which settings are tried, chosen and confirmed.

The rows of the store are all that it remembers.  So a search goes on where it was interrupted, can
be extended, and gives the same rows with any number of workers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any

from lotbench.config.expand import Block
from lotbench.config.sections import SweepConfig, digest
from lotbench.errors import Faults, InputError
from lotbench.plan.resolve import resolve
from lotbench.plan.suggest import independent, optuna_point, sobol
from lotbench.store.record import Json
from lotbench.store.rows import Searched, Trial
from lotbench.trial.objective import objective
from lotbench.trial.planned import PlannedTrial

WITHIN = 0.377
"""A place within a space, where a parameter of whole numbers is no whole number."""
REPEATS = 200
"""A search ends after so many points in a row that give settings tried before."""


class Search:
    """The search of the settings of one block."""

    def __init__(self, block: Block, sweep: SweepConfig) -> None:
        assert sweep.search is not None and sweep.targets is not None, "as the sections demand"
        self.block, self.names = block, sorted(block.spaces)
        self.config = block.config.model_copy(update={"share": sweep.search.share})
        """That of the default setting in the search; a confirmation has all training texts."""
        self.best, self.seeds = sweep.confirmation.best, sweep.confirmation.seeds
        """How many settings are confirmed, and with which seeds."""
        self.size = sweep.search.trials if block.spaces else 1
        """How many trials it has; fewer if its space has fewer settings."""
        space: dict[str, Any] = {name: block.spaces[name].written() for name in self.names}
        algorithm = sweep.search.algorithm
        self.default = self.config.trial_id(0)
        """The default setting, by which a row says what search it is of."""
        identity = {"trial": self.default, "space": space, "algorithm": algorithm}
        self.mark = Searched(
            part="search",
            key=digest(identity)[:10],
            algorithm=algorithm,
            index=0,
            space=space,
            end=max(sweep.targets),
        )
        """The mark of its first trial."""

    def check(self) -> None:
        """Resolves a trial at the ends and within every space."""
        faults = Faults()
        first = {name: space.given[0] for name, space in self.block.spaces.items()}
        fields = self._trial(first, 0).method.Params.model_fields
        known = {field.alias or name: field for name, field in fields.items()}
        for name, space in self.block.spaces.items():
            for value in [*space.given, space.value(WITHIN)]:
                with faults.collected():
                    self._trial({**first, name: value}, 0)
            if name in known and known[name].is_required():
                message = "a searched parameter needs a default, which is trial 0"
                with faults.collected():
                    raise InputError(self.block.place.fault((name,), message))
        faults.check()

    @property
    def label(self) -> str:
        """The search in a few words: task, method and fixed parameters."""
        fixed = [f"{name}={value}" for name, value in self.block.config.params.items()]
        return " ".join([self.block.config.task, self.block.config.method, *fixed])

    def known(self, rows: Mapping[str, Trial], ended: Collection[str]) -> list[PlannedTrial]:
        """The trials that are known by now: those of the search, then those that confirm it.

        ``rows`` are those of the store by trial id.  ``ended`` has the ids of the trials that will
        not run again: finished ones, and those that failed now.
        """
        asks = self.mark.algorithm == "optuna" and bool(self.names)
        trials = self._asked(rows, ended) if asks else self._listed
        if not all(trial.id in ended for trial in trials):
            return trials
        index = {trial.id: i for i, trial in enumerate(trials)}
        chosen = self.chosen(rows[name] for name in index if name in rows)
        return trials + [
            self._confirmation(row, index[row.trial_id], seed)
            for row in chosen
            for seed in self.seeds
        ]

    def chosen(self, rows: Iterable[Trial]) -> list[Trial]:
        """The best of these trials by the objective; of equal ones the first."""
        areas = [(objective(row, self.mark.end), row) for row in rows if row.status == "done"]
        scored = [(area, row) for area, row in areas if area is not None]
        return [row for _, row in sorted(scored, key=lambda pair: -pair[0])[: self.best]]

    @cached_property
    def _listed(self) -> list[PlannedTrial]:
        """All trials of a search that does not look at results."""
        return list(islice(self._distinct([]), self.size))

    def _distinct(self, tried: list[PlannedTrial]) -> Iterator[PlannedTrial]:
        """The default setting and then the points of the sequence, without settings tried before.

        Trial i depends on the seed, the task, the method and i alone.
        """
        seen, repeats = {trial.contents for trial in tried}, 0
        for setting in self._settings():
            trial = self._trial(setting, len(seen))
            if trial.contents not in seen:
                repeats = 0
                seen.add(trial.contents)
                yield trial
            elif (repeats := repeats + 1) == REPEATS:
                return

    def _settings(self) -> Iterator[Json]:
        yield {}
        points = independent if self.mark.algorithm == "random" else sobol
        if self.names:
            yield from map(self._setting, points(len(self.names), self._number()))

    def _setting(self, point: Iterable[float]) -> Json:
        pairs = zip(self.names, point, strict=True)
        return {name: self.block.spaces[name].value(place) for name, place in pairs}

    def _number(self, *more: int) -> int:
        """A seed for random numbers, made of the sweep's seed, the task, the method and more."""
        config = self.block.config
        text = repr((config.seed, config.task, config.method, *more))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])

    def _trial(self, setting: Json, index: int) -> PlannedTrial:
        params = {**self.config.params, **setting}
        trial = resolve(self.config.model_copy(update={"params": params}), self.block.place)
        return replace(trial, mark=self.mark.model_copy(update={"index": index}))

    def _confirmation(self, row: Trial, index: int, seed: int) -> PlannedTrial:
        changes = {"params": row.config["params"], "seed": seed}
        trial = resolve(self.block.config.model_copy(update=changes), self.block.place)
        mark = {"part": "confirmation", "index": index, "chosen": row.trial_id}
        return replace(trial, mark=self.mark.model_copy(update=mark))

    def stand_ins(self) -> list[PlannedTrial]:
        """The default setting with the seeds of the confirmations, which have the same teachers."""
        configs = (self.block.config.model_copy(update={"seed": seed}) for seed in self.seeds)
        return [resolve(config, self.block.place) for config in configs]

    def _asked(self, rows: Mapping[str, Trial], ended: Collection[str]) -> list[PlannedTrial]:
        """The trials that Optuna has suggested: those that have ended, and the next one."""
        stored = {}
        for row in sorted(rows.values(), key=lambda row: row.created):
            # Chosen is given for confirmations alone.
            if row.search and row.search.key == self.mark.key and row.search.chosen is None:
                stored[row.search.index] = row
        trials = [self._trial({}, 0)]
        while len(trials) < self.size and trials[-1].id in ended:
            if row := stored.get(len(trials)):
                params: Any = row.config["params"]
                setting = {name: params[name] for name in self.names}
            else:
                setting = self._ask(trials, rows)
            trial = self._trial(setting, len(trials))
            if any(trial.contents == other.contents for other in trials):
                trial = next(self._distinct(trials), None)
            if trial is None:
                break
            trials.append(trial)
        return trials

    def _ask(self, trials: Sequence[PlannedTrial], rows: Mapping[str, Trial]) -> Json:
        """The setting that Optuna suggests after these trials."""
        spaces = [self.block.spaces[name] for name in self.names]
        told = []
        for trial in trials:
            values = trial.params.model_dump(mode="json", by_alias=True)
            pairs = zip(self.names, spaces, strict=True)
            point = [space.place(values.get(name)) for name, space in pairs]
            # The default setting may lie outside the space, and teaches Optuna nothing then.
            if None not in point:
                row = rows.get(trial.id)
                area = objective(row, self.mark.end) if row and row.status == "done" else None
                told.append((point, area))
        return self._setting(optuna_point(spaces, told, self._number(len(trials))))

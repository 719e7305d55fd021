"""The plan of a sweep: its trials, and those that are not done."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lotbench import backends
from lotbench.config.document import Document, Place
from lotbench.config.expand import expand
from lotbench.config.sections import SweepConfig, TrialConfig
from lotbench.errors import Faults, InputError
from lotbench.measure import launch
from lotbench.plan.checks import (
    check_algorithm,
    check_comparable,
    check_fits,
    check_room,
    check_timed_targets,
)
from lotbench.plan.resolve import resolve
from lotbench.plan.search import Search
from lotbench.store.rows import Searched, Trial
from lotbench.store.store import Store
from lotbench.trial.planned import PlannedTrial
from lotbench.trial.trial import marked


@dataclass
class Plan:
    """The trials of a sweep and which of them are still to do, by id.

    The trials that confirm a search become known at its end, and those that Optuna suggests one
    after the other; `grow` adds them.
    """

    sweep: SweepConfig
    store: Store
    most: int | None
    """The most trials to do now."""
    trials: dict[str, PlannedTrial]
    searches: list[Search] = field(default_factory=list)
    """Empty if the sweep lists settings."""
    todo: dict[str, PlannedTrial] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """That of the store."""
        return self.store.folder

    @property
    def size(self) -> int:
        """The number of trials of the whole sweep; of a search without equal settings."""
        if not self.searches:
            return len(self.trials)
        return sum(search.size for search in self.searches) + self.sweep.confirmed_trials * len(
            self.searches
        )

    def grow(self, rows: Mapping[str, Trial], ended: Collection[str]) -> None:
        """Adds the trials that have become known; the arguments are those of `Search.known`."""
        # With a limit, trials that always fail must not keep the others from their turn.
        settled = ended if self.most is None else {*ended, *rows}
        for search in self.searches:
            for trial in search.known(rows, settled):
                self.trials.setdefault(trial.id, trial)
        # Trials that failed before come last: they may fail again, and others must get their turn.
        left = [name for name in self.trials if name not in ended and name not in self.todo]
        for name in sorted(left, key=lambda name: name in rows)[: self._room()]:
            self.todo[name] = self.trials[name]

    @property
    def chosen(self) -> set[str]:
        """The keys of the searches whose choice is known."""
        marks = [trial.mark for trial in self.trials.values()]
        return {mark.key for mark in marks if mark and mark.part == "confirmation"}

    def _room(self) -> int | None:
        return None if self.most is None else self.most - len(self.todo)

    def teaching(self) -> dict[str, list[PlannedTrial]]:
        """The trials to do by their teacher, and stand-ins for confirmations that are not known."""
        trials = [*self.todo.values()]
        if self.todo and self._room() != 0:
            for search in self.searches:
                if search.mark.key not in self.chosen:
                    trials += search.stand_ins()
        taught: dict[str, list[PlannedTrial]] = {}
        for trial in trials:
            taught.setdefault(trial.config.teacher_key(), []).append(trial)
        return taught


def plan(sweep: SweepConfig, document: Document, root: Path, max_trials: int | None = None) -> Plan:
    """The trials of a sweep, each resolved, so that bad parameters are refused before any work.

    The ``document`` is the file of the sweep, whose store is a folder of ``root``.  At most
    ``max_trials`` of them are done now; None is all.
    """
    if sweep.measure is not None:
        with document.at(("measure", "devices")):
            settings = launch.settings(sweep.measure.devices, sweep.measure.threads)
        with document.at(("measure", "backends")):
            for setting in settings:
                backends.chosen(sweep.measure.backends, setting.device)
    planned = Plan(sweep, Store((root / sweep.name).resolve()), max_trials, {})
    faults = Faults()  # of all trials, in one message
    for block in expand(sweep, document):
        with faults.collected():
            if sweep.search is None:
                trial = resolve(block.config, block.place)
                planned.trials[trial.id] = trial
                continue
            search = Search(block, sweep)
            search.check()
            if any(search.default == other.default for other in planned.searches):
                message = "another block has the same fixed parameters; search both spaces in one"
                raise InputError(block.place.fault((), message))
            planned.searches.append(search)
    faults.check()
    check_algorithm(sweep, document)
    store, done = planned.store, planned.store.done()
    planned.grow({trial.trial_id: trial for trial in store.trials()}, done)
    check_timed_targets(sweep, document, planned.trials.values())
    for trial in {trial.config.task: trial for trial in planned.trials.values()}.values():
        check_comparable(store, trial.config)
    check_fits(planned.todo.values(), sweep.backbone)
    return planned


def plan_trial(config: TrialConfig, place: Place, store: Store) -> PlannedTrial:
    """A trial outside a sweep, resolved and checked against the store that its row goes to."""
    trial = resolve(config, place)
    check_comparable(store, config)
    check_fits([trial], config.backbone)
    check_room(store.folder, config.backbone)
    return trial


def mark_rows(planned: Plan) -> None:
    """Marks rows with their place in the current search, or as no longer of it.

    Rows of other tasks and methods stay as they are.
    """
    sizes = {search.mark.key: search.size for search in planned.searches}
    named = {(trial.config.task, trial.config.method) for trial in planned.trials.values()}
    for row in planned.store.trials():
        mark = row.search
        if row.trial_id in planned.trials:
            mark = planned.trials[row.trial_id].mark
        elif mark and (row.task, row.method) in named and not _stays(mark, sizes, planned.chosen):
            mark = mark.model_copy(update={"part": "superseded", "area": None})
        if mark != row.search and (new := marked(row, mark)) != row:
            planned.store.write(new)


def _stays(mark: Searched, sizes: Mapping[str, int], chosen: Collection[str]) -> bool:
    """True for a part of a search that the sweep has; a choice stays until there is another."""
    if mark.key not in sizes:
        return False
    return mark.index < sizes[mark.key] if mark.part == "search" else mark.key not in chosen

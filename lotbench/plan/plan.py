"""The plan of a sweep: its trials, and those that are not done."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lotbench import backends
from lotbench.config.document import Document
from lotbench.config.expand import expand
from lotbench.config.sections import SweepConfig
from lotbench.engine.config_of_backbone import read_config
from lotbench.errors import Faults, InputError
from lotbench.measure import launch
from lotbench.plan.resolve import resolve
from lotbench.plan.search import Search
from lotbench.plan.suggest import OPTUNA_STARTS
from lotbench.store.rows import Trial
from lotbench.store.store import Store
from lotbench.trial.checks import check_comparable
from lotbench.trial.planned import PlannedTrial

log = logging.getLogger(__name__)


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
        return sum(own.size for own in self.searches) + self.sweep.confirmed_trials * len(
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

    Raises
    ------
    InputError
        If a method, parameter, plugin, device, backend or timed target is at fault, or the store
        holds trials that must not be compared with these.
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
    _check_algorithm(sweep, document)
    store, done = planned.store, planned.store.done()
    planned.grow({trial.trial_id: trial for trial in store.trials()}, done)
    _check_timed_targets(sweep, document, planned.trials)
    for trial in {trial.config.task: trial for trial in planned.trials.values()}.values():
        check_comparable(planned.folder, done.values(), trial.config)
    if planned.todo:
        with document.at(("backbone",)):
            backbone = read_config(sweep.backbone)
        # Once for each setting, whatever its task and seed: building a method takes milliseconds.
        built = {(trial.method, trial.contents): trial for trial in planned.todo.values()}
        for trial in built.values():
            trial.check_fits(backbone.num_hidden_layers, backbone.hidden_size)
    return planned


def _check_algorithm(sweep: SweepConfig, document: Document) -> None:
    """Refuses Optuna where it is missing, and says where it is of no use."""
    if sweep.search is None or sweep.search.algorithm != "optuna":
        return
    from importlib.util import find_spec

    if find_spec("optuna") is None:
        message = "Optuna is not installed; pip install 'lotbench[optuna]', or use quasirandom"
        raise InputError(document.fault(("search", "algorithm"), message))
    if sweep.search.trials < OPTUNA_STARTS:
        log.warning(
            "search.trials: with %d trials Optuna hardly differs from random points; %d are enough "
            "to learn from",
            sweep.search.trials,
            OPTUNA_STARTS,
        )


def _check_timed_targets(
    sweep: SweepConfig, document: Document, trials: dict[str, PlannedTrial]
) -> None:
    """Refuses to time a target that no trial is asked for, where others are."""
    asked = {target for trial in trials.values() for target in trial.targets}
    for i, target in enumerate((sweep.measure and sweep.measure.targets) or ()):
        if asked and target not in asked:
            known = ", ".join(f"{each:g}" for each in sorted(asked))
            message = f"{target:g} is not a target of any method (known: {known})"
            raise InputError(document.fault(("measure", "targets", i), message))

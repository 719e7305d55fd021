"""Several stores of one suite as one, so that methods of different stores are compared in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from lotbench.errors import InputError
from lotbench.statistics.scored import DENSE_METHODS
from lotbench.statistics.store_view import StoreView
from lotbench.store.passes import TimingPass
from lotbench.store.rows import Trial


class Joint(StoreView):
    """One task of several stores, without their searches and timing passes.

    Dense and the teacher are those of the first store that has them: a store that joins moves no
    score of the others.  A method that an earlier store has, too, gets the name of its store.
    """

    def __init__(self, studies: Sequence[StoreView], task: str) -> None:
        """The stores in the order in which they joined."""
        super().__init__(studies[0].folder)
        self.studies, self.task = studies, task
        self.owners: dict[str, tuple[StoreView, str]] = {}
        """By the written name of a method its store, and its name there."""
        self.trials = self._joined()

    def _joined(self) -> list[Trial]:
        """The finished trials that reports read, under the names that they have here."""
        found: list[Trial] = []
        texts: dict[int, tuple[str | None, StoreView]] = {}
        taught = False
        for study in self.studies:
            runs = [run for run in study.runs_on(self.task) if not run.failed]
            for run in runs:
                self._check_texts(run.trial, study, texts)
                name, changes = run.method, dict[str, object]()
                if taught:
                    changes["teacher"] = None
                    if name in DENSE_METHODS:
                        continue
                if self.owners.get(name, (study, ""))[0] is not study:
                    name = f"{name}, {study.name}"
                    # Two stores may have one trial.
                    changes["trial_id"] = f"{run.trial.trial_id}, {study.name}"
                changes["look"] = run.method.look.model_copy(update={"label": str(name)})
                self.owners[name] = study, run.method
                found.append(run.trial.model_copy(update=changes))
            taught = taught or self.task in study.references
        return found

    @cached_property
    def shown_passes(self) -> list[TimingPass]:
        """None: times of two machines are not compared."""
        return []

    def _check_texts(
        self, trial: Trial, study: StoreView, texts: dict[int, tuple[str | None, StoreView]]
    ) -> None:
        fingerprint = trial.data and trial.data.fingerprint
        first, other = texts.setdefault(trial.seed, (fingerprint, study))
        if fingerprint != first and other is not study:
            raise InputError(
                f"{study.folder}: {self.task} with seed {trial.seed} has other texts than in "
                f"{other.folder}; train on the data and with the limits of the suite"
            )

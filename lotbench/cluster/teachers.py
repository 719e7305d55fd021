"""The teachers that the trials of a sweep share, and what is said when one is ready."""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from lotbench.engine import checkpoint
from lotbench.errors import InputError
from lotbench.plan.plan import Plan
from lotbench.store.rows import Trial
from lotbench.store.store import Store
from lotbench.trial.planned import PlannedTrial
from lotbench.trial.progress import TimeUp
from lotbench.trial.trial import needed, prepare

log = logging.getLogger(__name__)

Scores = dict[str, int | float | None]
"""Metrics of a teacher on validation."""


class Teachers:
    """The teachers of a plan, each with its trials, whoever trains them."""

    def __init__(self, planned: Plan) -> None:
        self.trials = planned.teaching()
        """The trials of each teacher, by its key."""
        self.labels = {
            key: f"{trials[0].config.task}, seed {trials[0].config.seed}"
            for key, trials in self.trials.items()
        }
        self.clock = time.perf_counter()
        self.ended = 0

    def end(self, key: str, scores: Scores) -> None:
        """A teacher is ready."""
        shown = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
        log.info("%s: %s (%.0f s)", self._counted(key), shown, time.perf_counter() - self.clock)

    def fail(self, key: str, error: BaseException, why: str | None = None) -> None:
        """A teacher has failed; so will its trials, each with its own row.

        Raises
        ------
        InputError
            If the data or the backbone is at fault: all trials would fail.
        """
        trial = self.trials[key][0]
        if isinstance(error, InputError):
            with trial.place.document.at(("tasks", trial.config.task)):
                raise InputError(str(error)) from None
        lines = str(error).strip().splitlines() or [type(error).__name__]
        log.warning("%s: failed: %s", self._counted(key), why or lines[-1])

    def _counted(self, key: str) -> str:
        self.ended += 1
        return f"teacher {self.ended}/{len(self.trials)}: {self.labels[key]}"


def train_teacher(trials: list[PlannedTrial], store: Store) -> Scores:
    """The metrics of the teacher of these trials.

    Afterwards the teacher is in the cache, with the logits and saliency that the trials need.
    """
    store.pull(Trial.FOLDER)
    artefacts = prepare(trials[0], store)
    teacher = checkpoint.load(artefacts.teacher).backbone
    wanted = []
    for trial in trials:
        # A method that refuses its parameters fails in its own trial, with its own row.
        with suppress(Exception, SystemExit):
            reducer = trial.method(trial.params, len(teacher.layers), teacher.width)
            wanted.append((reducer, needed(trial.config, reducer)))
    for reducer, needs in wanted:
        try:
            artefacts.trained(needs)
            artefacts.scored(reducer)
        except TimeUp:
            raise
        except Exception as error:  # the trials that need it fail themselves
            log.warning("teacher of %s: %s", trials[0].label, error)
    return (artefacts.record().metrics or {})["validation"]

"""Checks that only a trial with its data can make: one data set and teacher for all in a store."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lotbench.config.sections import TrialConfig
from lotbench.data.task import Task
from lotbench.errors import InputError
from lotbench.store.rows import Trial
from lotbench.validation import report_at, validate


def stored_config(trial: Trial) -> TrialConfig:
    """The configuration of a stored trial."""
    return validate(TrialConfig, trial.config, report_at(f"trials/{trial.trial_id}.json: config"))


def check_data(folder: Path, task: Task, trials: Iterable[Trial]) -> None:
    """Refuses a task whose data differs from that of these trials of a store."""
    if any(trial.data and trial.data.fingerprint != task.fingerprint for trial in trials):
        raise InputError(
            f"{folder}: the data of {task.name} is no longer what its trials were trained and "
            "scored on; bring it back, or run the sweep under another name"
        )


def check_teacher(folder: Path, backbone: str, key: str, trials: Iterable[Trial]) -> None:
    """Refuses a teacher that is not the one of these trials of a store."""
    if any(trial.teacher and trial.teacher.key != key for trial in trials):
        raise InputError(
            f"{folder}: the weights of {backbone}, or LoTBench's training of teachers, have "
            "changed since its trials were run; run the sweep under another name"
        )

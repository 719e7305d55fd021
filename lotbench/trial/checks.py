"""Checks that a store may take a trial: one dense model, data set and teacher for all."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lotbench.config.sections import TrialConfig
from lotbench.data.task import Task
from lotbench.engine.loading import weight_bytes
from lotbench.errors import InputError
from lotbench.store.rows import Trial
from lotbench.validation import report_at, validate

log = logging.getLogger(__name__)

COMMON = ("backbone", "layers", "data_root", "data", "train", "teacher", "evaluate")
"""Settings that all trials of a task in one store have in common."""
ROOM = 32 * 2**20
"""Bytes for rows, logs and the other files of a model."""


def check_room(folder: Path, backbone: str, trials: int = 1) -> None:
    """Refuses a store on a disk without room for one model; warns if there is none for all.

    Raises
    ------
    InputError
        If less is free than the weights of the backbone and `ROOM`.
    """
    size = weight_bytes(backbone)
    free = shutil.disk_usage(folder).free
    if free < size + ROOM:
        raise InputError(
            f"{folder}: {free / 1e6:.0f} MB are free, but a trained model needs "
            f"{(size + ROOM) / 1e6:.0f}; free some, or use another disk with --results"
        )
    if free < trials * size + ROOM:
        log.warning(
            "%s: %.1f GB are free, but the models of %d trials need about %.1f; without room, rows "
            "are kept and models are not",
            folder,
            free / 1e9,
            trials,
            trials * size / 1e9,
        )


def stored_config(trial: Trial) -> TrialConfig:
    """The configuration of a stored trial.

    Raises
    ------
    InputError
        If it is missing, or this version of LoTBench cannot read it.
    """
    return validate(TrialConfig, trial.config, report_at(f"trials/{trial.trial_id}.json: config"))


def check_comparable(folder: Path, trials: Iterable[Trial], config: TrialConfig) -> None:
    """Refuses to add a trial to a store whose trials of the task have another dense model.

    Raises
    ------
    InputError
        Names what differs from one of the trials.
    """
    wanted = _common(config.model_dump(mode="json"))
    for trial in trials:
        if trial.task != config.task or not trial.config:
            continue
        held = _common(trial.config)
        for key in {**wanted, **held}:  # a setting that changes nothing is in neither
            if held.get(key) != wanted.get(key):
                raise InputError(
                    f"{folder}: holds trials of {trial.task} with {key} {held.get(key)}, now "
                    f"it is {wanted.get(key)}; all trials of a store need the same dense model, so "
                    "use another store (a sweep: --set name=..., a run: --results ...)"
                )


def _common(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a configuration that all trials of a task have in common, by dotted name."""
    found = dict(pair for key in COMMON for pair in _flat(key, config.get(key)))
    found.pop("train.max_minutes", None)  # it changes no result
    return found


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield name, value
        return
    for key, own in value.items():
        yield from _flat(f"{name}.{key}", own)


def check_data(folder: Path, task: Task, trials: Iterable[Trial]) -> None:
    """Refuses a task whose data differs from that of these trials of a store.

    Raises
    ------
    InputError
        If a trial has another fingerprint.
    """
    if any(trial.data and trial.data.fingerprint != task.fingerprint for trial in trials):
        raise InputError(
            f"{folder}: the data of {task.name} is no longer what its trials were trained and "
            "scored on; bring it back, or run the sweep under another name"
        )


def check_teacher(folder: Path, backbone: str, key: str, trials: Iterable[Trial]) -> None:
    """Refuses a teacher that is not the one of these trials of a store.

    Raises
    ------
    InputError
        If the teacher's key differs in a trial.
    """
    if any(trial.teacher and trial.teacher.key != key for trial in trials):
        raise InputError(
            f"{folder}: the weights of {backbone}, or LoTBench's training of teachers, have "
            "changed since its trials were run; run the sweep under another name"
        )

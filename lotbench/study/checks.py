"""Whether a store may take a trial: one dense model, one data set and one teacher for all."""

from __future__ import annotations

from pathlib import Path

from lotbench import store
from lotbench.config.sections import TrialConfig
from lotbench.data.task import Task
from lotbench.errors import InputError

COMMON = {"backbone", "layers", "data_root", "data", "train", "teacher"}
"""What all trials of a task in one store have in common."""


def check_comparable(folder: Path, rows: list[store.Row], config: TrialConfig) -> None:
    """Refuses to add a trial to a store whose trials of the task have another dense model.

    Raises
    ------
    InputError
        Names what differs from one of the rows.
    """
    wanted = store.flat("", config.model_dump(mode="json", include=COMMON))
    for row in rows:
        if row["task"] != config.task or not row.get("config"):
            continue
        held = store.flat("", {key: row["config"].get(key) for key in COMMON})
        for key in {**wanted, **held}:  # a setting that changes nothing is in neither
            if held.get(key) != wanted.get(key):
                raise InputError(
                    f"{folder}: holds trials of {row['task']} with {key[1:]} {held.get(key)}, now "
                    f"it is {wanted.get(key)}; all trials of a store need the same dense model, so "
                    "use another store (a sweep: --set name=..., a run: --results ...)"
                )


def check_data(folder: Path, task: Task, rows: list[store.Row]) -> None:
    """Refuses a task whose data is not what these rows of a store were made of.

    Raises
    ------
    InputError
        If the fingerprint of a row differs.
    """
    if any(row["data"]["fingerprint"] != task.fingerprint for row in rows):
        raise InputError(
            f"{folder}: the data of {task.name} is no longer what its trials were trained and "
            "scored on; bring it back, or run the sweep under another name"
        )


def check_teacher(folder: Path, backbone: str, key: str, rows: list[store.Row]) -> None:
    """Refuses a teacher that is not the one of these rows of a store.

    Raises
    ------
    InputError
        If the teacher's key differs in a row.
    """
    if any(row["teacher"]["key"] != key for row in rows):
        raise InputError(
            f"{folder}: the weights of {backbone}, or LoTBench's training of teachers, have "
            "changed since its trials were run; run the sweep under another name"
        )

"""Read the rows of a task: from a packaged corpus, GLUE, a local folder or the hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lotbench.config.sections import TaskConfig
from lotbench.config.tasks import BUILT_IN, BuiltIn, is_folder, unusable
from lotbench.data.corpora import read_corpus
from lotbench.data.labels import class_labels, float_labels
from lotbench.data.tables import (
    VALIDATION_NAMES,
    Rows,
    find_split,
    read_hub,
    read_table,
    to_rows,
)
from lotbench.errors import Faults, InputError
from lotbench.metrics import CLASSIFICATION, REGRESSION
from lotbench.validation import dotted

GLUE = "nyu-mll/glue"
if TYPE_CHECKING:
    import pandas as pd

TEXT_NAMES = ("text", "sentence")


@dataclass
class Source:
    """A task before tokenising; labels are class numbers, or floats for a regression task."""

    train: Rows
    validation: Rows
    n_labels: int
    regression: bool
    metrics: tuple[str, ...]
    notes: dict[str, Any] = field(default_factory=dict)


def read_source(name: str, data: TaskConfig, data_root: str | None) -> Source:
    """All rows of a task, checked.

    Raises
    ------
    InputError
        If the data cannot be read or a value is invalid; the message has file, column and row.
    """
    if fault := unusable(name, data):
        path, message = fault
        raise InputError(f"{dotted(('tasks', name, *path))}: {message}")
    built_in = None if data.source else BUILT_IN[name]
    if built_in is None:
        train, validation = _read_own(name, data)
    elif built_in.origin == "glue":
        train, validation = _read_glue(name, built_in, data, data_root)
    else:
        train, validation = read_corpus(name, built_in)
    return _with_labels(name, data, built_in, train, validation)


def find_files(name: str, data: TaskConfig, data_root: str | None) -> dict[str, Path]:
    """The files of the "train" and "validation" splits; empty if no local folder holds the task.

    Raises
    ------
    InputError
        If the folder or one of the files is missing.
    """
    if data.source is not None:
        if not is_folder(data.source):
            return {}
        folder, names = Path(os.path.expanduser(data.source)), VALIDATION_NAMES
    elif name in BUILT_IN and BUILT_IN[name].origin == "glue" and data_root is not None:
        folder = Path(os.path.expanduser(data_root)) / name
        names = (BUILT_IN[name].validation, "validation")
    else:
        return {}
    return {"train": find_split(folder, ["train"]), "validation": find_split(folder, names)}


def _read_own(name: str, data: TaskConfig) -> tuple[Rows, Rows]:
    assert data.source is not None
    if files := find_files(name, data, None):
        frames = _read_files(files)
    else:
        advice = "check the id, its `subset` and the network, or the path of a local folder"
        frames = read_hub(data.source, data.subset, VALIDATION_NAMES, advice)
    columns = [str(column) for column in frames["train"][0].columns]
    label = data.label or "label"
    text = data.text or [name for name in TEXT_NAMES if name in columns and name != label][:1]
    if not text:
        raise InputError(
            f"{frames['train'][1]}: set tasks.{name}.text to one or two of the columns: "
            + ", ".join(columns)
        )
    return _both_splits(frames, text, label, name)


def _read_glue(
    name: str, task: BuiltIn, data: TaskConfig, data_root: str | None
) -> tuple[Rows, Rows]:
    if files := find_files(name, data, data_root):
        frames = _read_files(files)
    else:
        advice = "check the network, or set data_root to a folder with <task>/train.parquet"
        frames = read_hub(GLUE, name, [task.validation, "validation"], advice)
    return _both_splits(frames, data.text or list(task.text), data.label or "label", name)


def _read_files(files: Mapping[str, Path]) -> dict[str, tuple[pd.DataFrame, str]]:
    frames, faults = {}, Faults()
    for role, file in files.items():
        with faults.collected():
            frames[role] = read_table(file), str(file)
    faults.check()
    return frames


def _both_splits(
    frames: dict[str, tuple[pd.DataFrame, str]], text: list[str], label: str, name: str
) -> tuple[Rows, Rows]:
    rows, faults = {}, Faults()
    for role, (frame, where) in frames.items():
        with faults.collected():
            rows[role] = to_rows(frame, text, label, where, name)
    faults.check()
    return rows["train"], rows["validation"]


def _with_labels(
    name: str, data: TaskConfig, built_in: BuiltIn | None, train: Rows, validation: Rows
) -> Source:
    regression = bool(built_in and built_in.regression)
    if data.regression is not None:
        regression = data.regression
    allowed = REGRESSION if regression else CLASSIFICATION
    usual = ("pearson", "spearman") if regression else ("accuracy",)
    if built_in is not None and built_in.metrics[0] in allowed:
        usual = built_in.metrics
    metrics = tuple(data.metrics or usual)
    if unfit := [metric for metric in metrics if metric not in allowed]:
        kind = "regression" if regression else "classification"
        raise InputError(
            f"tasks.{name}.metrics: {unfit[0]!r} does not fit a {kind}; use {', '.join(allowed)}"
        )
    notes: dict[str, Any] = {}
    label = data.label or "label"
    if regression:
        labels = [float_labels(rows, label) for rows in (train, validation)]
        n_labels = 1
    else:
        *labels, names = class_labels(train, validation, label, name)
        n_labels = len(names)
        notes["classes"] = names
    for rows, values in zip((train, validation), labels, strict=True):
        rows.labels = np.asarray(values)
    return Source(train, validation, n_labels, regression, metrics, notes)

"""Read the rows of a task: from a packaged corpus, GLUE, a local folder or the hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    if built_in is not None and not built_in.text:
        train, validation = read_corpus(name, built_in)
    else:
        train, validation = _read_tables(name, built_in, data, data_root)
    return _with_labels(name, data, built_in, train, validation)


def find_files(name: str, data: TaskConfig, data_root: str | None) -> list[Path]:
    """The files of the train and validation split; empty if no local folder holds the task.

    Raises
    ------
    InputError
        If the folder or one of the files is missing.
    """
    if data.source is not None:
        if not is_folder(data.source):
            return []
        folder, names = Path(os.path.expanduser(data.source)), VALIDATION_NAMES
    elif name in BUILT_IN and BUILT_IN[name].origin == "glue" and data_root is not None:
        folder = Path(os.path.expanduser(data_root)) / name
        names = (BUILT_IN[name].validation, "validation")
    else:
        return []
    return [find_split(folder, ["train"]), find_split(folder, names)]


def _read_tables(
    name: str, built_in: BuiltIn | None, data: TaskConfig, data_root: str | None
) -> list[Rows]:
    """The rows of both splits of a task with columns, from local files or the hub."""
    label = data.label or "label"
    if files := find_files(name, data, data_root):
        frames = _of_both(lambda file: (read_table(file), str(file)), files)
    elif built_in is None:
        assert data.source is not None, "a task without a source is built in"
        advice = "check the id, its `subset` and the network, or the path of a local folder"
        frames = read_hub(data.source, data.subset, VALIDATION_NAMES, advice)
    else:
        advice = "check the network, or set data_root to a folder with <task>/train.parquet"
        frames = read_hub(GLUE, name, [built_in.validation, "validation"], advice)
    columns = frames[0][0].columns
    free = [column for column in TEXT_NAMES if column != label]
    usual = sorted(free, key=lambda column: column not in columns)[:1]
    text = data.text or list(built_in.text if built_in else usual)
    return _of_both(lambda found: to_rows(found[0], text, label, found[1], name), frames)


def _of_both(work: Callable[[Any], Any], given: Iterable[Any]) -> list[Any]:
    """The result for both splits; a fault of one hides none of the other."""
    results, faults = [], Faults()
    for one in given:
        with faults.collected():
            results.append(work(one))
    faults.check()
    return results


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

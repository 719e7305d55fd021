"""Read the rows of a task: from a packaged corpus, GLUE, a local folder or the hub."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lotbench.config.sections import TaskConfig
from lotbench.config.tasks import (
    BUILT_IN,
    WITH_ARTICLE,
    Kind,
    built_in_name,
    is_folder,
    kind_of,
    unusable,
)
from lotbench.data.corpora import read_corpus
from lotbench.data.labels import class_labels, float_labels, labels_of_model
from lotbench.data.tables import (
    VALIDATION_NAMES,
    Columns,
    Rows,
    find_split,
    of_both,
    read_hub,
    read_table,
    to_rows,
)
from lotbench.errors import InputError
from lotbench.scoring.metrics import CLASSIFICATION, EMBEDDING, RANKING, REGRESSION, UNLABELLED
from lotbench.validation import dotted

GLUE = "nyu-mll/glue"
TEXT_NAMES = ("text", "sentence")
ALLOWED: dict[Kind, tuple[str, ...]] = {
    "classification": CLASSIFICATION,
    "regression": REGRESSION,
    "embedding": EMBEDDING,
    "ranking": RANKING,
}


@dataclass
class Source:
    """A task before tokenising; labels are class numbers, floats, or None where none are needed."""

    train: Rows
    validation: Rows
    n_labels: int
    kind: Kind
    metrics: tuple[str, ...]
    notes: dict[str, Any] = field(default_factory=dict)


def read_source(
    name: str, data: TaskConfig, data_root: str | None, classes: Sequence[str] | None = None
) -> Source:
    """All rows of a task, checked.

    ``classes`` are those of a fine-tuned teacher; with them, rows need no labels.

    Raises
    ------
    InputError
        If the data cannot be read or a value is invalid; the message has file, column and row.
    """
    if fault := unusable(name, data):
        path, message = fault
        raise InputError(f"{dotted(('tasks', name, *path))}: {message}")
    own = built_in_name(name, data)
    if own is not None and not BUILT_IN[own].text:
        train, validation = read_corpus(own, BUILT_IN[own])
    else:
        train, validation = _read_tables(name, data, data_root, classes is not None)
    return _with_labels(name, data, train, validation, classes)


def find_files(name: str, data: TaskConfig, data_root: str | None) -> list[Path]:
    """The files of the train and validation split; empty if no local folder holds the task.

    Raises
    ------
    InputError
        If the folder or one of the files is missing.
    """
    own = built_in_name(name, data)
    if own is None and data.source is not None and is_folder(data.source):
        folder, names = Path(os.path.expanduser(data.source)), VALIDATION_NAMES
    elif own is not None and BUILT_IN[own].origin == "glue" and data_root is not None:
        folder = Path(os.path.expanduser(data_root)) / own
        names = (BUILT_IN[own].validation, "validation")
    else:
        return []
    return [find_split(folder, ["train"]), find_split(folder, names)]


def _read_tables(name: str, data: TaskConfig, data_root: str | None, taught: bool) -> list[Rows]:
    """The rows of both splits of a task with columns, from local files or the hub.

    With a fine-tuned teacher, a split may have no label column.
    """
    own = built_in_name(name, data)
    label = data.label or "label"
    if files := find_files(name, data, data_root):
        frames = of_both(lambda file: (read_table(file), str(file)), files)
    elif own is None:
        assert data.source is not None, "a task without a source is built in"
        advice = "check the id, its `subset` and the network, or the path of a local folder"
        frames = read_hub(data.source, data.subset, VALIDATION_NAMES, advice)
    else:
        advice = "check the network, or set data_root to a folder with <task>/train.parquet"
        frames = read_hub(GLUE, own, [BUILT_IN[own].validation, "validation"], advice)
    columns = frames[0][0].columns
    free = [column for column in TEXT_NAMES if column not in (label, data.query)]
    usual = sorted(free, key=lambda column: column not in columns)[:1]
    text = data.text or list(BUILT_IN[own].text if own else usual)
    kind = kind_of(name, data)
    # A label column that the configuration names must be in one of the splits.
    absent = data.label is not None and not any(label in frame.columns for frame, _ in frames)
    optional = taught and kind in ("classification", "regression") and not absent

    def rows(found: tuple[Any, str]) -> Rows:
        frame, where = found
        read = None if optional and label not in frame.columns else label
        columns = Columns(tuple(text), read, data.query, data.group, kind == "embedding")
        return to_rows(frame, columns, where, name)

    return of_both(rows, frames)


def _with_labels(
    name: str, data: TaskConfig, train: Rows, validation: Rows, classes: Sequence[str] | None
) -> Source:
    kind, label = kind_of(name, data), data.label or "label"
    both, notes = (train, validation), {}
    n_labels = 0 if kind == "embedding" else 1
    if kind == "classification" and classes is not None:
        labels = of_both(lambda rows: labels_of_model(rows, label, classes), both)
        n_labels, notes["classes"] = len(classes), [*classes]
    elif kind == "classification":
        *labels, names = class_labels(train, validation, label, name)
        n_labels, notes["classes"] = len(names), names
    elif kind == "embedding" and len(train.texts[0]) == 1:
        labels = [None, None]
    else:
        least = 0 if kind == "ranking" else -np.inf
        labels = of_both(lambda rows: float_labels(rows, label, least), both)
    for rows, values in zip(both, labels, strict=True):
        rows.labels = values
    return Source(train, validation, n_labels, kind, _metrics(name, data, kind, validation), notes)


def _metrics(name: str, data: TaskConfig, kind: Kind, rows: Rows) -> tuple[str, ...]:
    """The metrics of a task, the first of which is the main one."""
    own = built_in_name(name, data)
    allowed = usual = ALLOWED[kind]
    if kind == "embedding":
        scored = {"mrr": rows.queries is not None, "spearman": rows.labels is not None}
        allowed = usual = tuple(metric for metric in EMBEDDING if scored.get(metric, True))
    elif kind == "classification" and rows.labels is None:
        allowed = usual = UNLABELLED
    elif kind == "classification":
        usual = ("accuracy",)
    if own is not None and BUILT_IN[own].metrics[0] in allowed:
        usual = BUILT_IN[own].metrics
    metrics = tuple(data.metrics or usual)
    if unfit := [metric for metric in metrics if metric not in allowed]:
        raise InputError(
            f"tasks.{name}.metrics: {unfit[0]!r} does not fit {WITH_ARTICLE[kind]}; "
            f"use {', '.join(allowed)}"
        )
    return metrics

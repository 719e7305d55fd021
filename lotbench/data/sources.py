"""Read the rows of a task: from a packaged corpus, a local folder or the hub."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lotbench.config.sections import TaskConfig
from lotbench.config.tasks import BuiltIn, built_in, is_folder, kind_of
from lotbench.data.corpora import read_corpus
from lotbench.data.tables import (
    VALIDATION_NAMES,
    find_split,
    read_hub,
    read_table,
    to_rows,
    to_spans,
)
from lotbench.errors import InputError
from lotbench.kinds.kind import Kind
from lotbench.kinds.rows import Rows, of_both

TEXT_NAMES = ("text", "sentence")


@dataclass
class Source:
    """A task before tokenising; labels are class numbers, floats, or None where none are needed."""

    name: str
    data: TaskConfig
    kind: Kind
    train: Rows
    validation: Rows
    n_labels: int
    metrics: tuple[str, ...]
    taught: bool
    """True if a fine-tuned teacher gives the labels that rows lack."""
    notes: dict[str, Any] = field(default_factory=dict)


def read_source(
    name: str, data: TaskConfig, data_root: str | None, classes: Sequence[str] | None = None
) -> Source:
    """All rows of a task, whose keys `lotbench.config.tasks.unusable` has checked.

    ``classes`` are those of a fine-tuned teacher; with them, rows need no labels.
    """
    task, kind = built_in(name, data), kind_of(name, data)
    label = data.label or "label"
    if task is not None and not task.text:
        both = read_corpus(task)
    else:
        frames = _frames(name, data, data_root, task)
        # A label column that the configuration names must be in one of the splits.
        absent = data.label and not any(label in frame.columns for frame, _ in frames)
        optional = classes is not None and not kind.vectors and not absent
        usual = task.text if task else kind.text or usual_text(frames[0][0], label, data.query)
        text = tuple(data.text or usual)
        appended = task.appended if task and text[0] == task.text[0] else None

        def rows(read: tuple[Any, str]) -> Rows:
            frame, where = kind.labelled(*read), read[1]
            unread = (kind.vectors and len(text) == 1) or (optional and label not in frame.columns)
            named = {"label": None if unread else label, "query": data.query, "group": data.group}
            named["evidence"] = data.evidence
            columns = {key: [column] if column else [] for key, column in named.items()}
            fields = text if appended is None else (*text, appended)
            found = to_rows(frame, {"text": fields, **columns}, where, name, kind.vectors)
            if appended is not None:
                found.texts = [(f"{first} {more}", *rest) for first, *rest, more in found.texts]
            if data.evidence:
                found.evidence = to_spans(
                    frame[data.evidence], where, [own[-1] for own in found.texts]
                )
            return found

        both = of_both(rows, frames)
    labels, names = kind.read_labels(both, label, name, classes)
    for split, values in zip(both, labels, strict=True):
        split.labels = values
    train, validation = both
    return Source(
        name,
        data,
        kind,
        train,
        validation,
        kind.n_labels(names),
        _metrics(name, data, kind.metrics_for(validation), kind, task),
        taught=classes is not None,
        notes=kind.notes(both, names),
    )


def find_files(name: str, data: TaskConfig, data_root: str | None) -> list[Path]:
    """The files of the train and validation split; empty if no local folder holds the task."""
    task = built_in(name, data)
    if task is None and data.source is not None and is_folder(data.source):
        folder, names = Path(os.path.expanduser(data.source)), VALIDATION_NAMES
    elif task is not None and task.text and data_root is not None:
        folder = Path(os.path.expanduser(data_root)) / task.name
        names = (task.validation, "validation")
    else:
        return []
    return [find_split(folder, ["train"]), find_split(folder, names)]


def _frames(
    name: str, data: TaskConfig, data_root: str | None, task: BuiltIn | None
) -> list[tuple[Any, str]]:
    """Frame and origin of both splits of a task with columns, from local files or the hub."""
    if files := find_files(name, data, data_root):
        return of_both(lambda file: (read_table(file), str(file)), files)
    if task is not None:
        advice = "check the network, or set data_root to a folder with <task>/train.parquet"
        subset = task.name if task.configured else None
        return read_hub(task.origin, subset, [task.validation, "validation"], advice)
    assert data.source is not None, "a task without a source is built in"
    advice = "check the id, its `subset` and the network, or the path of a local folder"
    return read_hub(data.source, data.subset, VALIDATION_NAMES, advice)


def usual_text(frame: Any, label: str, query: str | None) -> list[str]:
    """The text column of a table where none is named; the others are no text."""
    free = [name for name in TEXT_NAMES if name not in (label, query)]
    return sorted(free, key=lambda name: name not in frame.columns)[:1]


def _metrics(
    name: str, data: TaskConfig, allowed: tuple[str, ...], kind: Kind, task: BuiltIn | None
) -> tuple[str, ...]:
    """The metrics of a task, the first of which is the main one."""
    usual = allowed[:1] if kind.classes else allowed
    if task is not None and task.metrics[0] in allowed:
        usual = task.metrics
    metrics = tuple(data.metrics or usual)
    if unfit := [metric for metric in metrics if metric not in allowed]:
        raise InputError(
            f"tasks.{name}.metrics: {unfit[0]!r} does not fit {kind.article}; "
            f"use {', '.join(allowed)}"
        )
    return metrics

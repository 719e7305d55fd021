"""Labels: class numbers of integers and names, and the floats of a regression."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from lotbench.data.tables import Rows, of_both, shown
from lotbench.errors import InputError

# Python's own int and float also take ``1_0`` and the digits of other scripts.
NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
INTEGER = re.compile(r"\s*([+-]?\d+)(?:\.0*)?\s*", re.ASCII)


def _place(value: Any, names: Sequence[str]) -> int | None:
    """The number of the class that a label names; None if it is neither a name nor a number."""
    number = _integer(value)
    for name in (value, str(number), str(value).removeprefix("LABEL_")):
        if name in names:
            return names.index(name)
    return number


def is_missing(value: Any) -> bool:
    """True for an empty cell of a table."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and value != value)


def without_label(labels: np.ndarray | None, count: int) -> np.ndarray | None:
    """The rows without a label, shape (``count``,), bool; None if all have one."""
    if labels is None:
        return np.ones(count, bool)
    missing = labels == MISSING if labels.dtype == np.int64 else np.zeros(count, bool)
    return missing if missing.any() else None


def float_labels(rows: Rows, label: str, least: float) -> np.ndarray | None:
    """Labels that are numbers, shape (N,), float32; None for rows without a label column.

    Raises
    ------
    InputError
        If a label is not a finite number, or less than ``least``.
    """
    if rows.labels is None:
        return None
    given = rows.labels.tolist()
    with np.errstate(over="ignore"):
        values = np.array([_number(value) for value in given], dtype=np.float32)
    sound = np.isfinite(values) & (values >= least)
    if not sound.all():
        row = int(sound.argmin())
        wanted = "a finite number" if least < 0 else f"a finite number of {least:g} or more"
        raise InputError(
            f"{rows.where}: column {label!r}, row {row + 1}: {shown(given[row])} is not {wanted}; "
            "correct or remove the row"
        )
    return values


MISSING = -1
"""The class number of a row without a label."""


def labels_of_model(rows: Rows, label: str, names: Sequence[str]) -> np.ndarray | None:
    """The class numbers of a fine-tuned model, (N,), int64; None for rows without a label column.

    Labels are the names of the model's classes, or their numbers.  Rows with an empty label have
    `MISSING`.

    Raises
    ------
    InputError
        If a label is none of the model's.
    """
    if rows.labels is None:
        return None
    found = np.full(len(rows.labels), MISSING, np.int64)
    for row, value in enumerate(rows.labels.tolist()):
        if is_missing(value):
            continue
        place = _place(value, names)
        if place is None or not 0 <= place < len(names):
            raise InputError(
                f"{rows.where}: column {label!r}, row {row + 1}: {shown(value)} is no label of the "
                f"model; it has {len(names)}: {shown(list(names))}, or their numbers from 0; "
                "correct the row, or leave its label empty"
            )
        found[row] = place
    return found


def class_labels(
    train: Rows, validation: Rows, label: str, task: str
) -> tuple[np.ndarray, np.ndarray, list[str | int]]:
    """Class numbers of both splits, each (N,), int64, and the names of the classes in order.

    Integer labels and class names are sorted and numbered from 0.

    Raises
    ------
    InputError
        If a label is missing, of another type than the others, or not among those of the training
        rows, or if these have only one class.
    """
    splits = of_both(lambda rows: _class_values(rows, label, task), (train, validation))
    names = sorted({*splits[0]})
    if len(names) < 2:
        raise InputError(
            f"{train.where}: column {label!r} has fewer than two classes: {shown(names)}; "
            "a classifier needs two"
        )
    number = {name: i for i, name in enumerate(names)}
    for row, value in enumerate(splits[1], 1):
        if value not in number:
            raise InputError(
                f"{validation.where}: column {label!r}, row {row}: no training row has the label "
                f"{shown(value)} (they have {shown(names)}); remove the row, or use a split whose "
                "labels are not hidden"
            )
    numbered = [np.array([number[v] for v in values], np.int64) for values in splits]
    return numbered[0], numbered[1], names


def _class_values(rows: Rows, label: str, task: str) -> list[Any]:
    """The labels of a split, all of them integers or all of them class names."""
    values = rows.labels.tolist()
    named = any(isinstance(value, str) and not NUMBER.fullmatch(value) for value in values)
    found = [_class_name(value) if named else _integer(value) for value in values]
    if None in found:
        row = found.index(None)
        wanted = "a class name, as other labels are" if named else "an integer"
        other = "" if named else f", or set tasks.{task}.regression: true"
        raise InputError(
            f"{rows.where}: column {label!r}, row {row + 1}: {shown(values[row])} is not {wanted}; "
            f"correct or remove the row{other}"
        )
    return found


def _class_name(value: Any) -> str | None:
    missing = not isinstance(value, str) or value.strip().lower() in ("", "nan")
    return None if missing else value


def _integer(value: Any) -> int | None:
    """An integer of any size, never by way of a float; None for anything else."""
    if isinstance(value, str):
        found = INTEGER.fullmatch(value)
        value = found and found[1]
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if isinstance(value, str) or number == value else None


def _number(value: Any) -> float:
    """A number as a float; NaN for anything else."""
    if isinstance(value, bool) or (isinstance(value, str) and not NUMBER.fullmatch(value)):
        return float("nan")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")

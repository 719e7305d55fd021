"""Labels: class numbers of integers and names, and the floats of a regression."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from lotbench.errors import InputError
from lotbench.kinds.rows import Rows, check_each, of_both, shown

# Python's own int and float also take ``1_0`` and the digits of other scripts.
NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
INTEGER = re.compile(r"\s*([+-]?\d+)(?:\.0*)?\s*", re.ASCII)
LARGEST = float(np.finfo(np.float32).max)
MISSING = -1
"""The class number of a row without a label."""


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
    """Labels that are numbers, shape (N,), float32; None for rows without a label column."""
    if rows.labels is None:
        return None
    wanted = "a finite number" if least < 0 else f"a finite number of {least:g} or more"
    fault = f"is not {wanted}; correct or remove the row"
    values, least = rows.labels.tolist(), max(least, -LARGEST)
    check_each(values, lambda value: least <= _number(value) <= LARGEST, rows.where, label, fault)
    return np.array([_number(value) for value in values], dtype=np.float32)


def labels_of_model(rows: Rows, label: str, names: Sequence[str]) -> np.ndarray | None:
    """The class numbers of a fine-tuned model, (N,), int64; None for rows without a label column.

    Labels are the names of the model's classes, or their numbers.  Rows with an empty label have
    `MISSING`.
    """
    if rows.labels is None:
        return None

    def number(value: Any) -> int | None:
        """The number of the class that a label names, or `MISSING`; None if there is none."""
        if is_missing(value):
            return MISSING
        place = integer(value)
        for name in (value, place is not None and str(place), str(value).removeprefix("LABEL_")):
            if name in names:
                return names.index(name)
        return place if place in range(len(names)) else None

    values = rows.labels.tolist()
    fault = (
        f"is no label of the model; it has {len(names)}: {shown(list(names))}, or their numbers "
        "from 0; correct the row, or leave its label empty"
    )
    check_each(values, lambda value: number(value) is not None, rows.where, label, fault)
    return np.array([number(value) for value in values], np.int64)


def class_labels(
    both: Sequence[Rows], label: str, task: str
) -> tuple[list[np.ndarray | None], list[str | int]]:
    """Class numbers of both splits, each (N,), int64, and the names of the classes in order.

    Integer labels and class names are sorted and numbered from 0.
    """
    splits = of_both(lambda rows: _class_values(rows, label, task), both)
    names = sorted({*splits[0]})
    train, validation = both
    if len(names) < 2:
        raise InputError(
            f"{train.where}: column {label!r} has fewer than two classes: {shown(names)}; "
            "a classifier needs two"
        )
    number = {name: i for i, name in enumerate(names)}
    fault = (
        f"is the label of no training row (they have {shown(names)}); remove the row, or use a "
        "split whose labels are not hidden"
    )
    check_each(splits[1], number.__contains__, validation.where, label, fault)
    return [np.array([number[v] for v in values], np.int64) for values in splits], names


def _class_values(rows: Rows, label: str, task: str) -> list[Any]:
    """The labels of a split, all of them integers or all of them class names."""
    values = rows.labels.tolist()
    if any(isinstance(value, str) and not NUMBER.fullmatch(value) for value in values):
        read, wanted, other = _class_name, "a class name, as other labels are", ""
    else:
        read, wanted, other = integer, "an integer", f", or set tasks.{task}.regression: true"
    fault = f"is not {wanted}; correct or remove the row{other}"
    check_each(values, lambda value: read(value) is not None, rows.where, label, fault)
    return [read(value) for value in values]


def _class_name(value: Any) -> str | None:
    missing = not isinstance(value, str) or value.strip().lower() in ("", "nan")
    return None if missing else value


def integer(value: Any) -> int | None:
    """An integer of any size, never by way of a float; None for anything else."""
    if isinstance(value, str):
        match = INTEGER.fullmatch(value)
        value = match and match[1]
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

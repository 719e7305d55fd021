"""Labels: class numbers of integers and names, and the floats of a regression."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from lotbench.data.tables import Rows, is_missing, shown, valid_text
from lotbench.errors import Faults, InputError

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
INTEGER = re.compile(r"([+-]?\d+)(?:\.0*)?", re.ASCII)
EXACT = 2**53
"""Floats beyond it have no digit left for every integer."""
LARGEST = float(np.finfo(np.float32).max)


def float_labels(rows: Rows, label: str) -> np.ndarray:
    """Labels of a regression task, shape (N,), float32.

    Raises
    ------
    InputError
        If a label is not a finite number.
    """
    values = np.empty(len(rows.labels), dtype=np.float32)
    for row, value in enumerate(rows.labels.tolist(), 1):
        number = _number(value)
        if number is None or isinstance(value, bool) or not abs(number) <= LARGEST:
            raise InputError(
                f"{rows.where}: column {label!r}, row {row}: {shown(value)} is not a finite "
                "number; a regression needs one in every row"
            )
        values[row - 1] = number
    return values


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
    splits, faults = [], Faults()
    for rows in (train, validation):
        with faults.collected():
            splits.append(_class_values(rows, label, task))
    faults.check()
    first, second = splits
    if isinstance(first[0], str) != isinstance(second[0], str):
        raise InputError(
            f"{validation.where}: column {label!r} has labels such as {shown(second[0])}, but "
            f"{train.where} has {shown(first[0])}; use integers or names in both"
        )
    if set(second) == {-1} and -1 not in first:
        raise InputError(
            f"{validation.where}: column {label!r} is -1 in every row, which marks hidden labels; "
            "use a split that has labels"
        )
    names = sorted({*first})
    if len(names) < 2:
        raise InputError(
            f"{train.where}: column {label!r} has one class only ({shown(names[0])}); "
            "a classifier needs two"
        )
    number = {name: i for i, name in enumerate(names)}
    for row, value in enumerate(second, 1):
        if value not in number:
            raise InputError(
                f"{validation.where}: column {label!r}, row {row}: no training row has the label "
                f"{shown(value)}; add some, or remove the row"
            )
    numbered = [np.array([number[v] for v in values], np.int64) for values in (first, second)]
    return numbered[0], numbered[1], names


def _class_values(rows: Rows, label: str, task: str) -> list[Any]:
    """The labels of a split, all of them integers or all of them class names."""
    values = rows.labels.tolist()
    named = any(isinstance(value, str) and not _is_number(value) for value in values)
    whole: list[Any] = []
    for row, value in enumerate(values, 1):
        place = f"{rows.where}: column {label!r}, row {row}"
        if isinstance(value, list | np.ndarray):
            raise InputError(
                f"{place}: {shown(value)} is a list, neither an integer nor a class name"
            )
        if is_missing(value) or (isinstance(value, str) and value.strip().lower() in ("", "nan")):
            raise InputError(f"{place}: the label is missing; fill it in or remove the row")
        if named:
            if not isinstance(value, str):
                raise InputError(
                    f"{place}: {shown(value)} is not text, as other labels are; use one type"
                )
            whole.append(valid_text(value, place))
            continue
        if _number(value) is None:
            raise InputError(f"{place}: {shown(value)} is neither an integer nor a class name")
        number = _integer(value)
        if number is None:
            raise InputError(
                f"{place}: {shown(value)} is not an integer; for a regression set "
                f"tasks.{task}.regression: true"
            )
        if isinstance(value, float) and abs(value) > EXACT:
            raise InputError(
                f"{place}: {value!r} may be another integer that was rounded; save the labels as "
                "integers or text"
            )
        whole.append(number)
    return whole


def _is_number(text: str) -> bool:
    """True for a number in plain digits; Python alone also takes ``1_0`` and other scripts."""
    return NUMBER.fullmatch(text.strip()) is not None


def _number(value: Any) -> float | None:
    """A number as a float, infinite if it is too large for one; None for anything else."""
    if isinstance(value, str) and not _is_number(value):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return None


def _integer(value: Any) -> int | None:
    """An integer of any size, never by way of a float; None for anything else."""
    if isinstance(value, str):
        found = INTEGER.fullmatch(value.strip())
        value = found and found[1]
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):  # ValueError: thousands of digits
        return None
    return number if isinstance(value, str) or number == value else None

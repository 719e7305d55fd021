"""Predictions and labels of a split as a row stores them: readable, and a byte per text.

Classes, ranks and numbers of documents are one digit each, in base 36, without a separator:
``"0120"``.  Fractions, and classes of a task with more than 36 of them, are a list of numbers.
"""

from __future__ import annotations

import numpy as np

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

# The value of every digit by its byte.
PLACES = np.zeros(256, np.int64)
PLACES[np.frombuffer(DIGITS.encode(), np.uint8)] = np.arange(len(DIGITS))


def encode(values: np.ndarray, classes: int | None) -> str | list[float]:
    """Predictions or labels (N,) in the form of a row.

    ``classes`` is the number of classes; None for fractions, which are rounded to seven digits; see
    `lotbench.scoring.metrics.classes_of`.
    """
    if classes is None:
        return [float(f"{value:.7g}") for value in values]
    if classes > len(DIGITS):
        return [int(value) for value in values]
    return "".join(DIGITS[value] for value in values)


def check_answers(name: str, stored: str | list, classes: int | None) -> None:
    """Refuses answers that `decode` cannot read, or that are not below the number of classes.

    ``classes`` is None for fractions.
    """
    if isinstance(stored, str):
        wrong = set(stored) - set(DIGITS[:classes])
    elif classes is not None:
        wrong = {own for own in stored if not (isinstance(own, int) and 0 <= own < classes)}
    else:
        return
    if wrong:
        raise ValueError(f"{name} has {min(wrong, key=str)!r:.20}, which is no class or rank")


def decode(stored: str | list) -> np.ndarray:
    """The values (N,) of a row: int64 classes, or float64 where the row has fractions.

    `check_answers` refuses texts with other characters than digits when a row is read.
    """
    if isinstance(stored, str):
        return PLACES[np.frombuffer(stored.encode("ascii"), np.uint8)]
    return np.array(stored)

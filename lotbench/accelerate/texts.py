"""The user's texts as a task: a table, a folder of text files, or data that tasks read as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lotbench.data.labels import is_missing, labels_of_model
from lotbench.data.tables import SUFFIXES, Rows, read_table
from lotbench.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

LEAST = 200
"""Fewer texts can neither teach a model nor tell one point of accuracy."""
SHARE, MOST = 0.2, 1000
"""Share of the texts that models are reported on, and as many that they are chosen by."""


def judged(count: int) -> int:
    """How many of so many texts a split has that models are judged by."""
    return min(MOST, round(SHARE * count))


def as_source(given: str, label: str, classes: Sequence[str], folder: Path) -> str:
    """The ``source`` of the task that the texts are.

    A table and a folder of text files are divided into a training and a validation split, which are
    written into ``folder``.  Anything else is what tasks read: a folder with both splits, a
    built-in task or a hub dataset.

    Parameters
    ----------
    given : str
        What the user names: a file with one of the endings of tables, or ``.txt`` with one text per
        line; a folder; or a name.
    label : str
        The label column of a table; rows with a label come first in the validation split.
    classes : sequence of str
        Those of the model, which labels must be; empty if it is no classifier.
    folder : Path

    Raises
    ------
    InputError
        If the texts cannot be read, are too few, one is empty, or a label is none of the model's.
    """
    path = Path(given).expanduser()
    if path.is_file():
        frame = _lines(path) if path.suffix == ".txt" else _table(path)
    elif path.is_dir() and (files := sorted(path.glob("*.txt"))):
        frame = _frame([_read(file) for file in files])
    elif path.is_dir():
        return str(path.resolve())
    else:
        return given
    _check(frame, label, path)
    if classes and label in frame:
        labels_of_model(Rows([], frame[label].to_numpy(), str(path)), label, classes)
    rows = np.random.default_rng(0).permutation(len(frame))
    if label in frame:
        rows = rows[np.argsort([is_missing(value) for value in frame[label][rows]], kind="stable")]
        if is_missing(frame[label][rows[judged(len(frame)) - 1]]):
            # Too few labels to judge by: they are learned from, and dense is what is judged by.
            rows = rows[::-1]
    folder.mkdir(parents=True, exist_ok=True)
    validation = frame.iloc[np.sort(rows[: judged(len(frame))])]
    if label in validation and validation[label].map(is_missing).any():
        validation = validation.drop(columns=label)
    for name, part in (
        ("validation", validation),
        ("train", frame.iloc[np.sort(rows[judged(len(frame)) :])]),
    ):
        part.to_parquet(folder / f"{name}.parquet", index=False)
    return str(folder.resolve())


def _check(frame: pd.DataFrame, label: str, path: Path) -> None:
    """Refuses too few texts, and empty ones."""
    if len(frame) < LEAST:
        raise InputError(
            f"{path}: {len(frame)} texts are too few to train on and to judge by; give {LEAST} or "
            "more"
        )
    texts = frame.drop(columns=label, errors="ignore").select_dtypes(include=["object", "string"])
    empty = texts.map(is_missing).all(axis=1).to_numpy()
    if empty.any():
        raise InputError(
            f"{path}: row {int(empty.argmax()) + 1}: the text is empty ({int(empty.sum())} such "
            "rows); remove them"
        )


def _table(path: Path) -> pd.DataFrame:
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: a table ends in {', '.join(SUFFIXES)}, and plain text in .txt")
    return read_table(path)


def _lines(path: Path) -> pd.DataFrame:
    return _frame(_read(path).splitlines())


def _frame(texts: list[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"text": texts})


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text in UTF-8: {error}") from error

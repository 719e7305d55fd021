"""The user's texts as a task: a table, a folder of text files, or data that tasks read as it is."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lotbench.data.sources import TEXT_NAMES
from lotbench.data.tables import SUFFIXES, read_table
from lotbench.errors import InputError
from lotbench.kinds.labels import is_missing, labels_of_model
from lotbench.kinds.rows import Rows

if TYPE_CHECKING:
    import pandas as pd

LEAST = 200
"""Fewer texts teach a model too little, and tell scores apart by many points only."""
SHARE, MOST = 0.2, 1000
"""Share of the texts that models are reported on, and as many that they are chosen by."""


def judged(count: int) -> int:
    """How many of so many texts a split has that models are judged by."""
    return min(MOST, round(SHARE * count))


def digest_of(given: str) -> str:
    """A hash of the texts; of what is no file or folder here, the name itself."""
    path = Path(given).expanduser()
    files = [path] if path.is_file() else sorted(own for own in path.glob("*") if own.is_file())
    digest = sha256()
    for own in files:
        digest.update(own.name.encode() + own.read_bytes())
    return digest.hexdigest() if files else given


def as_source(
    given: str, text: Sequence[str], label: str, classes: Sequence[str], folder: Path
) -> str:
    """The ``source`` of the task that the texts are.

    A table and a folder of text files are divided into a training and a validation split, which are
    written into ``folder``.  Anything else is what tasks read: a folder with both splits, a
    built-in task or a hub dataset.

    Parameters
    ----------
    given : str
        What the user names: a file with one of the endings of tables, or ``.txt`` with one text per
        line; a folder; or a name.
    text : sequence of str
        The text columns of a table; empty for the usual ones.
    label : str
        The label column of a table.
    classes : sequence of str
        Those of the model, which labels must be; rows with a label come first in the validation
        split.  Empty if the model is no classifier.
    folder : Path

    Raises
    ------
    InputError
        If the texts cannot be read, are too few, one is empty, or a label is none of the model's.
    """
    path = Path(given).expanduser()
    if path.is_file() and path.suffix == ".txt":
        frame = _frame(_read(path).split("\n"))
    elif path.is_file():
        if path.suffix not in SUFFIXES:
            known = ", ".join(SUFFIXES)
            raise InputError(f"{path}: a table ends in {known}, and plain text in .txt")
        frame = read_table(path)
    elif path.is_dir() and not any(path.glob("train.*")) and any(path.glob("*.txt")):
        frame = _frame([_read(file) for file in sorted(path.glob("*.txt"))])
    elif path.is_dir():
        return str(path.resolve())
    elif path.suffix in (*SUFFIXES, ".txt"):
        raise InputError(f"{path}: no such file")
    else:
        return given
    frame = frame.reset_index(drop=True)  # parquet may have an index of its own
    _check(frame, text or [own for own in TEXT_NAMES if own in frame][:1], path)
    count = judged(len(frame))
    rows = np.random.default_rng(0).permutation(len(frame))
    if classes and label in frame:
        labels_of_model(Rows([], frame[label].to_numpy(), str(path)), label, classes)
        missing = frame[label].map(is_missing).to_numpy(bool)
        rows = rows[np.argsort(missing[rows], kind="stable")]
        if missing.sum() > 0 and (~missing).sum() < 2 * count:
            # Too few labels to choose and to judge by: they are learned from, and dense is what is
            # judged by.
            rows = rows[::-1]
    folder.mkdir(parents=True, exist_ok=True)
    train, validation = frame.iloc[np.sort(rows[count:])], frame.iloc[np.sort(rows[:count])]
    if classes and label in validation and validation[label].map(is_missing).any():
        validation = validation.drop(columns=label)
    for name, part in (("validation", validation), ("train", train)):
        part.to_parquet(folder / f"{name}.parquet", index=False)
    return str(folder.resolve())


def _check(frame: pd.DataFrame, text: Sequence[str], path: Path) -> None:
    """Refuses too few texts, and empty ones."""
    if len(frame) < LEAST:
        raise InputError(
            f"{path}: {len(frame)} texts are too few to train on and to judge by; give {LEAST} or "
            "more"
        )
    known = [column for column in text if column in frame]  # others are refused by name
    empty = frame[known].map(is_missing).any(axis=1).to_numpy(bool)
    if empty.any():
        raise InputError(
            f"{path}: row {int(empty.argmax()) + 1}: the text is empty ({int(empty.sum())} such "
            "rows); remove them"
        )


def _frame(texts: list[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"text": texts})


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text in UTF-8: {error}") from error

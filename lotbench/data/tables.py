"""Read tables from local folders and the hub, and check every column and value."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lotbench.errors import InputError, near_misses

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")
# Public test splits often have no labels, so any validation split comes first.
VALIDATION_NAMES = ("validation", "valid", "val", "dev", "validation_matched", "test")


@dataclass
class Rows:
    """One split before tokenising: texts (one or two fields each), raw labels, and their origin."""

    texts: list[tuple[str, ...]]
    labels: np.ndarray
    where: str


def find_split(folder: Path, names: Sequence[str]) -> Path:
    """The file of the first of these split names that the folder has.

    Raises
    ------
    InputError
        If there is no file, or more than one for a split.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; it should hold train.* and validation.*")
    for name in names:
        found = [folder / f"{name}{end}" for end in SUFFIXES if (folder / f"{name}{end}").is_file()]
        if len(found) > 1:
            raise InputError(
                f"{folder}: both {found[0].name} and {found[1].name}; keep one file per split"
            )
        if found:
            return found[0]
    raise InputError(
        f"{folder}: no {names[0]} file; expected {' or '.join(names)} "
        f"with one of the endings {', '.join(SUFFIXES)}"
    )


def read_table(path: Path) -> pd.DataFrame:
    """The file as a frame; CSV and TSV cells stay text, so that "NA" is a word.

    Raises
    ------
    InputError
        If the file cannot be parsed.
    """
    import pandas as pd

    if path.suffix == ".jsonl":
        return pd.DataFrame(_json_lines(path), dtype=object)
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        frame = pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            sep="\t" if path.suffix == ".tsv" else ",",
            # Tab-separated corpora (GLUE's) leave quotation marks unpaired inside the text.
            quoting=3 if path.suffix == ".tsv" else 0,
        )
    except Exception as error:  # on damaged files pyarrow and pandas raise what they like
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(f"{path}: cannot be read as {path.suffix[1:]}: {reason}") from error
    if not isinstance(frame.index, pd.RangeIndex):  # pandas makes surplus fields the row index
        raise InputError(
            f"{path}: its rows have more fields than its header; put texts with the "
            "separator in quotes, or save it as parquet"
        )
    return frame


def _json_lines(path: Path) -> list[dict[str, Any]]:
    rows = []
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason} at {error.start})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # also thousands of digits or brackets
            reason = getattr(error, "msg", None) or str(error).split(";")[0]
            raise InputError(f"{path}:{number}: not valid JSON: {reason}") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}:{number}: each line should be an object with named fields")
        rows.append(row)
    return rows


def read_hub(
    source: str, subset: str | None, names: Sequence[str], mend: str
) -> dict[str, tuple[pd.DataFrame, str]]:
    """Frame and origin of the hub dataset's "train" and "validation" splits, by name.

    Raises
    ------
    InputError
        If the dataset cannot be loaded or lacks a split; ``mend`` is part of the message.
    """
    import datasets

    title = source if subset is None else f"{source} ({subset})"
    try:
        loaded = datasets.load_dataset(source, subset)
    except Exception as error:  # exceptions of `datasets` have no common base class
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = lines[0]
        if subset is None and "config name" in reason.lower():  # the next line lists them
            reason, mend = " ".join(lines[:2]), "give one of them as the task's `subset`"
        raise InputError(f"{title}: cannot be loaded from the hub: {reason}; {mend}") from error
    chosen = {"train": "train", "validation": next((n for n in names if n in loaded), names[0])}
    frames = {}
    for role, split in chosen.items():
        if split not in loaded:
            raise InputError(
                f"{title}: no {split} split, only {', '.join(map(str, loaded))}; "
                "save it as a folder with train.* and validation.* and give that as `source`"
            )
        frames[role] = (loaded[split].to_pandas(), f"{title}, split {split}")
    return frames


def to_rows(frame: pd.DataFrame, text: Sequence[str], label: str, where: str, task: str) -> Rows:
    """The text fields and labels of a frame, checked.

    Raises
    ------
    InputError
        If a column is missing or a text is invalid; the message has file, column and row.
    """
    for key, column in [*(("text", name) for name in text), ("label", label)]:
        if column not in frame.columns:
            columns = [str(name) for name in frame.columns]
            raise InputError(
                f"{where}: no column {column!r}; {near_misses(column, columns)} "
                f"Set tasks.{task}.{key} to one of: {', '.join(columns)}"
            )
        if list(frame.columns).count(column) > 1:
            raise InputError(f"{where}: two columns are named {column!r}; rename one of them")
    if label in text:
        raise InputError(
            f"{where}: column {label!r} would be text and label; set tasks.{task}.text or "
            f"tasks.{task}.label to another column"
        )
    if not len(frame):
        raise InputError(f"{where}: the split has no rows")
    fields = [_text_column(frame[name], name, where) for name in text]
    return Rows(list(zip(*fields, strict=True)), frame[label].to_numpy(), where)


def _text_column(column: pd.Series, name: str, where: str) -> list[str]:
    values = column.tolist()
    for row, value in enumerate(values, 1):
        place = f"{where}: column {name!r}, row {row}"
        if not isinstance(value, str):
            listed = isinstance(value, list | np.ndarray)
            missing = not listed and is_missing(value)
            raise InputError(
                f"{place}: {'the text is missing' if missing else f'{shown(value)} is not text'}; "
                "remove the row, or choose another text column"
            )
        valid_text(value, place)
    return values


def valid_text(value: str, place: str) -> str:
    """The text itself.

    Raises
    ------
    InputError
        If it has half of a surrogate pair, which JSON can write and UTF-8 cannot.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{place}: {shown(value)} is not valid Unicode; correct or remove the row"
        ) from None
    return value


def is_missing(value: Any) -> bool:
    """True for None, NaN and pandas' marks of a missing value."""
    import pandas as pd

    return value is None or value is pd.NA or value is pd.NaT or value != value


def shown(value: Any) -> str:
    """A value in a message, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "an integer of thousands of digits"
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:60]}..."

"""Read tables from local folders and the hub, and check every column and value."""

from __future__ import annotations

import json
import math
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
    except (OSError, ValueError) as error:  # parser errors of pyarrow and pandas are ValueErrors
        reason = str(error).strip().split("\n")[0]
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
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}:{number}: not valid JSON: {error.msg}") from error
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
        reason = str(error).strip().split("\n")[0] or type(error).__name__
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
    if not len(frame):
        raise InputError(f"{where}: the split has no rows")
    fields = [_text_column(frame[name], name, where) for name in text]
    return Rows(list(zip(*fields, strict=True)), frame[label].to_numpy(), where)


def _text_column(column: pd.Series, name: str, where: str) -> list[str]:
    values = column.tolist()
    for row, value in enumerate(values, 1):
        if not isinstance(value, str):
            missing = value is None or value != value
            raise InputError(
                f"{where}: column {name!r}, row {row}: "
                f"{'the text is missing' if missing else f'{value!r} is not text'}; "
                "remove the row, or choose another text column"
            )
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{where}: column {name!r}, row {row}: {value!r} is not valid Unicode; correct "
                "or remove the row"
            ) from None
    return values


def float_labels(rows: Rows, label: str) -> np.ndarray:
    """Labels of a regression task, shape (N,), float32.

    Raises
    ------
    InputError
        If a label is not a finite number.
    """
    values = np.empty(len(rows.labels), dtype=np.float32)
    for row, value in enumerate(rows.labels.tolist(), 1):
        try:
            values[row - 1] = value
        except (TypeError, ValueError):
            values[row - 1] = np.nan
        if not np.isfinite(values[row - 1]):
            raise InputError(
                f"{rows.where}: column {label!r}, row {row}: {value!r} is not a finite number; "
                "a regression needs one in every row"
            )
    return values


def class_labels(
    train: Rows, validation: Rows, label: str, task: str
) -> tuple[np.ndarray, np.ndarray, list[str | int]]:
    """Class numbers of both splits, each (N,), int64, and the names of the classes in order.

    Integer labels and class names are sorted and numbered from 0.

    Raises
    ------
    InputError
        If a label is missing or of another type than the others, or there is only one class.
    """
    first, second = (_class_values(rows, label, task) for rows in (train, validation))
    if isinstance(first[0], str) != isinstance(second[0], str):
        raise InputError(
            f"{validation.where}: column {label!r} has labels such as {second[0]!r}, but "
            f"{train.where} has {first[0]!r}; use integers or names in both"
        )
    if set(second) == {-1} and -1 not in first:
        raise InputError(
            f"{validation.where}: column {label!r} is -1 in every row, which marks hidden labels; "
            "use a split that has labels"
        )
    names = sorted({*first, *second})
    if len(names) < 2:
        raise InputError(
            f"{train.where}: column {label!r} has one class only ({names[0]!r}); "
            "a classifier needs two"
        )
    number = {name: i for i, name in enumerate(names)}
    numbered = [np.array([number[v] for v in values], np.int64) for values in (first, second)]
    return numbered[0], numbered[1], names


def _class_values(rows: Rows, label: str, task: str) -> list[Any]:
    """The labels of a split, all of them integers or all of them class names."""
    values = rows.labels.tolist()
    numbers = [_number(value) for value in values]
    named = any(isinstance(v, str) and n is None for v, n in zip(values, numbers, strict=True))
    whole: list[int] = []
    for row, (value, number) in enumerate(zip(values, numbers, strict=True), 1):
        place = f"{rows.where}: column {label!r}, row {row}"
        if isinstance(value, list | np.ndarray):
            raise InputError(f"{place}: {value!r} is a list, neither an integer nor a class name")
        if value is None or value == "" or (number is not None and math.isnan(number)):
            raise InputError(f"{place}: the label is missing; fill it in or remove the row")
        if named:
            if not isinstance(value, str):
                raise InputError(
                    f"{place}: {value!r} is not text, as other labels are; use one type"
                )
            continue
        if number is None:
            raise InputError(f"{place}: {value!r} is neither an integer nor a class name")
        if not number.is_integer():
            raise InputError(
                f"{place}: {value!r} is not an integer; for a regression set "
                f"tasks.{task}.regression: true"
            )
        whole.append(int(number))
    return values if named else whole


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None

"""Read tables from local folders and the hub, and check every column and value."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lotbench.config.tasks import HUB_ID
from lotbench.errors import InputError
from lotbench.kinds.labels import is_missing
from lotbench.kinds.rows import Rows, check_each

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")
# Public test splits often have no labels, so any validation split comes first.
VALIDATION_NAMES = ("validation", "valid", "val", "dev", "validation_matched", "test")


def find_split(folder: Path, names: Sequence[str]) -> Path:
    """The file of the first of these split names that the folder has."""
    found: list[Path] = []
    for name in names:
        # Regular files only, since a pipe would not end.
        found = [folder / f"{name}{end}" for end in SUFFIXES if (folder / f"{name}{end}").is_file()]
        if found:
            break
    if len(found) == 1:
        return found[0]
    missing = f"no {names[0]} file" if folder.is_dir() else "no such folder"
    raise InputError(
        f"{folder}: {' and '.join(path.name for path in found) or missing}; it should have one "
        f"file named {' or '.join(names)}, with one of the endings {', '.join(SUFFIXES)}"
    )


def read_table(path: Path) -> pd.DataFrame:
    """The file as a frame; CSV and TSV cells stay text, so that "NA" is a word."""
    import pandas as pd

    try:
        if path.suffix == ".jsonl":
            return pd.DataFrame(_json_lines(path), dtype=object)
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
        # pandas takes the first field of such rows for their names, without a warning.
        if not isinstance(frame.index, pd.RangeIndex):
            raise ValueError(
                "its rows have more fields than its header; put texts with the separator in "
                "quotes, or save it as parquet"
            )
    except Exception as error:  # on damaged files pyarrow and pandas raise what they like
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(f"{path}: cannot be read as {path.suffix[1:]}: {reason}") from error
    return frame


def _json_lines(path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            # JSON can write half of a surrogate pair, and the tokenizer cannot read it.
            json.dumps(row, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number}: {getattr(error, 'msg', error)}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number}: it should be an object with named fields")
        rows.append(row)
    return rows


def read_hub(
    source: str, subset: str | None, names: Sequence[str], advice: str
) -> list[tuple[pd.DataFrame, str]]:
    """Frame and origin of the hub dataset's train split and of its first split of these names."""
    import datasets

    title = source if subset is None else f"{source} ({subset})"
    try:
        # A name such as ``csv`` is a format, which is read from the working directory.
        if not re.fullmatch(HUB_ID, source):
            raise ValueError("a hub dataset is owner/name")
        loaded = datasets.load_dataset(source, subset)
        splits = ["train", next((name for name in names if name in loaded), names[0])]
        if missing := [split for split in splits if split not in loaded]:
            raise ValueError(f"it has no {missing[0]} split, only {', '.join(map(str, loaded))}")
        frames: list[Any] = [loaded[split].to_pandas() for split in splits]
    except Exception as error:  # exceptions of `datasets` have no common base class
        # The second line lists the subsets where one is missing.
        reason = " ".join(str(error).strip().splitlines()[:2]) or type(error).__name__
        raise InputError(f"{title}: cannot be loaded from the hub: {reason}; {advice}") from error
    return [(frame, f"{title}, split {split}") for frame, split in zip(frames, splits, strict=True)]


def to_rows(
    frame: pd.DataFrame, columns: Mapping[str, Sequence[str]], where: str, task: str, filled: bool
) -> Rows:
    """The texts, labels, queries and groups of a frame, checked.

    ``columns`` are by the key of the task that names them; texts are not empty if ``filled``.
    """
    names = [str(name) for name in frame.columns]
    for key, column in ((key, column) for key, some in columns.items() for column in some):
        if names.count(column) != 1:
            raise InputError(
                f"{where}: {'several columns' if column in names else 'no column'} {column!r}; "
                f"set tasks.{task}.{key} to one of: {', '.join(names)}"
            )
    if not len(frame):
        raise InputError(f"{where}: the split has no rows")
    fields, queries = (
        [_texts(frame[column], column, where, filled) for column in columns[key]]
        for key in ("text", "query")
    )
    return Rows(
        list(zip(*fields, strict=True)),
        next((frame[column].to_numpy() for column in columns["label"]), None),
        where,
        next(iter(queries), None),
        next((_groups(frame[column], column, where) for column in columns["group"]), None),
    )


def _texts(column: pd.Series, name: str, where: str, filled: bool) -> list[str]:
    values = column.tolist()
    fault = "is not text; remove the row, or choose another column"
    check_each(values, lambda value: isinstance(value, str), where, name, fault)
    if filled:
        check_each(values, str.strip, where, name, "is an empty text; remove the row")
    return values


def _groups(column: pd.Series, name: str, where: str) -> np.ndarray:
    """The number of each row's group, in order of first appearance, shape (N,), int64."""

    def is_name(value: Any) -> bool:
        return isinstance(value, str | int | float) and value == value and value != ""

    values = column.tolist()
    check_each(
        values, is_name, where, name, "is not the name of a group; correct or remove the row"
    )
    sizes = Counter(values)  # in order of first appearance
    fault = (
        "is the group of this row alone, and a ranking needs two or more "
        f"({[*sizes.values()].count(1)} such groups); remove them, or choose another column"
    )
    check_each(values, lambda value: sizes[value] > 1, where, name, fault)
    numbers = {value: number for number, value in enumerate(sizes)}
    return np.array([numbers[value] for value in values], np.int64)


def to_spans(column: pd.Series, where: str, texts: Sequence[str]) -> list[list[list[int]]]:
    """The spans of each row in the characters of its text, as pairs of start and end.

    A cell is a list of pairs, as JSON where a file has text alone; an empty cell has no span.
    """
    cells = column.tolist()
    spans = [_pairs(cell) for cell in cells]
    wrong = [
        cell if pairs is None else next((own for own in pairs if not _within(own, text)), None)
        for cell, pairs, text in zip(cells, spans, texts, strict=True)
    ]
    fault = (
        "is not a span of the text; a cell is such as [[0, 12], [40, 55]]: starts and larger ends "
        "in characters, none beyond the text; correct it, or leave it empty"
    )
    check_each(wrong, lambda value: value is None, where, str(column.name), fault)
    return [pairs or [] for pairs in spans]


def _within(span: list[int], text: str) -> bool:
    return 0 <= span[0] < span[1] <= len(text)


def _pairs(cell: Any) -> list[list[int]] | None:
    """The pairs of integers in a cell; None if it has anything else."""
    if is_missing(cell):
        return []
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return None
    if not isinstance(cell, list | np.ndarray):
        return None
    pairs = [pair.tolist() if isinstance(pair, np.ndarray) else pair for pair in cell]
    sound = all(isinstance(pair, list) and [*map(type, pair)] == [int, int] for pair in pairs)
    return pairs if sound else None

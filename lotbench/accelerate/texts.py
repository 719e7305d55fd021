"""The user's texts as a task: a table, a folder of text files, or data that tasks read as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lotbench.accelerate.first_stage import FirstStage
from lotbench.config.tasks import BUILT_IN, HUB_ID
from lotbench.data.sources import usual_text
from lotbench.data.tables import SUFFIXES, read_table, to_rows
from lotbench.errors import InputError
from lotbench.kinds.labels import float_labels, is_missing, labels_of_model
from lotbench.kinds.ranking import RANKING
from lotbench.kinds.rows import Rows

if TYPE_CHECKING:
    import pandas as pd

TASK = "texts"
LEAST, LEAST_QUERIES = 200, 100
"""Fewer texts teach a model too little, and tell scores apart by many points only.  A query has
several."""
QUERY, PASSAGE = ("query", "question"), ("passage", "paragraph", "document", "text")
RELEVANCE = ("relevance", "label", "score")
"""The usual columns of a ranking, the likelier names first."""
CANDIDATES = 50
"""Passages that a query gets from the first stage."""
SHARE, MOST, MOST_QUERIES = 0.2, 1000, 250
"""Share of the texts or queries that models are reported on, and as many that they are chosen by;
and most of them."""


def split_size(n: int, most: int = MOST) -> int:
    """Size of the selection or validation split for n texts, or for n queries."""
    return min(most, round(SHARE * n))


def digest_of(texts: str) -> str:
    """A hash of the texts; of what is no file or folder here, the name itself."""
    path = Path(texts).expanduser()
    files = [path] if path.is_file() else sorted(file for file in path.glob("*") if file.is_file())
    digest = sha256()
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest() if files else texts


def read_texts(
    texts: str,
    keys: Mapping[str, Any],
    classes: Sequence[str],
    ranks: bool = False,
    passages: str | None = None,
) -> tuple[pd.DataFrame | None, str, Mapping[str, Any]]:
    """The table that the texts are, checked, and its file; else None and what tasks read.

    The last value are the keys of the task, to which a table of queries and passages adds those of
    a ranking if the model ``ranks``, that is, gives one score.

    ``texts`` names a table, a file ``.txt`` with one text per line, a folder, a built-in task or a
    hub dataset.  ``keys`` are those of the task that the user sets.  Labels must be among the
    ``classes`` of the model, which a model that is no classifier does not have.  With ``passages``,
    a file or folder of them, the texts are queries; see `candidates`.
    """
    path = Path(texts).expanduser()
    frame = _frame(path)
    if passages is not None:
        if not ranks:
            raise InputError("--passages-from: MODEL is no reranker (one score for a pair)")
        if frame is None:
            raise InputError(f"{path}: --passages-from needs a table of queries, or a .txt file")
        frame = candidates(frame, str(path), Path(passages).expanduser(), keys)
    elif frame is None and path.is_dir():
        return None, str(path.resolve()), keys
    elif frame is None:
        if texts not in BUILT_IN and (
            path.suffix in (*SUFFIXES, ".txt") or not re.fullmatch(HUB_ID, texts)
        ):
            raise InputError(f"{path}: no such file, and no built-in task or hub dataset")
        return None, texts, keys
    frame = frame.reset_index(drop=True)  # parquet may have an index of its own
    if ranks and (found := ranking_keys(frame, keys, str(path))):
        return frame, str(path), found
    _check(frame, keys, str(path))
    label = keys.get("label", "label")
    if classes and label in frame:
        labels_of_model(Rows([], frame[label].to_numpy(), str(path)), label, classes)
    return frame, str(path), keys


def candidates(
    queries: pd.DataFrame, where: str, source: Path, keys: Mapping[str, Any]
) -> pd.DataFrame:
    """Each query with the `CANDIDATES` passages of ``source`` that the first stage ranks best."""
    import pandas as pd

    frame = _frame(source)
    if frame is None:
        raise InputError(
            f"--passages-from: {source} is no table, .txt file or folder of .txt files"
        )
    if "text" in keys:
        raise InputError(f"tasks.{TASK}.text: not with --passages-from, which names the columns")
    asked, given = (
        _column(own, names, file)
        for own, names, file in ((queries, QUERY, where), (frame, PASSAGE, str(source)))
    )
    if len(given) < 2:
        raise InputError(f"{source}: {len(given)} passage is nothing to rank")
    stage = FirstStage(given)
    rows = [(query, given[at]) for query in asked for at in stage.best(query, CANDIDATES)]
    return pd.DataFrame(rows, columns=[QUERY[0], PASSAGE[0]])


def _column(frame: pd.DataFrame, names: Sequence[str], where: str) -> list[str]:
    """The distinct texts of the first column that has one of the names, or of the only column."""
    only = list(frame) if frame.shape[1] == 1 else []
    name = next((name for name in [*names, *only] if name in frame), None)
    if name is None:
        known = ", ".join(map(str, frame))
        raise InputError(f"{where}: no column {' or '.join(names)}; rename one (columns: {known})")
    return [str(text) for text in dict.fromkeys(frame[name]) if not is_missing(text)]


def ranking_keys(frame: pd.DataFrame, keys: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The keys of the ranking that a table is; empty if it has no queries.

    Refuses what cannot be ranked, and too few queries.
    """
    usual = {
        key: next((name for name in names if name in frame), None)
        for key, names in (("query", QUERY), ("passage", PASSAGE), ("label", RELEVANCE))
    }
    text = keys.get("text", [usual["query"], usual["passage"]])
    if keys.get("kind") != RANKING.name and ("text" in keys or usual["query"] is None):
        return {}
    if not isinstance(text, list) or len(text) != 2 or None in text:
        known = ", ".join(map(str, frame))
        raise InputError(
            f"{where}: which columns are query and passage? --set 'tasks.{TASK}.text=[QUERY, "
            f"PASSAGE]' --set tasks.{TASK}.kind=ranking (columns: {known})"
        )
    group = keys.get("group", "group" if "group" in frame else text[0])
    label = keys.get("label", usual["label"])
    columns = {"text": text, "query": [], "group": [group], "label": [label] if label else []}
    rows = to_rows(frame, columns, where, TASK, filled=True)
    if label is not None:
        rows.labels = float_labels(rows, label, RANKING.least)
    kept = RANKING.scorable(rows, np.arange(len(frame)))
    if (count := len(np.unique(np.asarray(rows.groups)[kept]))) < LEAST_QUERIES:
        named = f" that have a passage with a {label} above 0" if label else ""
        raise InputError(
            f"{where}: {count} queries{named} are too few; give {LEAST_QUERIES} or more"
        )
    found = {"kind": RANKING.name, "text": text, "group": group}
    return {**keys, **found, **({"label": label} if label else {})}


def divide(
    frame: pd.DataFrame, label: str | None, folder: Path, ranking: Mapping[str, Any] | None = None
) -> str:
    """Writes a training and a validation split into the folder, which becomes the ``source``.

    Rows with a ``label`` come first in the validation split; None if no label is read.  Those of a
    query, or of a group, are never in both; ``ranking`` has the keys that name these columns.
    """
    count = split_size(len(frame))
    rows = np.random.default_rng(0).permutation(len(frame))
    if ranking:
        # A query may have several groups, so all groups go where the query of their first row goes.
        query = frame.groupby(ranking["group"], sort=False)[ranking["text"][0]].transform("first")
        queries = np.random.default_rng(0).permutation(query.unique())
        held = query.isin(queries[: split_size(len(queries), MOST_QUERIES)]).to_numpy(bool)
        count, rows = held.sum(), np.argsort(~held, kind="stable")
    elif label in frame:
        missing = frame[label].map(is_missing).to_numpy(bool)
        rows = rows[np.argsort(missing[rows], kind="stable")]
        if missing.sum() > 0 and (~missing).sum() < 2 * count:
            # Too few labels to choose and to judge by: they are learned from, and dense is what is
            # judged by.
            rows = rows[::-1]
    folder.mkdir(parents=True, exist_ok=True)
    train, validation = frame.iloc[np.sort(rows[count:])], frame.iloc[np.sort(rows[:count])]
    if label in validation and validation[label].map(is_missing).any():
        validation = validation.drop(columns=label)
    for name, part in (("validation", validation), ("train", train)):
        part.to_parquet(folder / f"{name}.parquet", index=False)
    return str(folder.resolve())


def _check(frame: pd.DataFrame, keys: Mapping[str, Any], where: str) -> None:
    """Refuses too few texts, columns that are not there, and empty texts."""
    if len(frame) < LEAST:
        raise InputError(f"{where}: {len(frame)} texts are too few; give {LEAST} or more")
    usual = usual_text(frame, keys.get("label", "label"), keys.get("query"))
    columns = {"text": keys.get("text", usual)}
    columns |= {key: keys[key] for key in ("query", "label", "group") if key in keys}
    for key, names in columns.items():
        names = columns[key] = names if isinstance(names, list) else [names]
        if not all(name in frame for name in names):
            known = sorted(frame, key=lambda name: -frame[name].astype(str).str.len().mean())
            likely = known[0 if key in ("text", "query") else -1]
            raise InputError(
                f"{where}: which column is the {key}? --set tasks.{TASK}.{key}={likely} "
                f"(columns: {', '.join(map(str, known))})"
            )
    empty = frame[columns["text"]].map(is_missing).any(axis=1).to_numpy(bool)
    if empty.any():
        raise InputError(
            f"{where}: row {int(empty.argmax()) + 1}: the text is empty ({int(empty.sum())} such "
            "rows); remove them"
        )


def _frame(path: Path) -> pd.DataFrame | None:
    """The table that a file or a folder of text files is; None if it is neither."""
    import pandas as pd

    if path.is_file() and path.suffix == ".txt":
        return pd.DataFrame({"text": _read(path).split("\n")})
    if path.is_file():
        if path.suffix not in SUFFIXES:
            known = ", ".join(SUFFIXES)
            raise InputError(f"{path}: a table ends in {known}, and plain text in .txt")
        return read_table(path)
    if path.is_dir() and not any(path.glob("train.*")) and any(path.glob("*.txt")):
        return pd.DataFrame({"text": [_read(file) for file in sorted(path.glob("*.txt"))]})
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text in UTF-8: {error}") from error

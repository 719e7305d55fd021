"""The rows of a split before and after tokenising, and checks of their values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lotbench.errors import Faults, InputError


@dataclass
class Rows:
    """One split of N rows before tokenising."""

    texts: list[tuple[str, ...]]
    """One or two fields each."""
    labels: Any
    """An array (N,), as the file has them; None where nothing is learned from labels.  Of spans the
    answers of each row: tuples of starts and texts."""
    where: str
    """The origin, for messages."""
    queries: list[str] | None = None
    """The query of which each text is the known item."""
    groups: np.ndarray | None = None
    """The number of each row's group in a ranking, shape (N,), int64."""
    evidence: list[list[list[int]]] | None = None
    """Starts and ends of each row's evidence in the characters of its last field; a row may have
    none."""

    def at(self, rows: np.ndarray, where: str = "") -> Rows:
        """These rows, in this order, by default of the same origin."""
        columns = {name: column for name, column in vars(self).items() if name != "where"}
        picked = {name: some_of(column, rows) for name, column in columns.items()}
        return Rows(**picked, where=where or self.where)


@dataclass
class Split:
    """N examples as token ids."""

    input_ids: list[list[int]]
    """Without padding, as ``token_type_ids``."""
    token_type_ids: list[list[int]]
    labels: Any
    """An array (N,) of int64 classes, float32 values of a regression or relevance of a ranking;
    None for an embedding.  Of spans the first and last token, (N, 2), int64; -1 behind the cut."""
    text_seed: np.ndarray
    """A stable, non-negative hash of the texts, shape (N,), int64."""
    texts: list[tuple[str, ...]]
    """One or two fields each."""
    queries: Split | None = None
    """The queries of an embedding, one for each text, in the same order."""
    gold: np.ndarray | None = None
    """The scores of an embedding's pairs, shape (N / 2,), float32; texts i and N / 2 + i are pair
    i."""
    groups: np.ndarray | None = None
    """The number of each row's group in a ranking, 0 to G - 1, shape (N,), int64."""
    dense: np.ndarray | None = None
    """The dense teacher's vectors of an embedding, shape (N, D), its scores of a ranking, (N, 1),
    or its logits, (N, C), float32; a trial adds those that it needs."""
    unlabelled: np.ndarray | None = None
    """True for the rows of a classification or regression without a label, which the dense teacher
    gives, shape (N,), bool."""
    saliency: list[np.ndarray] | None = None
    """The teacher's saliency of each text's tokens, N arrays, float32; a trial adds it."""
    evidence: list[np.ndarray] | None = None
    """True for the tokens of each text's evidence, N arrays, bool; None of a task without any."""
    places: list[np.ndarray] | None = None
    """Start and end of each token in the characters of the second text, -1 of other tokens, N
    arrays (T, 2); of spans alone."""
    answers: list[tuple[str, ...]] | None = None
    """The right answers to each question; of spans alone."""

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, shape (N,), int64."""
        return np.fromiter(map(len, self.input_ids), dtype=np.int64, count=len(self))

    @property
    def labelled(self) -> Split:
        """The rows with a label."""
        return self if self.unlabelled is None else self.at(np.flatnonzero(~self.unlabelled))

    def at(self, rows: np.ndarray) -> Split:
        """Some rows of a split without queries, groups and pairs."""
        left_out = "queries", "gold", "groups"
        kept = {name: column for name, column in vars(self).items() if name not in left_out}
        return Split(**{name: some_of(column, rows) for name, column in kept.items()})


def some_of(values: Any, rows: np.ndarray) -> Any:
    """These rows of an array or a list, in this order; None of None."""
    if values is None or isinstance(values, np.ndarray):
        return None if values is None else values[rows]
    return [values[i] for i in rows]


def check_each(
    values: Iterable[Any], sound: Callable[[Any], Any], where: str, column: str, fault: str
) -> None:
    """Refuses the first value of a column that is not sound; the ``fault`` says why."""
    for row, value in enumerate(values, 1):
        if not sound(value):
            raise InputError(f"{where}: column {column!r}, row {row}: {shown(value)} {fault}")


def of_both(work: Callable[[Any], Any], splits: Iterable[Any]) -> list[Any]:
    """The result for both splits; a fault of one hides none of the other."""
    results, faults = [], Faults()
    for split in splits:
        with faults.collected():
            results.append(work(split))
    faults.check()
    return results


def shown(value: Any) -> str:
    """A value in a message: in one line, cut where it is long."""
    return " ".join(repr(value).split())[:60]

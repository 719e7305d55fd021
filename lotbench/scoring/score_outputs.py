"""The scores of a model's outputs on a split, for every kind of task.

Texts are near each other by the cosine of their vectors, which need not be normalised; the cosine
with a vector of zeros is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from lotbench.scoring.metrics import MEANS, UNLABELLED, compute_metrics
from lotbench.scoring.predictions import decode, encode
from lotbench.scoring.scores import DEPTH

BLOCK = 512
"""Rows of a matrix of similarities at a time: 40 MB with 10,000 texts."""
DECIMALS = 4
"""Decimals of a stored value, of which scores are made."""
SIMILAR = 6
"""Decimals of a similarity, so that rounding does not order texts with equal vectors."""


class ScoredSplit(Protocol):
    """What scores need of a split; see `lotbench.data.tokens.Split`."""

    @property
    def labels(self) -> Any: ...
    @property
    def text_seed(self) -> np.ndarray: ...
    @property
    def queries(self) -> Any: ...
    @property
    def gold(self) -> np.ndarray | None: ...
    @property
    def groups(self) -> np.ndarray | None: ...
    @property
    def dense(self) -> np.ndarray | None: ...


class SplitScores(NamedTuple):
    """The scores of a model on a split, and the values that they are made of."""

    metrics: dict[str, float]
    values: dict[str, np.ndarray]
    """The values behind each score, main metric first; see `lotbench.scoring.scores.scores`.
    All metrics of a classification or regression share one array."""


def score_outputs(
    kind: str,
    metrics: Sequence[str],
    split: ScoredSplit,
    outputs: np.ndarray,
    query_outputs: np.ndarray | None = None,
) -> SplitScores:
    """The scores of a model's outputs on a split, and what they are made of.

    Parameters
    ----------
    kind : str
        ``classification``, ``regression``, ``embedding`` or ``ranking``.
    metrics : sequence of str
        The main metric first.
    split : ScoredSplit
        With what dense answers, if scores are against it.
    outputs : ndarray, shape (N, C)
    query_outputs : ndarray, shape (N, D), optional
        Vectors of the queries of an embedding task, by default those of dense.
    """
    if kind in ("classification", "regression"):
        predicted, labels = outputs.argmax(axis=1), split.labels
        if kind == "regression":
            predicted = decode(encode(outputs[:, 0], None))  # rounded as in the row
        elif metrics[0] in UNLABELLED:
            same = predicted == _given(split.dense).argmax(axis=1)
            predicted, labels = same.astype(np.int64), None
        return SplitScores(compute_metrics(metrics, predicted, labels), {metrics[0]: predicted})
    if kind == "embedding":
        values = {name: _of_vectors(name, split, outputs, query_outputs) for name in metrics}
    else:
        values = {name: _of_groups(name, split, outputs[:, 0]) for name in metrics}
    scores = {}
    for name, own in values.items():
        scores |= compute_metrics([name], own, None if name in MEANS else split.gold)
    return SplitScores(scores, values)


def _of_vectors(
    metric: str, split: ScoredSplit, vectors: np.ndarray, queries: np.ndarray | None
) -> np.ndarray:
    """The values of a metric of an embedding, one per text, query or pair."""
    match metric:
        case "mrr":
            if queries is None and split.queries is not None:
                queries = split.queries.dense
            return found_at(_given(queries), vectors, split.text_seed)
        case "overlap":
            return shared(vectors, _given(split.dense))
        case "cosine":
            return cosines(vectors, _given(split.dense))
        case _:
            return cosines(*np.split(vectors, 2))


def _of_groups(metric: str, split: ScoredSplit, scores: np.ndarray) -> np.ndarray:
    """The values of a metric of a ranking, one per group."""
    own = {"ndcg": ndcg, "mrr": first_relevant, "agreement": tau_b}[metric]
    right = _given(split.dense if metric == "agreement" else split.labels).reshape(len(scores))
    groups = _given(split.groups)
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order])) + 1
    values = [own(scores[rows], right[rows]) for rows in np.split(order, starts)]
    return np.array(values) if metric == "mrr" else _rounded(np.array(values))


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cosine of each row of ``a`` (N, D) with that of ``b``, rounded, shape (N,)."""
    return _rounded((_unit(a) * _unit(b)).sum(axis=1))


def found_at(queries: np.ndarray, documents: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """The rank of document i for query i, 0 if it is not among the first ten, shape (N,).

    Other documents that are equally near count as nearer, but copies of document i do not.

    Parameters
    ----------
    queries, documents : ndarray, shape (N, D)
    texts : ndarray, shape (N,)
        Equal numbers for equal documents.
    """
    queries, documents = _unit(queries), _unit(documents)
    ranks = np.zeros(len(queries), np.int64)
    for rows in _blocks(len(queries)):
        near = _similarities(queries[rows], documents)
        own = near[np.arange(len(rows)), rows]
        copies = texts[rows][:, None] == texts
        ranks[rows] = 1 + ((near >= own[:, None]) & ~copies).sum(axis=1)
    return np.where(ranks <= DEPTH, ranks, 0)


def shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How many of its ten nearest texts each text has in both ``a`` and ``b``, shape (N,).

    The text itself is not among them; with fewer than eleven texts they are all others.  Of equally
    near texts the first ones count.
    """
    a, b = _unit(a), _unit(b)
    counts = [(_nearest(a, rows) & _nearest(b, rows)).sum(axis=1) for rows in _blocks(len(a))]
    return np.concatenate(counts)


def _nearest(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """True for the ten nearest of all other texts, shape (rows, N)."""
    near = _similarities(vectors[rows], vectors)
    near[np.arange(len(rows)), rows] = -np.inf
    count = min(DEPTH, len(vectors) - 1)
    last = np.partition(near, -count, axis=1)[:, [-count]]
    above, equal = near > last, near == last
    room = count - above.sum(axis=1, keepdims=True)
    return above | (equal & (np.cumsum(equal, axis=1) <= room))


def ndcg(scores: np.ndarray, relevance: np.ndarray) -> float:
    """nDCG@10 of one group; 0 if nothing in it is relevant.

    A document gains its relevance, as in trec_eval.  Of equal scores the less relevant comes first.
    """
    gains = relevance.astype(float)
    discounts = 1 / np.log2(np.arange(2, DEPTH + 2))[: len(gains)]
    best = float(np.sort(gains)[::-1][:DEPTH] @ discounts)
    own = float(gains[np.lexsort((gains, -scores))][:DEPTH] @ discounts)
    return own / best if best > 0 else 0.0


def first_relevant(scores: np.ndarray, relevance: np.ndarray) -> int:
    """The rank of the first relevant document of one group, 0 if it is not among the first ten.

    Irrelevant documents with an equal score come first.
    """
    relevant = relevance > 0
    if not relevant.any():
        return 0
    rank = 1 + int((scores[~relevant] >= scores[relevant].max()).sum())
    return rank if rank <= DEPTH else 0


def tau_b(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's tau-b of two lists of scores; 0 if one of them is constant."""
    a, b = (np.sign(own[:, None] - own) for own in (a.astype(float), b.astype(float)))
    spread = (a * a).sum() * (b * b).sum()
    return float((a * b).sum() / np.sqrt(spread)) if spread > 0 else 0.0


def _given(values: np.ndarray | None) -> np.ndarray:
    assert values is not None, "a split of this kind of task has it"
    return values


def _unit(vectors: np.ndarray) -> np.ndarray:
    """The rows with length 1, or 0 if they are zeros, float64."""
    vectors = vectors.astype(float)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def _similarities(some: np.ndarray, every: np.ndarray) -> np.ndarray:
    """The cosines of unit vectors, shape (some, every)."""
    return (some @ every.T).round(SIMILAR)


def _blocks(count: int) -> list[np.ndarray]:
    """The rows in blocks."""
    return [np.arange(first, min(first + BLOCK, count)) for first in range(0, count, BLOCK)]


def _rounded(values: np.ndarray) -> np.ndarray:
    return values.round(DECIMALS) + 0.0  # no -0.0

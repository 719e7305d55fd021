"""The values that scores are means of: of vectors by their neighbours, of rankings by group.

Texts are near each other by the cosine of their vectors, which need not be normalised; the cosine
with a vector of zeros is 0.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from lotbench.scoring.scores import DEPTH

T = TypeVar("T")

BLOCK = 512
"""Rows of a matrix of similarities at a time: 40 MB with 10,000 texts."""
DECIMALS = 4
"""Decimals of a stored value, of which scores are made."""
SIMILAR = 6
"""Decimals of a similarity, so that rounding does not order texts with equal vectors."""


def of_groups(metric: str, groups: np.ndarray, scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The values of a metric of a ranking, one per group.

    ``right`` are the relevances of the rows, or their scores by dense.
    """
    value = {"ndcg": ndcg, "mrr": first_relevant, "agreement": tau_b}[metric]
    right = right.reshape(len(scores))
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order])) + 1
    values = np.array([value(scores[rows], right[rows]) for rows in np.split(order, starts)])
    return values if metric == "mrr" else _rounded(values)


def best_of_groups(groups: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """True for the rows with the highest score of their group, shape (N,), bool."""
    best = np.full(groups.max() + 1, -np.inf)
    np.maximum.at(best, groups, scores)
    return scores == best[groups]


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cosine of each row of ``a`` (N, D) with that of ``b``, rounded, shape (N,)."""
    return _rounded((_unit(a) * _unit(b)).sum(axis=1))


def found_at(queries: np.ndarray, documents: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """The rank of document i for query i, 0 if it is not among the first ten, shape (N,).

    Other documents that are equally near count as nearer, but copies of document i do not: those
    with the same number in ``texts`` (N,).
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


def known(values: T | None) -> T:
    """Values that a split of this kind of task has."""
    assert values is not None, "a split of another kind of task"
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

"""Bootstrap draws, and metrics of all draws at once.

A draw is a row of weights: how often each text (or each seed) is in it.  The first row is the
sample itself, every weight 1, so the first of all values computed from the weights is the estimate.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

DRAWS = 1000
SEED = 0
LEVEL = 95.0
# Columns of one product of weights with one-hot cells of confusion matrices.
COLUMNS = 512
# A variance below this share of the whole sample's is rounding of a constant.
CONSTANT = 1e-12


class Estimate(NamedTuple):
    """A value with its 95% interval, which is NaN where it is not known."""

    value: float
    low: float
    high: float


UNKNOWN = Estimate(np.nan, np.nan, np.nan)


@lru_cache(maxsize=16)
def weights(count: int, *key: int) -> np.ndarray:
    """How often each of ``count`` texts or seeds is in each draw; float32 (1 + DRAWS, count).

    Equal arguments give equal draws, so what shares its texts is compared in pairs.
    """
    generator = np.random.default_rng([SEED, *key])
    places = generator.integers(count, size=(DRAWS, count))
    places += count * np.arange(DRAWS)[:, None]
    drawn = np.bincount(places.ravel(), minlength=DRAWS * count).reshape(DRAWS, count)
    found = np.vstack([np.ones((1, count)), drawn]).astype(np.float32)
    found.setflags(write=False)
    return found


def estimate(draws: np.ndarray) -> Estimate:
    """The first of the values, and the percentile interval of the others if all are finite."""
    if not np.isfinite(draws).all():
        return Estimate(float(draws[0]), np.nan, np.nan)
    low, high = np.percentile(draws[1:], [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return Estimate(float(draws[0]), float(low), float(high))


def scores(
    metric: str, predictions: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """A metric of several models in all draws, shape (models, draws).

    It equals `lotbench.metrics.compute_metrics` of the texts, each repeated as often as drawn.

    Parameters
    ----------
    metric : str
    predictions : ndarray, shape (models, N)
    labels : ndarray, shape (N,)
    weights : ndarray, shape (draws, N)
    """
    if metric == "accuracy":
        # Sums of whole numbers below 2^24, so float32 is exact.
        hits = (predictions == labels).astype(np.float32) @ weights.T
        return hits.astype(float) / len(labels)
    if metric in _OF_COUNTS:
        counts = _confusions(predictions, labels, weights)
        return np.stack([_OF_COUNTS[metric](own) for own in counts])
    return np.stack([_OF_VALUES[metric](own, labels, weights) for own in predictions])


def _confusions(
    predictions: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> Iterator[np.ndarray]:
    """For each model its texts by label and predicted class in every draw, (draws, C, C)."""
    classes = 1 + max(1, int(predictions.max(initial=0)), int(labels.max(initial=0)))
    cells = classes * classes
    together = max(1, COLUMNS // cells)
    for start in range(0, len(predictions), together):
        cell = labels * classes + predictions[start : start + together]
        # One product for several models, since each reads all weights.
        hot = np.zeros((len(labels), len(cell), cells), np.float32)
        hot[np.arange(len(labels))[:, None], np.arange(len(cell)), cell.T] = 1
        counts = weights @ hot.reshape(len(labels), -1)
        split = counts.reshape(len(weights), len(cell), classes, classes).astype(float)
        yield from np.moveaxis(split, 1, 0)


def _f1(counts: np.ndarray) -> np.ndarray:
    total = counts.sum(axis=1) + counts.sum(axis=2)
    f1 = 2 * np.diagonal(counts, axis1=1, axis2=2) / np.maximum(total, 1)
    mean = f1.sum(axis=1) / np.maximum((total > 0).sum(axis=1), 1)
    return np.where((total[:, 2:] > 0).any(axis=1), mean, f1[:, 1])


def _matthews(counts: np.ndarray) -> np.ndarray:
    hits, texts = np.trace(counts, axis1=1, axis2=2), counts.sum(axis=(1, 2))
    true, guessed = counts.sum(axis=2), counts.sum(axis=1)
    spread = (texts**2 - (true**2).sum(axis=1)) * (texts**2 - (guessed**2).sum(axis=1))
    agreement = hits * texts - (true * guessed).sum(axis=1)
    return np.where(spread > 0, agreement / np.sqrt(np.where(spread > 0, spread, 1)), 0.0)


def _pearson(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    a, b = (np.asarray(own, float) - np.mean(own) for own in (predicted, labels))
    moments = np.stack([a, b, a * a, b * b, a * b]) @ weights.T.astype(float) / len(labels)
    mean_a, mean_b, *squares = moments
    variances = squares[0] - mean_a**2, squares[1] - mean_b**2
    known = (variances[0] > CONSTANT * np.mean(a * a)) & (variances[1] > CONSTANT * np.mean(b * b))
    product = np.where(known, variances[0] * variances[1], 1)
    return np.where(known, (squares[2] - mean_a * mean_b) / np.sqrt(product), 0.0)


def _spearman(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    drawn = weights.astype(float)
    a, b = _centred_ranks(predicted, drawn), _centred_ranks(labels, drawn)
    spread = (drawn * a * a).sum(axis=1) * (drawn * b * b).sum(axis=1)
    together = (drawn * a * b).sum(axis=1)
    return np.where(spread > 0, together / np.sqrt(np.where(spread > 0, spread, 1)), 0.0)


def _centred_ranks(values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The rank of each text in each draw minus the mean rank; ties get their mean rank."""
    _, place, texts = np.unique(values, return_inverse=True, return_counts=True)
    order = np.argsort(place, kind="stable")
    starts = np.cumsum(texts) - texts
    equal = np.add.reduceat(drawn[:, order], starts, axis=1)
    ranks = np.cumsum(equal, axis=1) - (equal - 1) / 2
    return ranks[:, place] - (len(values) + 1) / 2


_OF_COUNTS = {"f1": _f1, "matthews": _matthews}
_OF_VALUES = {"pearson": _pearson, "spearman": _spearman}

"""The metrics of many models in many resamples of a split at once."""

from __future__ import annotations

import numpy as np

# A variance below this share of the whole sample's is rounding of a constant.
CONSTANT = 1e-12
# Values are rounded to multiples of one over this before their mean.  A float holds the
# sum of 900,000 texts, and the fractions of a row, which have seven digits, are exact.
ROUNDED_TO = 10**10
DEPTH = 10
"""How many of the first documents count in ``mrr``, ``overlap`` and ``ndcg``."""


def scores(
    metric: str, predictions: np.ndarray, labels: np.ndarray | None, weights: np.ndarray
) -> np.ndarray:
    """A metric of several models in all draws of texts, shape (models, draws).

    Parameters
    ----------
    metric : str
        ``accuracy``; ``f1``, of class 1 if there are two classes, else the mean over the classes
        that occur; ``matthews``, for any number of classes; ``pearson``; or ``spearman``, where
        ties get their mean rank.  Those but accuracy and F1 are 0 for a constant prediction.
        Or a mean: ``mrr``, of one over the rank; ``overlap``, of the shared among the nearest ten
        documents, or of all others if these are fewer; ``cosine``, ``ndcg``, ``agreement``; and
        ``same_class``.
    predictions : ndarray, shape (models, N)
        Classes or values of a regression; of a mean the value of each text, query or group: ranks
        (0 is none) for ``mrr``, numbers of documents for ``overlap``, 0 or 1 for ``same_class``.
    labels : ndarray, shape (N,), or None
        None for a mean.
    weights : ndarray, shape (draws, N)
        How often each text is in a draw.
    """
    if metric == "accuracy":
        # Sums of whole numbers below 2^24, so float32 is exact.
        hits = (predictions == labels).astype(np.float32) @ weights.T
        return hits.astype(float) / predictions.shape[1]
    if labels is None:
        # Sums of whole numbers are exact.  On some CPUs sums of equal fractions differ from row to
        # row, and equal models would be told apart.
        whole = np.rint(contributions(metric, predictions) * ROUNDED_TO)
        return whole @ weights.T.astype(float) / (ROUNDED_TO * predictions.shape[1])
    if metric == "spearman":
        return _spearman(predictions, labels, weights)
    own = {"f1": _f1, "matthews": _matthews, "pearson": _pearson}[metric]
    return np.stack([own(predicted, labels, weights) for predicted in predictions])


def contributions(metric: str, predictions: np.ndarray) -> np.ndarray:
    """The values of which a metric is the mean, shape (models, N)."""
    if metric == "mrr":
        return np.where(predictions > 0, 1 / np.maximum(predictions, 1), 0.0)
    if metric == "overlap":
        return predictions / max(1, min(DEPTH, predictions.shape[1] - 1))
    return predictions.astype(float)


def _counts(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> list[np.ndarray]:
    """Texts by class in every draw, each (draws, C): hits, by label, and by prediction."""
    classes = np.eye(1 + max(1, int(labels.max()), int(predicted.max())), dtype=np.float32)
    right = classes[labels] * (predicted == labels)[:, None]
    return [(weights @ own).astype(float) for own in (right, classes[labels], classes[predicted])]


def _f1(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    hits, true, guessed = _counts(predicted, labels, weights)
    total = true + guessed
    f1 = 2 * hits / np.maximum(total, 1)
    mean = f1.sum(axis=1) / np.maximum((total > 0).sum(axis=1), 1)
    return np.where((total[:, 2:] > 0).any(axis=1), mean, f1[:, 1])


def _matthews(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    hits, true, guessed = _counts(predicted, labels, weights)
    texts = true.sum(axis=1)
    spread = (texts**2 - (true**2).sum(axis=1)) * (texts**2 - (guessed**2).sum(axis=1))
    agreement = hits.sum(axis=1) * texts - (true * guessed).sum(axis=1)
    return np.where(spread > 0, agreement / np.sqrt(np.where(spread > 0, spread, 1)), 0.0)


def _pearson(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    a, b = (own - own.mean() for own in (predicted.astype(float), labels.astype(float)))
    moments = np.stack([a, b, a * a, b * b, a * b]) @ weights.T.astype(float) / len(labels)
    mean_a, mean_b, *squares = moments
    variances = squares[0] - mean_a**2, squares[1] - mean_b**2
    known = (variances[0] > CONSTANT * np.mean(a * a)) & (variances[1] > CONSTANT * np.mean(b * b))
    product = np.where(known, variances[0] * variances[1], 1)
    return np.where(known, (squares[2] - mean_a * mean_b) / np.sqrt(product), 0.0)


def _spearman(predictions: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    drawn = weights.astype(float)
    ranks, label_spread, groups = _centred_ranks(labels, drawn)
    weighted = drawn * ranks[:, groups]  # for all models
    found = []
    for predicted in predictions:
        ranks, spread, groups = _centred_ranks(predicted, drawn)
        spread = spread * label_spread
        together = (_by_group(weighted, groups) * ranks).sum(axis=1)
        found.append(np.where(spread > 0, together / np.sqrt(np.where(spread > 0, spread, 1)), 0.0))
    return np.stack(found)


def _centred_ranks(
    values: np.ndarray, drawn: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ranks minus the mean rank, (draws, groups); their sums of squares; the group of each text.

    A group is the texts of one value; they get their mean rank.
    """
    _, groups = np.unique(values, return_inverse=True)
    equal = _by_group(drawn, groups)
    ranks = np.cumsum(equal, axis=1) - (equal - 1) / 2 - (len(values) + 1) / 2
    return ranks, (equal * ranks * ranks).sum(axis=1), groups


def _by_group(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The sum over the texts of each group, ``(draws, N) -> (draws, groups)``."""
    sizes = np.bincount(groups)
    order = np.argsort(groups, kind="stable")
    return np.add.reduceat(values[:, order], np.cumsum(sizes) - sizes, axis=1)

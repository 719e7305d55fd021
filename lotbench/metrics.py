"""Metrics of predictions, all of them higher if better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def predictions(logits: np.ndarray, regression: bool) -> np.ndarray:
    """The predicted class of each row of ``logits`` (N, C), or the value if it is a regression."""
    return logits[:, 0] if regression else logits.argmax(axis=1)


def compute_metrics(
    names: Sequence[str], predicted: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """The named metrics, from 0 to 1 (correlations from -1 to 1).

    Parameters
    ----------
    names : sequence of str
        Names in `METRICS`.
    predicted, labels : ndarray, shape (N,)
        Classes, or values of a regression.

    Raises
    ------
    ValueError
        If the numbers of rows differ.
    """
    if len(predicted) != len(labels):
        raise ValueError(f"{len(predicted)} predictions for {len(labels)} labels")
    return {name: float(METRICS[name](predicted, labels)) for name in names}


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    """The share of correct predictions."""
    return float((predicted == labels).mean())


def f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """F1 of class 1 if there are two classes, else the mean F1 over the classes that occur."""
    import numpy as np

    classes = np.union1d(predicted, labels)
    if classes.max(initial=0) <= 1:
        classes = np.array([1])
    scores = []
    for label in classes:
        hits = np.sum((predicted == label) & (labels == label))
        total = np.sum(predicted == label) + np.sum(labels == label)
        scores.append(2 * hits / total if total else 0.0)
    return float(np.mean(scores))


def matthews(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Matthews correlation, for any number of classes; 0 for a constant prediction."""
    import numpy as np

    classes = np.union1d(predicted, labels)
    # It equals the correlation of the two one-hot encodings (Gorodkin, 2004).
    return _correlation(predicted[:, None] == classes, labels[:, None] == classes)


def pearson(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Pearson correlation; 0 for a constant prediction."""
    return _correlation(predicted, labels)


def spearman(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Spearman rank correlation, ties get their mean rank; 0 for a constant prediction."""
    from scipy.stats import rankdata

    return _correlation(rankdata(predicted), rankdata(labels))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    import numpy as np

    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    # An exact comparison, since rounding of the mean would give a small norm and a wrong result.
    if np.all(a == a[:1]) or np.all(b == b[:1]):
        return 0.0  # not NaN, which would make every mean over trials NaN
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return float(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b)))


CLASSIFICATION = {"accuracy": accuracy, "f1": f1, "matthews": matthews}
REGRESSION = {"pearson": pearson, "spearman": spearman}
METRICS = CLASSIFICATION | REGRESSION

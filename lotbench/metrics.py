"""Metrics of predictions, all of them higher if better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

CLASSIFICATION = ("accuracy", "f1", "matthews")
REGRESSION = ("pearson", "spearman")
METRICS = CLASSIFICATION + REGRESSION


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
    import numpy as np

    from lotbench.scores import scores

    if len(predicted) != len(labels):
        raise ValueError(f"{len(predicted)} predictions for {len(labels)} labels")
    once = np.ones((1, len(labels)), np.float32)
    return {name: float(scores(name, predicted[None], labels, once)[0, 0]) for name in names}

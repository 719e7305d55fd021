"""Metrics of predictions, all of them higher if better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

CLASSIFICATION = ("accuracy", "f1", "matthews")
UNLABELLED = ("same_class",)
REGRESSION = ("pearson", "spearman")
EMBEDDING = ("mrr", "spearman", "overlap", "cosine")
RANKING = ("ndcg", "mrr", "agreement")
UNLABELLED_RANKING = ("mrr", "agreement")
SPAN = ("token_f1", "exact_match")
METRICS = tuple(
    dict.fromkeys(CLASSIFICATION + REGRESSION + EMBEDDING + RANKING + SPAN + UNLABELLED)
)
MEANS = ("mrr", "overlap", "cosine", "ndcg", "agreement", "same_class", *SPAN)
"""Means of one value per text, query or group, which need no labels."""


def classes_of(metric: str, classes: int) -> int | None:
    """How many values a prediction of a metric can have; None if it is a fraction.

    ``classes`` is that of the task, for the metrics of a classification.
    """
    from lotbench.scoring.scores import DEPTH

    if metric in ("mrr", "overlap"):
        return DEPTH + 1
    if metric in (*UNLABELLED, "exact_match"):
        return 2
    return classes if metric in CLASSIFICATION else None


def compute_metrics(
    names: Sequence[str], predicted: np.ndarray, labels: np.ndarray | None
) -> dict[str, float]:
    """The named metrics, from 0 to 1 (correlations, cosine and agreement from -1 to 1).

    ``predicted`` and ``labels`` (N,) are those of `lotbench.scoring.scores.scores`; labels are None
    for `MEANS`.
    """
    import numpy as np

    from lotbench.scoring.scores import scores

    if labels is not None and len(predicted) != len(labels):
        raise ValueError(f"{len(predicted)} predictions for {len(labels)} labels")
    once = np.ones((1, len(predicted)), np.float32)
    return {name: float(scores(name, predicted[None], labels, once)[0, 0]) for name in names}

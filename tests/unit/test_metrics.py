"""Metrics against hand-computed numbers and scipy."""

from __future__ import annotations

import numpy as np
import pytest

from lotbench.data.metrics import compute_metrics


def one_hot(classes: list[int], n: int) -> np.ndarray:
    return np.eye(n)[classes]


def test_two_classes_by_hand() -> None:
    # Predicted 1 1 1 0 0 0 1 0 against 1 1 0 0 0 1 1 0: TP 3, FP 1, FN 1, TN 3.
    logits = one_hot([1, 1, 1, 0, 0, 0, 1, 0], 2)
    labels = np.array([1, 1, 0, 0, 0, 1, 1, 0])
    scores = compute_metrics(["accuracy", "f1", "matthews"], logits, labels)
    assert list(scores) == ["accuracy", "f1", "matthews"]
    assert scores["accuracy"] == pytest.approx(6 / 8)
    assert scores["f1"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    # (3*3 - 1*1) / sqrt(4*4*4*4) = 8/16
    assert scores["matthews"] == pytest.approx(0.5)


def test_f1_of_two_classes_is_that_of_class_one() -> None:
    # Class 1: TP 1, FP 0, FN 1 -> 2/3; class 0 would give 4/5.
    scores = compute_metrics(["f1"], one_hot([1, 0, 0, 0], 2), np.array([1, 1, 0, 0]))
    assert scores["f1"] == pytest.approx(2 / 3)


def test_three_classes_by_hand() -> None:
    logits, labels = one_hot([0, 1, 2, 2], 3), np.array([0, 1, 2, 1])
    scores = compute_metrics(["f1", "matthews"], logits, labels)
    # Class F1: 1, 2/3, 2/3.
    assert scores["f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    # Multi-class: (3*4 - (1*1 + 1*2 + 2*1)) / sqrt((16 - 6)(16 - 6)) = 7/10
    assert scores["matthews"] == pytest.approx(0.7)


def test_correlations_agree_with_scipy() -> None:
    from scipy.stats import pearsonr, spearmanr

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, 50).astype(np.float32)
    logits = (labels + rng.normal(size=50))[:, None]
    scores = compute_metrics(["pearson", "spearman"], logits, labels)
    assert scores["pearson"] == pytest.approx(pearsonr(logits[:, 0], labels)[0])
    assert scores["spearman"] == pytest.approx(spearmanr(logits[:, 0], labels)[0])


@pytest.mark.parametrize("metric", ["f1", "matthews", "pearson", "spearman"])
def test_collapsed_model_scores_zero(metric: str) -> None:
    labels = np.array([0, 1, 1, 0, 1])
    logits = np.full((5, 1), 0.1) if metric in ("pearson", "spearman") else one_hot([0] * 5, 2)
    assert compute_metrics([metric], logits, labels)[metric] == 0.0


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="3 rows of logits for 2 labels"):
        compute_metrics(["accuracy"], one_hot([0, 1, 0], 2), np.array([0, 1]))

"""Metrics against hand-computed numbers and scipy."""

import numpy as np
import pytest

from lotbench.scoring.metrics import compute_metrics


def test_two_classes_by_hand():
    # Predicted 1 1 1 0 0 0 1 0 against 1 1 0 0 0 1 1 0: TP 3, FP 1, FN 1, TN 3.
    predicted = np.array([1, 1, 1, 0, 0, 0, 1, 0])
    labels = np.array([1, 1, 0, 0, 0, 1, 1, 0])
    scores = compute_metrics(["accuracy", "f1", "matthews"], predicted, labels)
    assert list(scores) == ["accuracy", "f1", "matthews"]
    assert scores["accuracy"] == pytest.approx(6 / 8)
    assert scores["f1"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    # (3*3 - 1*1) / sqrt(4*4*4*4) = 8/16
    assert scores["matthews"] == pytest.approx(0.5)
    # Class 1: TP 1, FP 0, FN 1 -> 2/3; class 0 would give 4/5.
    scores = compute_metrics(["f1"], np.array([1, 0, 0, 0]), np.array([1, 1, 0, 0]))
    assert scores["f1"] == pytest.approx(2 / 3)


def test_three_classes_by_hand():
    predicted, labels = np.array([0, 1, 2, 2]), np.array([0, 1, 2, 1])
    scores = compute_metrics(["f1", "matthews"], predicted, labels)
    # Class F1: 1, 2/3, 2/3.
    assert scores["f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    # Multi-class: (3*4 - (1*1 + 1*2 + 2*1)) / sqrt((16 - 6)(16 - 6)) = 7/10
    assert scores["matthews"] == pytest.approx(0.7)


def test_correlations_agree_with_scipy():
    from scipy.stats import pearsonr, spearmanr

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, 50).astype(np.float32)
    predicted = labels + rng.normal(size=50)
    scores = compute_metrics(["pearson", "spearman"], predicted, labels)
    assert scores["pearson"] == pytest.approx(pearsonr(predicted, labels)[0])
    assert scores["spearman"] == pytest.approx(spearmanr(predicted, labels)[0])


@pytest.mark.parametrize("metric", ["f1", "matthews", "pearson", "spearman"])
def test_collapsed_model_scores_zero(metric):
    labels = np.array([0, 1, 1, 0, 1])
    predicted = np.zeros(5, dtype=np.int64)
    assert compute_metrics([metric], predicted, labels)[metric] == 0.0


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="3 predictions for 2 labels"):
        compute_metrics(["accuracy"], np.array([0, 1, 0]), np.array([0, 1]))

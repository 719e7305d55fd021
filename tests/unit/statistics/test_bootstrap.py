"""Bootstrap draws and the metrics of all draws, against `compute_metrics` and scipy."""

import numpy as np
import pytest
from scipy import stats

from lotbench.scoring import metrics
from lotbench.scoring.metrics import compute_metrics
from lotbench.scoring.scores import scores
from lotbench.statistics import bootstrap


def test_the_first_draw_is_the_sample_and_every_draw_has_as_many_texts():
    found = bootstrap.weights(7, 0)
    assert found.shape == (1 + bootstrap.DRAWS, 7)
    assert (found[0] == 1).all()
    assert (found.sum(axis=1) == 7).all()
    # Each text is drawn once on average; the standard error is about 0.03.
    assert found[1:].mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)


def test_draws_depend_on_their_key_alone():
    first = bootstrap.weights(5, 1, 3).copy()
    bootstrap.weights.cache_clear()
    assert (bootstrap.weights(5, 1, 3) == first).all()
    assert (bootstrap.weights(5, 1, 4) != first).any()


def assert_each_draw_has_the_metric_of_its_texts(metric, predictions, labels, weights):
    found = scores(metric, predictions, labels, weights)
    for own, draws in zip(predictions, found, strict=True):
        for counts, score in zip(weights, draws, strict=True):
            texts = np.repeat(np.arange(len(labels)), counts.astype(int))
            expected = compute_metrics([metric], own[texts], labels[texts])[metric]
            assert score == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("metric", ["accuracy", "f1", "matthews", "pearson", "spearman"])
def test_a_draw_has_the_metric_of_its_texts(metric, classes):
    generator = np.random.default_rng(classes)
    # So few texts that some draws lack a class, or are constant.
    labels = generator.integers(classes, size=6)
    predictions = generator.integers(classes, size=(3, 6))
    predictions[2] = 1
    weights = bootstrap.weights(6, 9)[:200]
    assert_each_draw_has_the_metric_of_its_texts(metric, predictions, labels, weights)


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_a_draw_of_fractions_has_the_metric_of_its_texts(metric):
    generator = np.random.default_rng(1)
    labels = 100 + generator.normal(size=30)
    predictions = (labels + generator.normal(size=30))[None]
    weights = bootstrap.weights(30, 9)[:50]
    assert_each_draw_has_the_metric_of_its_texts(metric, predictions, labels, weights)


# The values of four texts; with four of them, three are neighbours.
MEANS = {
    "mrr": ([1, 2, 0, 10], [1, 1 / 2, 0, 1 / 10]),
    "overlap": ([3, 0, 2, 1], [1, 0, 2 / 3, 1 / 3]),
    "cosine": ([0.5, -0.25, 1, 0], [0.5, -0.25, 1, 0]),
    "ndcg": ([0.5, 0.25, 1, 0], [0.5, 0.25, 1, 0]),
    "agreement": ([0.5, -0.25, 1, 0], [0.5, -0.25, 1, 0]),
    "same_class": ([1, 0, 1, 1], [1, 0, 1, 1]),
    "exact_match": ([0, 1, 1, 0], [0, 1, 1, 0]),
    "token_f1": ([0.5, 0.25, 1, 0], [0.5, 0.25, 1, 0]),
}


@pytest.mark.parametrize("metric", MEANS)
def test_a_draw_has_the_mean_of_its_values(metric):
    stored, values = (np.array(own) for own in MEANS[metric])
    weights = np.array([[1, 1, 1, 1], [4, 0, 0, 0], [0, 2, 1, 1]], np.float32)
    (found,) = scores(metric, stored[None], None, weights)
    expected = values.mean(), values[0], (2 * values[1] + values[2] + values[3]) / 4
    assert found == pytest.approx(expected)
    assert compute_metrics([metric], stored, None) == {metric: pytest.approx(values.mean())}
    assert MEANS.keys() == {*metrics.MEANS}, "every one is here"


@pytest.mark.parametrize("texts", [33, 200, 1000])
@pytest.mark.parametrize("metric", MEANS)
def test_equal_models_have_equal_means(metric, texts):
    stored = np.random.default_rng(0).integers(0, 11, texts)
    found = scores(metric, np.stack([stored] * 7), None, bootstrap.weights(texts, 0))
    assert (found == found[0]).all()


def test_many_models_are_scored_in_parts():
    labels, predictions = np.array([0, 1, 1]), np.array([[0, 1, 1], [0, 0, 1]] * 200)
    found = scores("f1", predictions, labels, np.ones((1, 3), np.float32))[:, 0]
    assert found == pytest.approx([1.0, 2 / 3] * 200)


def test_the_interval_of_an_accuracy_agrees_with_scipy():
    hits = (np.random.default_rng(0).random(400) < 0.8).astype(int)
    draws = scores("accuracy", hits[None], np.ones(400, int), bootstrap.weights(400, 0))
    found = bootstrap.estimate(draws[0])
    theirs = stats.bootstrap((hits,), np.mean, method="percentile", random_state=0)
    assert found.value == hits.mean()
    # The standard error is 0.02; the ends of two bootstraps of 1,000 draws differ by a tenth of it.
    low, high = theirs.confidence_interval
    assert found[1:] == pytest.approx((low, high), abs=0.004)
    # An interval is unknown where a draw is.
    value, low, high = bootstrap.estimate(np.array([1.0, np.nan, 1.0]))
    assert value == 1 and np.isnan([low, high]).all()

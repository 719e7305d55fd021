"""The scores of outputs against numbers worked by hand, and against scipy."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from lotbench.kinds.kind import SplitScores
from lotbench.kinds.registry import KINDS
from lotbench.scoring import values as module
from lotbench.scoring.metrics import METRICS
from lotbench.scoring.predictions import decode, encode
from lotbench.scoring.values import cosines, first_relevant, found_at, ndcg, shared, tau_b


def split(**given: Any) -> Any:
    """A split with what is given."""
    fields = ("labels", "dense", "gold", "groups", "queries", "unlabelled")
    dense = given.get("dense")
    seeds = None if dense is None else np.arange(len(dense))
    return SimpleNamespace(**(dict.fromkeys(fields) | {"text_seed": seeds} | given))


def main(found: SplitScores) -> np.ndarray:
    """What the main score is made of."""
    return next(iter(found.values.values()))


def ranks(queries: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """The ranks of documents that are all different texts."""
    return found_at(queries, documents, np.arange(len(documents)))


def turned(*degrees: float) -> np.ndarray:
    """Vectors in the plane, of different lengths, at these angles."""
    angles = np.radians(degrees)
    lengths = np.linspace(1, 3, len(degrees))[:, None]
    return lengths * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_a_class_is_the_largest_logit():
    logits = np.array([[0.1, 2.0], [3.0, -1.0], [0.0, 1.0]])
    found = KINDS["classification"].score(
        ("accuracy", "f1"), split(labels=np.array([1, 0, 0])), logits
    )
    assert main(found).tolist() == [1, 0, 1]
    # Class 1: one hit, one wrong: 2 / (2 + 1).
    assert found.metrics == {"accuracy": pytest.approx(2 / 3), "f1": pytest.approx(2 / 3)}
    assert list(found.values) == ["accuracy"]


def test_a_value_is_scored_as_its_row_has_it():
    # The first two values differ in the eighth digit, so in a row they tie.
    values = np.array([[0.12345678], [0.12345681], [0.5]])
    labels = np.array([1.0, 0.0, 2.0], np.float32)
    found = KINDS["regression"].score(("spearman",), split(labels=labels), values)
    assert main(found).tolist() == [0.1234568, 0.1234568, 0.5]
    # Ranks 1.5 1.5 3 against 2 1 3: 1.5 / sqrt(1.5 * 2).
    assert found.metrics["spearman"] == pytest.approx(1.5 / np.sqrt(3))


def test_cosines():
    a = np.array([[3.0, 0.0], [1.0, 1.0], [0.0, 0.0], [-1.0, 0.0]])
    b = np.array([[0.5, 0.0], [2.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    # 1 / sqrt(2) = 0.70711
    assert cosines(a, b).tolist() == [1.0, 0.7071, 0.0, -1.0]


@pytest.mark.parametrize(
    ("queries", "documents", "expected"),
    [
        # Documents at 2, 8, 32 and 82.  The last query is nearest to another one.
        ((8, 8, 8, 0), (0, 10, 40, 90), [2, 1, 3, 4]),
        # Equally near documents come first.
        ((5, 5, 5, 5), (0, 0, 0, 90), [3, 3, 3, 4]),
        ([0] * 12, [0] * 12, [0] * 12),
        # Document i is the (i + 1)th nearest to a query at 0 degrees; the eleventh is not found.
        ([0] * 12, range(0, 60, 5), [*range(1, 11), 0, 0]),
    ],
)
def test_rank_of_the_right_document(queries, documents, expected):
    assert ranks(turned(*queries), turned(*documents)).tolist() == expected


def test_copies_of_the_right_document_count_as_it():
    """Two queries of one passage: neither is behind the other's copy."""
    documents = turned(10, 10, 40)
    assert found_at(turned(10, 12, 40), documents, np.array([7, 7, 8])).tolist() == [1, 1, 1]


def test_shared_neighbours():
    # Twelve texts on an arc of 55 degrees: each of the two ends misses the other end alone.
    dense = turned(*range(0, 60, 5))
    own = dense.copy()
    own[11] = turned(2)[0]  # the last text moves to the first end
    found = shared(own, dense)
    # Texts 0 and 4 had all but 11, now all but 10; text 11 had all but 0, now all but 10.
    # Text 6 is farthest from text 0 before and after.
    assert found[[0, 4, 11, 6]].tolist() == [9, 9, 9, 10]
    # Of equally near texts the first count: dense leaves out the farthest end.
    assert shared(np.ones((12, 2)), dense)[[0, 11]].tolist() == [10, 9]


def test_few_texts_have_all_others_as_neighbours():
    vectors = turned(0, 20, 80)
    found = KINDS["embedding"].score(("overlap",), split(dense=vectors), turned(5, 5, 90))
    assert main(found).tolist() == [2, 2, 2]
    assert found.metrics == {"overlap": 1.0}


@pytest.mark.parametrize("block", [1, 5, 64])
def test_blocks_change_nothing(block, monkeypatch):
    rng = np.random.default_rng(0)
    own, dense, queries = rng.normal(size=(3, 40, 8))
    expected = shared(own, dense), ranks(queries, own)
    monkeypatch.setattr(module, "BLOCK", block)
    assert np.array_equal(shared(own, dense), expected[0])
    assert np.array_equal(ranks(queries, own), expected[1])


def test_neighbours_against_a_sort():
    rng = np.random.default_rng(1)
    own, dense = rng.normal(size=(2, 50, 4))

    def nearest(vectors: np.ndarray, text: int) -> set[int]:
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        order = np.argsort(-(unit @ unit[text]))
        return {*order[order != text][:10].tolist()}

    expected = [len(nearest(own, i) & nearest(dense, i)) for i in range(50)]
    assert shared(own, dense).tolist() == expected


def test_embedding_with_queries():
    documents = turned(0, 10, 40)
    task = split(dense=documents, queries=split(dense=turned(0, 10, 12)))
    found = KINDS["embedding"].score(("mrr", "overlap", "cosine"), task, turned(0, 10, 100))
    # The third query finds its document behind the other two.
    assert main(found).tolist() == [1, 1, 3]
    assert {name: own.tolist() for name, own in [*found.values.items()][1:]} == {
        "overlap": [2, 2, 2],
        "cosine": [1.0, 1.0, 0.5],  # 60 degrees
    }
    expected = {"mrr": (1 + 1 + 1 / 3) / 3, "overlap": 1.0, "cosine": 2.5 / 3}
    assert found.metrics == pytest.approx(expected)
    assert list(found.metrics) == ["mrr", "overlap", "cosine"]
    # With `reduce: both` the queries have vectors of the model, too.
    both = KINDS["embedding"].score(("mrr",), task, turned(0, 10, 100), turned(0, 10, 100))
    assert main(both).tolist() == [1, 1, 1]


def test_scored_pairs():
    # Pairs at 0, 30 and 60 degrees.
    vectors = turned(0, 10, 20, 0, 40, 80)
    task = split(dense=vectors, gold=np.array([5.0, 1.0, 2.0], np.float32))
    found = KINDS["embedding"].score(("spearman", "cosine"), task, vectors)
    assert main(found).tolist() == [1.0, 0.866, 0.5]
    # Ranks 3 2 1 against 3 1 2.
    assert found.metrics == {"spearman": pytest.approx(0.5), "cosine": 1.0}
    assert found.values["cosine"].tolist() == [1.0] * 6


@pytest.mark.parametrize(
    ("scores", "relevance", "expected"),
    [
        # By score: relevance 0, 2, 1; best 2, 1, 0.
        ([0.1, 0.9, 0.5], [1, 0, 2], (2 / np.log2(3) + 1 / 2) / (2 + 1 / np.log2(3))),
        ([0.1, 0.9, 0.5], [1, 0, 2], 0.6696718),
        ([1, 1], [1, 0], 1 / np.log2(3)),  # of equal scores the irrelevant comes first
        ([2, 1], [0, 0], 0.0),
        ([*range(10, -1, -1)], [0] * 10 + [1], 0.0),  # eleventh
        ([*range(10, -1, -1)], [0] * 9 + [1, 0], 1 / np.log2(11)),
        ([*range(12)], [1] * 12, 1.0),
    ],
)
def test_ndcg_by_hand(scores, relevance, expected):
    assert ndcg(np.array(scores), np.array(relevance, float)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scores", "relevance", "rank"),
    [
        ([0.1, 0.9, 0.5], [0, 0, 1], 2),
        ([0.5, 0.5, 0.5], [0, 1, 0], 3),  # irrelevant ones that tie come first
        ([0.5, 0.5, 0.1], [1, 1, 0], 1),  # relevant ones that tie do not count
        ([1, 2, 3], [0, 0, 0], 0),
        ([*range(10, -1, -1)], [0] * 10 + [1], 0),
        ([*range(10, -1, -1)], [0] * 9 + [1, 1], 10),
    ],
)
def test_first_relevant_document(scores, relevance, rank):
    assert first_relevant(np.array(scores), np.array(relevance)) == rank


def test_tau_b_by_hand_and_against_scipy():
    # Of six pairs one ties in a, one in b; the others agree: 4 / sqrt(5 * 5).
    assert tau_b(np.array([1, 1, 2, 3]), np.array([1, 2, 3, 3])) == pytest.approx(4 / 5)
    assert tau_b(np.array([1, 2, 3]), np.array([3, 2, 1])) == -1
    assert tau_b(np.ones(4), np.arange(4)) == 0
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = rng.integers(0, 6, (2, 20))
        assert tau_b(a, b) == pytest.approx(kendalltau(a, b)[0])


def test_ranking_over_groups_in_any_order():
    # Group 0: rows 0, 2, 4; group 1: rows 1, 3.
    task = split(
        groups=np.array([0, 1, 0, 1, 0]),
        labels=np.array([0, 1, 1, 0, 0], np.float32),
        dense=np.array([3.0, 2.0, 2.0, 1.0, 1.0], np.float32),
    )
    outputs = np.array([[0.9], [0.1], [0.5], [0.7], [0.2]])
    found = KINDS["ranking"].score(("ndcg", "mrr", "agreement"), task, outputs)
    # In both groups the relevant document is second.
    assert main(found).tolist() == [0.6309, 0.6309]
    assert found.values["mrr"].tolist() == [2, 2]
    assert found.values["agreement"].tolist() == [1.0, -1.0]
    assert found.metrics == {"ndcg": 0.6309, "mrr": 0.5, "agreement": 0.0}


def test_what_is_scored_is_what_a_row_has():
    rng = np.random.default_rng(2)
    own, dense, queries = rng.normal(size=(3, 30, 5))
    task = split(dense=dense, queries=split(dense=queries))
    found = KINDS["embedding"].score(("mrr", "overlap", "cosine"), task, own)
    for values in found.values.values():
        classes = None if values.dtype.kind == "f" else 11
        assert np.array_equal(decode(encode(values, classes)), values)


def test_every_metric_has_a_kind():
    embedding = split(dense=np.eye(4), gold=np.array([0.0, 1.0]), queries=split(dense=np.eye(4)))
    ranking = split(groups=np.zeros(4), labels=np.eye(4)[0], dense=np.arange(4))
    vectors, pairs = ("mrr", "overlap", "cosine", "spearman"), ("ndcg", "mrr", "agreement")
    found = KINDS["embedding"].score(vectors, embedding, np.eye(4)).metrics
    found |= KINDS["ranking"].score(pairs, ranking, np.eye(4)).metrics
    classes = split(dense=np.array([[2.0, 1.0], [0.0, 1.0], [0.0, 3.0], [1.0, 0.0]]))
    own = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])  # all but the second
    found |= KINDS["classification"].score(("same_class",), classes, own).metrics
    assert found["same_class"] == 0.75
    places, answers = [np.array([[0, 3]])] * 4, [("two",)] * 4
    spans = split(texts=[("a", "two")] * 4, places=places, answers=answers, labels=np.zeros((4, 2)))
    found |= KINDS["span"].score(("token_f1", "exact_match"), spans, np.zeros((4, 2, 1))).metrics
    assert found["token_f1"] == found["exact_match"] == 1
    rest = {"accuracy", "f1", "matthews", "pearson"}
    assert found.keys() | rest == set(METRICS)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
@pytest.mark.slow
def test_dense_agrees_with_itself_in_any_order(seed, texts):
    rng = np.random.default_rng(seed)
    own, dense = rng.normal(size=(2, texts, 6))
    order = rng.permutation(texts)
    metrics = ("mrr", "overlap", "cosine")

    def values(vectors: np.ndarray, dense: np.ndarray) -> dict[str, np.ndarray]:
        found = KINDS["embedding"].score(
            metrics, split(dense=dense, queries=split(dense=dense)), vectors
        )
        return found.values

    same = values(dense * 3, dense)
    assert (same["mrr"] == 1).all() and (same["cosine"] == 1).all()
    assert (same["overlap"] == min(10, texts - 1)).all()
    moved = values(own[order], dense[order])
    assert all((each[order] == moved[name]).all() for name, each in values(own, dense).items())

"""Dense on fewer passages of each query, worked by hand."""

import numpy as np
import pytest
from splits import split_of

from lotbench.accelerate.candidates import change, fewest, first_scores
from lotbench.accelerate.first_stage import FirstStage
from lotbench.data.task import Task
from lotbench.kinds.ranking import RANKING

QUERIES = ["red fox", "blue sea"]
PASSAGES = [
    # Three words each, so a shared word counts with its rarity alone.  The right passage of the
    # first query shares none.
    ["a red fox", "the red house", "some grey fox", "the vulpes vulpes"],
    ["the blue sea", "some blue paint", "a white house", "a grey sand"],
]
DENSE = [[0, 1, 2, 3], [3, 2, 1, 0]]
RIGHT = [[0, 0, 0, 1], [1, 0, 0, 0]]


def task(queries: int) -> Task:
    texts = [(QUERIES[q], text) for q in range(queries) for text in PASSAGES[q]]
    own = split_of(
        [[1, 2]] * len(texts),
        np.ravel(RIGHT[:queries]).astype(np.float32),
        texts=texts,
        groups=np.arange(len(texts)) // 4,
        dense=np.ravel(DENSE[:queries]).astype(np.float32)[:, None],
    )
    return Task("t", 1, RANKING, ("mrr",), own, own, own, "f")


def test_rarer_shared_words_count_more():
    found = first_scores(task(2).validation.texts)
    # "red", "fox" and "blue" are in two of the eight passages, "sea" in one.
    two, one = np.log(1 + 6.5 / 2.5), np.log(1 + 7.5 / 1.5)
    assert found == pytest.approx([2 * two, two, two, 0, two + one, two, 0, 0])


def test_a_word_counts_less_each_time_and_in_a_long_passage():
    stage = FirstStage(["red", "red red fox", "a b c d e"])  # three words in the mean
    rarity = np.log(1 + 1.5 / 2.5)
    damp = [1.2 * (0.25 + 0.75 * words / 3) for words in (1, 3)]
    assert stage.scores("Red!") == pytest.approx(
        [rarity * 2.2 / (1 + damp[0]), rarity * 2 * 2.2 / (2 + damp[1]), 0]
    )
    assert stage.best("fox red", 2).tolist() == [1, 0]


def test_what_dense_does_not_read_stands_behind_in_the_order_of_the_first_stage():
    both = task(2)
    # Dense itself is right in both; without the last passage the first query has rank 4.
    assert change(both, both.validation, 1.0).value == 0
    assert change(both, both.validation, 0.75).value == pytest.approx(100 * (1.25 / 2 - 1))


def test_the_fewest_passages_within_the_drop_are_named():
    assert fewest(task(1), 1).startswith("none: dense on 3 of 4 passages")
    assert fewest(task(2), 40).startswith("dense on 1 of 4 passages")

"""The control window, against hand-computed numbers."""

import math

import pytest
import torch

from baselines.static import Static
from baselines.window import Window
from lotbench.batch import Batch
from lotbench.matching import Sides, in_first, smoothed, topk_of_sides
from lotbench.ragged import Ragged

PAIR = [1, 5, 6, 3, 7, 5, 8, 9, 3]
"""[CLS] 5 6 [SEP], then 7 5 8 9 [SEP]: word 5 stands in both texts."""
TYPES = [0, 0, 0, 0, 1, 1, 1, 1, 1]
FIRST, SECOND = [0, 2, 1, 3], [5, 4, 6, 8, 7]
"""By idf; and word 5, its neighbours, of equal ones the first, then by importance."""


def kept(encoder, batch, mode="packed") -> list[int]:
    """Rows that stay."""
    with torch.no_grad():
        (event,) = encoder(batch, mode).trace.events
    return event.decision.keep.nonzero().squeeze(1).tolist()


@pytest.fixture
def window(reduced):
    """An encoder whose words 5 and 6 are rare, with a match of one neighbour on either side."""
    encoder = reduced(Window, layers=2, neighbours=1)
    encoder.reducer.idf = torch.zeros(20)
    encoder.reducer.idf[[5, 6]] = torch.tensor([2.0, 3.0])
    encoder.reducer.importance = torch.ones(20)
    encoder.reducer.importance[3] = 1.1
    return encoder


def test_idf_counts_the_examples_that_have_a_word(reduced):
    batches = [Batch.from_ids([[1, 5, 5, 3], [1, 6, 3]]), Batch.from_ids([[1, 5, 3]])]
    for batch in batches:
        batch.saliency = torch.ones(batch.layout.total)
    reducer = reduced(Window).reducer
    reducer.before_training(iter(batches), torch.zeros(20, 4))
    # (1 + 3) / (1 + df): words 1 and 3 are in all three examples, 5 in two, 6 in one, 7 in none.
    wanted = [0, 0, math.log(4 / 3), math.log(2), math.log(4)]
    assert reducer.idf[[1, 3, 5, 6, 7]].tolist() == pytest.approx(wanted)
    alone = reduced(Static).reducer
    alone.before_training(iter(batches), torch.zeros(20, 4))
    assert reducer.importance.equal(alone.importance)


def test_a_word_is_in_the_first_text_of_its_own_pair_alone():
    """[CLS] 1 and [SEP] 3 are no words."""
    pairs = Batch.from_ids([[1, 5, 3, 6, 5, 1, 3], [1, 6, 3, 5, 6, 3]])
    assert in_first(pairs, Sides.of(pairs)).nonzero()[:, 0].tolist() == [4, 11]


def test_weights_fall_linearly_and_stay_in_their_text():
    weight = torch.tensor([0.0, 3.0, 0.0, 6.0, 0.0, 0.0, 0.0])
    # Shares 1, 2/3, 1/3.  The match of the first text, at its end, is not read in the second.
    wanted = [2, 5, 6, 7, 0, 0, 0]
    assert smoothed(weight, Ragged.from_lengths([4, 3]), 2).tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("types", [None, [TYPES]], ids=["separators", "token types"])
@pytest.mark.parametrize("mode", ["packed", "reference"])
def test_half_is_of_the_first_text_and_half_stands_near_matches(window, types, mode):
    for count, firsts in enumerate([1, 1, 1, 2, 2, 3, 3, 4, 4], start=1):
        with window.reducer.at_budget(count / 9):
            found = kept(window, Batch.from_ids([PAIR], types), mode)
        assert found == sorted(FIRST[:firsts] + SECOND[: count - firsts])


def test_a_first_text_takes_its_share_and_what_the_second_is_too_short_for():
    layout, second = Ragged.from_lengths([6, 4]), torch.tensor([0, 0, 0, 0, 1, 1, 0, 0, 0, 0]) > 0
    score = torch.arange(10.0)
    kept = topk_of_sides(score, second, torch.tensor([4, 3]), 0.3, layout)
    # One of 4 (1.2) would be the first text's, but the second has two; then a single text.
    assert kept.nonzero()[:, 0].tolist() == [2, 3, 4, 5, 7, 8, 9]
    kept = topk_of_sides(score, second, torch.tensor([3, 1]), 0.7, layout)
    assert kept.nonzero()[:, 0].tolist() == [2, 3, 5, 9]


def test_a_text_without_a_second_one_is_kept_as_by_static(window, reduced):
    alone, text = reduced(Static, layers=2), Batch.from_ids([[1, 7, 5, 8, 3]])
    for encoder in (window, alone):
        encoder.reducer.importance = torch.linspace(2, 0, 20)  # the lower the id, the more
    assert kept(window, text) == kept(alone, text) == [0, 2, 4]


def test_words_before_the_embedding_have_no_product(window):
    assert window(Batch.from_ids([PAIR])).trace.embedded.tolist() == [5]
    assert window.reducer.overhead_flops(-1, torch.tensor([9.0])) == 0

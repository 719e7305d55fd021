"""Similarity, matching and energy of ToMe and PiToMe, against hand-computed numbers."""

import math

import pytest
import torch

from baselines.tome import TokenMerging, energies, match, similarities
from lotbench.ragged import Ragged
from lotbench.reducer import Tokens

# Cosines of the tokens 1 to 5, of lengths 2, 10, 1, 5 and 5:
#         1     2     3     4     5
#   1     1    0.8   0   -0.6  -0.8
#   2          1    0.6   0    -0.28
#   3                1    0.8   0.6
#   4                      1    0.96
KEYS = torch.tensor([[-4.0, 3], [2, 0], [8, 6], [0, 1], [-3, 4], [-4, 3]]).double()


def tokens_of(batch, keys: torch.Tensor, rows: list[int] | None = None, **more) -> Tokens:
    """Tokens with these keys; ``rows`` are those that are left of the only text."""
    layout, at = batch.layout, batch.layout.rows
    if rows is not None:
        layout, at = Ragged.from_lengths([len(rows)]), torch.tensor(rows)
    return Tokens(torch.zeros(len(keys), 16), layout, at, batch, keys=keys, **more)


def test_the_most_similar_pairs_of_even_and_odd_places_merge():
    layout = Ragged.from_lengths([6])
    even = torch.tensor([0, 0, 1, 0, 1, 0]) > 0
    odd = torch.tensor([0, 1, 0, 1, 0, 1]) > 0
    similar = similarities(KEYS, layout)
    assert similar[0, 4, 1:].tolist() == pytest.approx([-0.6, 0, 0.8, 1, 0.96])
    # Token 2 is nearest to 1 (0.8), and 4 to 5 (0.96), which comes first.  [CLS] has the same key
    # as 5, but no part in it.
    for count, wanted in (
        (0, [0, 1, 2, 3, 4, 5]),
        (1, [0, 1, 2, 3, 5, 5]),
        (2, [0, 1, 1, 3, 5, 5]),
    ):
        assert match(similar, even, odd, torch.tensor([count]), layout).tolist() == wanted


@pytest.mark.parametrize(
    ("ratio", "wanted"),
    [
        (0.16, [0, 1, 2, 3, 4, 5]),  # 0.96 tokens
        (0.3, [0, 1, 2, 3, 5, 5]),  # 1.8
        (1.0, [0, 1, 1, 3, 5, 5]),  # 6, but at most half of the 5 that are not [CLS]
    ],
)
def test_the_ratio_is_rounded_down_and_at_most_half(reduced, batch, ratio, wanted):
    reducer = reduced(TokenMerging, layers=2, merge_ratio=ratio).reducer
    assert reducer.after_attention(0, tokens_of(batch([6]), KEYS), None).groups.tolist() == wanted


def test_a_share_is_of_the_whole_text_and_places_are_those_that_are_left(reduced, batch):
    reducer = reduced(TokenMerging, layers=2, merge_ratio=0.1).reducer
    # Six tokens are left of 20, of which 2 merge.
    tokens = tokens_of(batch([20]), KEYS, [0, 2, 4, 6, 8, 11])
    merge = reducer.after_attention(0, tokens, None)
    assert merge.groups.tolist() == [0, 1, 1, 3, 5, 5] and merge.proportional


def test_each_text_merges_its_own_tokens(reduced, batch):
    reducer = reduced(TokenMerging, layers=2, merge_ratio=0.34).reducer
    keys = torch.cat([KEYS[:3], KEYS[:2], KEYS, KEYS[:1]])
    # Of 3, 2, 6 and 1 tokens: 1.02, 0.68, 2.04 and 0.34.
    groups = reducer.after_attention(0, tokens_of(batch([3, 2, 6, 1]), keys), None).groups
    assert groups.tolist() == [0, 1, 1, 3, 4, 5, 6, 6, 8, 10, 10, 11]


def test_of_equal_tokens_the_earlier_is_taken(reduced, batch):
    reducer = reduced(TokenMerging, layers=2, merge_ratio=0.2).reducer
    keys = KEYS[[0, 1, 1, 1, 1, 1]] * (1 + 1e-12 * torch.arange(6).double()[:, None])
    groups = reducer.after_attention(0, tokens_of(batch([6]), keys), None).groups
    assert groups.tolist() == [0, 1, 1, 3, 4, 5]


@pytest.mark.parametrize("score", ["similarity", "energy"])
def test_protected_tokens_neither_merge_nor_take_others(reduced, batch, score):
    reducer = reduced(TokenMerging, layers=2, merge_ratio=1.0, score=score).reducer
    protected = torch.tensor([1, 1, 1, 1, 0, 0]) > 0
    groups = reducer.after_attention(
        1, tokens_of(batch([6]), KEYS, protected=protected), None
    ).groups
    # Of the two others one merges: token 4 at an even place, or of equal energies the earlier.
    assert groups.tolist() == [0, 1, 2, 3, 5, 5]


def test_energy_is_the_mean_of_cosines_and_a_bounded_penalty():
    layout = Ragged.from_lengths([5, 1])
    free = ~layout.is_first
    keys = torch.cat([KEYS[:5], KEYS[:1]])
    found = energies(similarities(keys, layout), free, layout, margin=0.45)
    # f(0.8) = 0.8, f(0.6) = 0.6, f(0) = exp(-0.45) - 1 = -0.362372,
    # f(-0.6) = exp(-1.05) - 1 = -0.650062.
    # Tokens 1 and 4: (0.8 - 0.362372 - 0.650062) / 3; tokens 2 and 3: (0.8 + 0.6 - 0.362372) / 3.
    low, high = -0.0708, 0.3459
    assert found[1:5].tolist() == pytest.approx([low, high, high, low], abs=1e-4)
    assert found[0] == found[5] == -math.inf


def test_tokens_of_high_energy_merge(reduced, batch):
    # Energies as above: margin 0.9 (1 - 1 / 2) = 0.45.  The order is 2, 3, 1, 4.
    reducer = reduced(TokenMerging, layers=2, merge_ratio=0.2, score="energy").reducer
    tokens = tokens_of(batch([5]), KEYS[:5])
    # 1 of 5: token 2 merges into 3, and 1 and 4 are protected.
    assert reducer.after_attention(1, tokens, None).groups.tolist() == [0, 1, 3, 3, 4]
    # 2 of 5: sources 2 and 1, targets 3 and 4.  Token 2 is nearest to 3 (0.6; 4 has 0), and 1 to 3
    # (0; 4 has -0.6).
    reducer.merge_ratio = 0.4
    assert reducer.after_attention(1, tokens, None).groups.tolist() == [0, 3, 3, 3, 4]


def test_the_margin_of_the_energy_falls_with_depth(reduced, batch):
    """Of six tokens one merges: that of the highest energy into that of the next.

    Layer 0 has the margin 0.9, above which only tokens 4 and 5 are (0.96).  The others have
    f = exp(x - 0.9) - 1: token 4 has (-0.777 - 0.593 - 0.095 + 0.96) / 4 = -0.13, token 5 -0.20,
    and token 3, whose f are -0.593, -0.259, -0.095 and -0.259, has -0.30.
    Layer 1 has 0.45, so that token 3 has (-0.362 + 0.6 + 0.8 + 0.6) / 4 = 0.41, token 4 0.19,
    token 2 0.13, and token 5 0.08.
    """
    reducer = reduced(TokenMerging, layers=2, merge_ratio=0.2, score="energy").reducer
    tokens = tokens_of(batch([6]), KEYS)
    merged = [reducer.after_attention(layer, tokens, None).groups.tolist() for layer in range(2)]
    assert merged == [[0, 1, 2, 3, 5, 5], [0, 1, 2, 4, 4, 5]]


def test_the_work_is_the_cosine_of_each_two_tokens(reduced, batch):
    encoder = reduced(TokenMerging, layers=2)
    with torch.no_grad():
        trace = encoder(batch([10])).trace
    # 1 of 10 merges in each layer; heads of width 8, 2 FLOPs per multiply-add.
    assert [count.item() for count in trace.feed_forward] == [9, 8]
    assert [count.item() for count in trace.keys] == [10, 9]
    assert encoder.reducer.overhead_flops(1, trace.shown[1]).item() == 2 * 8 * 9 * 9


def test_similarities_stay_in_float32_where_training_is_in_bfloat16():
    keys = torch.randn(6, 8)
    layout = Ragged.from_lengths([6])
    with torch.autocast("cpu", torch.bfloat16):
        found = similarities(keys, layout)
    assert found.dtype == torch.float32
    assert torch.equal(found, similarities(keys, layout))

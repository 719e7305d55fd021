"""Ragged batches, starting from the layout.

The running example is a batch of three sequences with 3, 1 and 2 tokens:

    row         0  1  2 | 3 | 4  5
    sequence    0  0  0 | 1 | 2  2
    position    0  1  2 | 0 | 0  1
"""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lotbench.ragged import (
    Ragged,
    pad,
    seeded_uniform,
    segment_count,
    segment_mean,
    segment_rank,
    segment_softmax,
    segment_sum,
    segment_topk,
    segment_weighted_sum,
    select,
    unpad,
)

EXAMPLE = Ragged.from_lengths([3, 1, 2])

lengths_strategy = st.lists(st.integers(0, 7), min_size=1, max_size=6)
filled_strategy = st.lists(st.integers(1, 7), min_size=1, max_size=6)


def rows_of(layout: Ragged) -> list[slice]:
    """The rows of each sequence, from the definition."""
    bounds = layout.cu_seqlens.tolist()
    return [slice(*pair) for pair in itertools.pairwise(bounds)]


def scores_for(layout: Ragged, seed: int, levels: int | None = None) -> Tensor:
    """Random scores; with ``levels`` only that many different values, so that many are equal."""
    generator = torch.Generator().manual_seed(seed)
    if levels:
        return torch.randint(0, levels, (layout.total,), generator=generator).double()
    return torch.randn(layout.total, generator=generator, dtype=torch.float64)


# The layout


def test_layout_of_the_example() -> None:
    assert EXAMPLE.cu_seqlens.tolist() == [0, 3, 4, 6]
    assert EXAMPLE.sizes == (3, 1, 2)
    assert (EXAMPLE.batch_size, EXAMPLE.total, EXAMPLE.max_length) == (3, 6, 3)
    assert EXAMPLE.lengths.tolist() == [3, 1, 2]
    assert EXAMPLE.sequence.tolist() == [0, 0, 0, 1, 2, 2]
    assert EXAMPLE.position.tolist() == [0, 1, 2, 0, 0, 1]
    assert EXAMPLE.is_first.tolist() == [True, False, False, True, True, False]
    assert Ragged.from_lengths([0, 2, 0, 1, 0]).is_first.tolist() == [True, False, True]
    assert EXAMPLE.first.tolist() == [0, 3, 4]
    assert not EXAMPLE.uniform


def test_layout_from_a_tensor_of_lengths() -> None:
    layout = Ragged.from_lengths(torch.tensor([3, 1, 2]))
    assert layout.sizes == EXAMPLE.sizes
    assert layout.cu_seqlens.equal(EXAMPLE.cu_seqlens)
    assert layout.cu_seqlens.dtype == torch.int64


def test_an_empty_sequence_owns_no_row() -> None:
    layout = Ragged.from_lengths([2, 0, 1])
    assert layout.sequence.tolist() == [0, 0, 2]
    assert layout.position.tolist() == [0, 1, 0]


def test_a_batch_may_be_empty() -> None:
    layout = Ragged.from_lengths([])
    assert (layout.batch_size, layout.total, layout.max_length) == (0, 0, 0)
    assert segment_sum(torch.zeros(0, 2), layout).shape == (0, 2)
    assert pad(torch.zeros(0, 2), layout).shape == (0, 0, 2)


def test_equal_lengths_are_uniform() -> None:
    assert Ragged.from_lengths([4, 4]).uniform
    assert Ragged.from_lengths([4]).uniform


def test_negative_length_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Ragged.from_lengths([3, -1])


# Segment operations


def test_sum_and_mean_of_the_example() -> None:
    values = torch.tensor([1.0, 2.0, 6.0, 5.0, 10.0, 20.0])
    # 1 + 2 + 6 = 9, 5, 10 + 20 = 30
    assert segment_sum(values, EXAMPLE).tolist() == [9, 5, 30]
    # 9 / 3, 5 / 1, 30 / 2
    assert segment_mean(values, EXAMPLE).tolist() == [3, 5, 15]


def test_sum_and_mean_of_an_empty_sequence_are_zero() -> None:
    layout = Ragged.from_lengths([2, 0])
    values = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    assert segment_sum(values, layout).tolist() == [[6, 10], [0, 0]]
    assert segment_mean(values, layout).tolist() == [[3, 5], [0, 0]]


@pytest.mark.parametrize("lengths", [[3, 2, 1], [2, 2]])
def test_a_mask_is_counted_whatever_the_lengths(lengths: list[int]) -> None:
    layout = Ragged.from_lengths(lengths)
    mask = torch.ones(layout.total, dtype=torch.bool)
    assert segment_sum(mask, layout).tolist() == lengths
    assert segment_mean(mask, layout).tolist() == [1] * len(lengths)


@pytest.mark.parametrize("lengths", [[600, 520], [560, 560]])
@pytest.mark.parametrize("width", [(), (3,)])
def test_sums_in_half_precision_do_not_end_at_256(lengths: list[int], width: tuple) -> None:
    layout = Ragged.from_lengths(lengths)
    ones = torch.ones(layout.total, *width, dtype=torch.bfloat16)
    # 256 + 1 is 256 in bfloat16; 520, 560 and 600 are exact.
    for total, wanted in zip(segment_sum(ones, layout), lengths, strict=True):
        assert (total == wanted).all()
    assert (segment_mean(ones, layout) == 1).all()


def test_weighted_sum_of_the_example() -> None:
    weight = torch.tensor([1.0, 0.0, 0.5, 2.0, 1.0, -1.0])
    values = torch.tensor([[1.0, 0], [2, 1], [6, 2], [5, 0], [10, 3], [20, 5]])
    # 1 + 0.5 * 6 = 4 and 0.5 * 2 = 1; 2 * 5 and 2 * 0; 10 - 20 and 3 - 5
    wanted = [[4, 1], [10, 0], [-10, -2]]
    assert segment_weighted_sum(weight, values, EXAMPLE).tolist() == wanted
    empty = segment_weighted_sum(torch.ones(2), values[:2], Ragged.from_lengths([0, 2, 0]))
    assert empty.tolist() == [[0, 0], [3, 1], [0, 0]]


def test_count_of_the_example() -> None:
    mask = torch.tensor([True, False, True, False, True, True])
    count = segment_count(mask, EXAMPLE)
    assert count.tolist() == [2, 0, 2]
    assert count.dtype == torch.int64


def test_softmax_of_the_example() -> None:
    # e^0 : e^(log 2) : e^(log 5) = 1 : 2 : 5, in eighths; alone: 1; equal scores: halves.
    scores = torch.tensor([1.0, 2.0, 5.0, 7.0, 3.0, 3.0]).double().log()
    expected = torch.tensor([1 / 8, 2 / 8, 5 / 8, 1, 1 / 2, 1 / 2]).double()
    torch.testing.assert_close(segment_softmax(scores, EXAMPLE), expected)


def test_softmax_does_not_overflow() -> None:
    scores = torch.tensor([1e4, 1e4, -1e4, -1e4])
    layout = Ragged.from_lengths([2, 2])
    assert segment_softmax(scores, layout).tolist() == [0.5, 0.5, 0.5, 0.5]


def test_rank_of_the_example() -> None:
    # 5 > 3 > 1; alone; a tie, where the earlier token wins.
    scores = torch.tensor([1.0, 5.0, 3.0, 9.0, 4.0, 4.0])
    assert segment_rank(scores, EXAMPLE).tolist() == [2, 0, 1, 0, 0, 1]


def test_topk_of_the_example() -> None:
    scores = torch.tensor([1.0, 5.0, 3.0, 9.0, 4.0, 4.0])
    chosen = segment_topk(scores, torch.tensor([2, 0, 1]), EXAMPLE)
    assert chosen.tolist() == [False, True, True, False, True, False]


def test_topk_of_more_than_there_are_takes_all() -> None:
    chosen = segment_topk(torch.zeros(6), torch.tensor([9, 9, 9]), EXAMPLE)
    assert chosen.all()


@given(lengths_strategy, st.integers(0, 99))
def test_segment_operations_equal_a_loop(lengths: list[int], seed: int) -> None:
    layout = Ragged.from_lengths(lengths)
    scores = scores_for(layout, seed)
    values = torch.stack([scores, 2 * scores + 1], dim=1)
    softmax = segment_softmax(scores, layout)
    for b, rows in enumerate(rows_of(layout)):
        part = values[rows]
        torch.testing.assert_close(segment_sum(values, layout)[b], part.sum(0))
        mean = part.mean(0) if len(part) else torch.zeros(2, dtype=torch.float64)
        torch.testing.assert_close(segment_mean(values, layout)[b], mean)
        torch.testing.assert_close(softmax[rows], scores[rows].softmax(0))


@given(lengths_strategy, st.integers(0, 99), st.integers(1, 4), st.integers(0, 8))
def test_rank_and_topk_equal_a_loop(lengths: list[int], seed: int, levels: int, k: int) -> None:
    layout = Ragged.from_lengths(lengths)
    scores = scores_for(layout, seed, levels)
    rank = segment_rank(scores, layout)
    chosen = segment_topk(scores, torch.full((len(lengths),), k), layout)
    for rows in rows_of(layout):
        part = scores[rows].tolist()
        order = sorted(range(len(part)), key=lambda i: (-part[i], i))
        assert [rank[rows][i].item() for i in order] == list(range(len(part)))
        assert chosen[rows].tolist() == [i in order[:k] for i in range(len(part))]


def test_segment_operations_have_the_right_gradients() -> None:
    values = torch.randn(6, dtype=torch.float64, requires_grad=True)
    for operation in (segment_sum, segment_mean, segment_softmax):
        for layout in (EXAMPLE, Ragged.from_lengths([3, 3])):
            assert torch.autograd.gradcheck(lambda v: operation(v, layout), (values,))  # noqa: B023
    weight = torch.randn(6, dtype=torch.float64, requires_grad=True)
    both = (weight, values.unsqueeze(1))
    assert torch.autograd.gradcheck(lambda w, v: segment_weighted_sum(w, v, EXAMPLE), both)


# Packing and padding


def test_select_of_the_example() -> None:
    keep = torch.tensor([True, False, True, True, False, True])
    rows, layout = select(keep, EXAMPLE)
    assert rows.tolist() == [0, 2, 3, 5]
    assert layout.sizes == (2, 1, 1)


def test_select_may_empty_a_sequence() -> None:
    rows, layout = select(torch.tensor([True, True, True, False, True, True]), EXAMPLE)
    assert rows.tolist() == [0, 1, 2, 4, 5]
    assert layout.sizes == (3, 0, 2)


def test_pad_of_the_example() -> None:
    values = torch.tensor([1, 2, 3, 4, 5, 6])
    padded = pad(values, EXAMPLE, fill=-1)
    assert padded.tolist() == [[1, 2, 3], [4, -1, -1], [5, 6, -1]]
    assert padded.dtype == values.dtype


def test_pad_copies_nothing_where_nothing_is_padded() -> None:
    values = torch.randn(6, 2)
    assert pad(values, Ragged.from_lengths([3, 3])).data_ptr() == values.data_ptr()


@given(lengths_strategy, st.integers(0, 99))
def test_unpad_inverts_pad(lengths: list[int], seed: int) -> None:
    layout = Ragged.from_lengths(lengths)
    values = scores_for(layout, seed)[:, None, None] * torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    padded = pad(values, layout, fill=torch.nan)
    assert padded.shape == (len(lengths), max(lengths), 2, 2)
    assert unpad(padded, layout).equal(values)
    # What is not a token is padding, and nothing else is.
    assert padded.isnan().any(-1).any(-1).sum() == len(lengths) * max(lengths) - sum(lengths)


@given(lengths_strategy, st.integers(0, 99), st.data())
def test_selected_rows_stay_in_order_and_with_their_sequence(
    lengths: list[int], seed: int, data: st.DataObject
) -> None:
    layout = Ragged.from_lengths(lengths)
    keep = torch.tensor(
        data.draw(st.lists(st.booleans(), min_size=layout.total, max_size=layout.total)),
        dtype=torch.bool,
    )
    rows, packed = select(keep, layout)
    values = scores_for(layout, seed)
    for whole, part in zip(rows_of(layout), rows_of(packed), strict=True):
        assert values[rows][part].equal(values[whole][keep[whole]])


# Seeded numbers


def test_seeded_uniform_is_fixed_for_all_time() -> None:
    # splitmix64 from seed 0 starts with these three outputs (the published test vector);
    # the number is the upper 53 bits as a fraction.
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    drawn = seeded_uniform(torch.tensor([0]), Ragged.from_lengths([3]))
    assert drawn.tolist() == [(value >> 11) * 2.0**-53 for value in published]


@given(filled_strategy, st.integers(-(2**63), 2**63 - 1))
def test_seeded_uniform_ignores_its_neighbours(lengths: list[int], seed: int) -> None:
    seeds = torch.arange(len(lengths)) * 31 + 5
    seeds[-1] = seed
    layout = Ragged.from_lengths(lengths)
    drawn = seeded_uniform(seeds, layout)
    assert ((drawn >= 0) & (drawn < 1)).all()
    for b, rows in enumerate(rows_of(layout)):
        alone = Ragged.from_lengths([lengths[b]])
        assert drawn[rows].equal(seeded_uniform(seeds[b : b + 1], alone))


def test_seeded_uniform_is_uniform_over_positions_and_seeds() -> None:
    drawn = seeded_uniform(torch.arange(200), Ragged.from_lengths([64] * 200))
    # 12,800 draws in 16 bins of 800: a bin's standard deviation is sqrt(800 * 15 / 16) = 27.
    counts = torch.histc(drawn, 16, 0, 1)
    assert (counts - 800).abs().max() < 5 * 27
    # A correlation of 12,800 pairs has standard deviation 1 / sqrt(12800) = 0.0088.
    for other in (drawn.roll(1), drawn.roll(64)):
        assert torch.corrcoef(torch.stack([drawn, other]))[0, 1].abs() < 5 * 0.0088


def test_seeded_uniform_depends_on_seed_and_position() -> None:
    drawn = seeded_uniform(torch.tensor([1, 2]), Ragged.from_lengths([50, 50]))
    assert drawn.unique().numel() == 100

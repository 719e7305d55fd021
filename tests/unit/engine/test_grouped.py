"""Attention of exported graphs, in eager mode: groups of padded texts give what `attend` gives."""

import pytest
import torch
from test_traced import traced
from torch import Tensor

from lotbench.engine.attention import Heads, attend, attend_and_receive
from lotbench.engine.grouped import attend_in_groups
from lotbench.engine.positions import Pairs
from lotbench.ragged import Ragged

BATCHES = [[4], [2, 5], [5, 1, 2], [3, 3, 3, 3], [1, 9, 2, 2, 7, 1, 3, 1, 1]]


def drawn(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("lengths", BATCHES, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_groups_give_what_plain_layouts_give(lengths, weighted):
    plain, layout, total = Ragged.from_lengths(lengths), traced(lengths), sum(lengths)
    query, key, value = drawn(3, total, 2, 4)
    weight = drawn(total) if weighted else None
    table = drawn(2, 20)

    def score(query: Tensor, key: Tensor) -> Tensor:
        return table[:, key[:, None] - query[:, :, None] + 9].transpose(0, 1)

    for pairs in (None, Pairs(score, plain.position, plain.position)):
        expected, wanted = attend_and_receive(
            query, key, value, plain, plain, weight, pairs, asking=query[:, 0, 0] > 0.3
        )
        heads, received = attend_in_groups(
            Heads(query, key, value, layout, layout, weight, pairs), True, query[:, 0, 0] > 0.3
        )
        assert received is not None
        for own, other in (
            (heads, expected),
            (received.mean, wanted.mean),
            (received.own, wanted.own),
        ):
            torch.testing.assert_close(own, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lengths", BATCHES, ids=str)
def test_a_context_is_a_key_of_its_own_text(lengths):
    plain, layout, count = Ragged.from_lengths(lengths), traced(lengths), len(lengths)
    present = torch.arange(count) % 2 == 0
    hidden, context, query = drawn(sum(lengths), 8), drawn(count, 8) + 1, drawn(sum(lengths), 2, 4)
    rows, keys = plain.append(hidden, context, present.tolist())
    expected = attend(query, rows.view(-1, 2, 4), rows.view(-1, 2, 4), plain, keys)
    for _ in range(2):  # in each layer the context is appended again
        own_rows, own_keys = layout.append(hidden, context, present)
        own = own_rows.view(-1, 2, 4)
        heads, received = attend_in_groups(Heads(query, own, own, layout, own_keys, None), False)
        assert received is None
        torch.testing.assert_close(heads, expected, rtol=0, atol=1e-12)


def test_keys_may_be_more_than_the_queries_of_a_text():
    few, many = [1, 2, 1, 4, 1], [6, 2, 3, 4, 9]
    query, key = drawn(sum(few), 2, 4), drawn(sum(many), 2, 4) - 0.5
    expected = attend(query, key, key, Ragged.from_lengths(few), Ragged.from_lengths(many))
    heads, _ = attend_in_groups(Heads(query, key, key, traced(few), traced(many), None), False)
    torch.testing.assert_close(heads, expected, rtol=0, atol=1e-12)


def test_long_texts_are_padded_apart():
    layout = traced([1, 9, 2, 2, 7, 1, 3, 1])
    assert [own.max_length for _, own in layout.parts] == [3, 9]
    assert [sorted(texts.tolist()) for texts, _ in layout.parts] == [[0, 2, 3, 5, 6, 7], [1, 4]]

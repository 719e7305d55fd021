"""Received attention, against hand-computed numbers and plain attention."""

import math

import pytest
import torch

from lotbench.engine.attention import attend_and_receive
from lotbench.ragged import Ragged


def column(*numbers: float) -> torch.Tensor:
    """Tokens of one head of width one."""
    return torch.tensor(numbers, dtype=torch.float64)[:, None, None]


# Scores of the first text are q k': rows (1, 0) times keys (0, ln 3).
#   query 0: exp (1, 3) -> (1/4, 3/4)      query 1: exp (1, 1) -> (1/2, 1/2)
# The second text is one token, which gives itself everything.
QUERY, KEY, VALUE = column(1, 0, 5), column(0, math.log(3), 2), column(8, 0, 7)
LAYOUT = Ragged.from_lengths([2, 1])


def test_received_is_the_mean_column_and_own_the_diagonal():
    heads, received = attend_and_receive(QUERY, KEY, VALUE, LAYOUT, LAYOUT)
    assert received.mean.tolist() == pytest.approx([3 / 8, 5 / 8, 1])
    assert received.own.tolist() == pytest.approx([1 / 4, 1 / 2, 1])
    assert heads.flatten().tolist() == pytest.approx([2, 4, 7])


def test_an_absent_token_neither_receives_nor_gives_attention():
    weight = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    _, received = attend_and_receive(QUERY, KEY, VALUE, LAYOUT, LAYOUT, weight)
    # Only query 0 votes, and only for key 0.
    assert received.mean.tolist() == pytest.approx([1, 0, 1])

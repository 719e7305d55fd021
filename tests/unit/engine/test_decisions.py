"""Decisions of wrong types and shapes are refused in both modes, with method and layer."""

import pytest
import torch
from scripted import Fixed, at

from lotbench.engine.encoder import ReducedEncoder
from lotbench.reducer import Drop, Leap, Merge


@pytest.mark.parametrize(
    ("decision", "complaint"),
    [
        (True, "returned bool; a Leap, a Drop, a Merge or None is needed"),
        (Merge(torch.ones(5) > 0), r"groups has shape \(5,\) and dtype torch.bool; .* int64 are"),
        (Drop(None), "keep is NoneType, not a tensor"),
        (
            Drop(torch.ones(4, dtype=torch.bool)),
            r"keep has shape \(4,\) .* \(T,\) = \(5,\) and bool",
        ),
        (Leap(torch.ones(5)), r"keep has shape \(5,\) and dtype torch.float32"),
        (Leap(torch.ones(5) > 0, weight=torch.ones(5) > 0), "weight has .* floating are needed"),
        (Leap(torch.ones(5) > 0, keys=torch.ones(5)), "keys has .* and bool are needed"),
        (Leap(torch.ones(5) > 0, keys=torch.ones(4) > 0), r"keys has shape \(4,\)"),
        (
            Leap(torch.ones(5) > 0, context=torch.ones(1, 32)),
            r"context has shape \(1, 32\) .* \(B, D\) = \(2, 32\) and floating",
        ),
    ],
)
def test_a_malformed_decision_is_a_clear_error(tiny, make_batch, mode, decision, complaint):
    encoder = ReducedEncoder(tiny, Fixed(3, at(1, lambda tokens: decision)))
    where = "method 'fixed': before_layer of layer 1: "
    with pytest.raises(ValueError, match=where + complaint):
        encoder(make_batch([3, 2]), mode)

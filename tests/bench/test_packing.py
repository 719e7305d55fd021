"""Packing and unpacking against a plain copy of all states, the minimum memory traffic."""

from __future__ import annotations

import pytest
import torch

from lotbench.ragged import Ragged, pad, select, unpad

RATIO = "copy of all states / operation"
WIDTH = 384
LAYOUTS = {
    "1 x 512": [512],
    "32 short": [*range(8, 40)],
    "16 x 512": [512] * 16,
    "32 long": [*range(128, 256, 4)],
}


@pytest.fixture(params=LAYOUTS)
def states(request):
    layout = Ragged.from_lengths(LAYOUTS[request.param])
    return request.param, layout, torch.randn(layout.total, WIDTH)


@pytest.mark.parametrize("keep", [0.1, 0.5])
@pytest.mark.parametrize("operation", ["select", "gather", "put back"])
def test_packing(compare, states, operation, keep):
    name, layout, hidden = states
    mask = (torch.rand(layout.total) < keep) | layout.is_first
    rows, _ = select(mask, layout)
    kept = hidden.index_select(0, rows)
    calls = {
        "select": lambda: select(mask, Ragged(layout.cu_seqlens, layout.sizes)),
        "gather": lambda: hidden.index_select(0, rows),
        "put back": lambda: hidden.index_copy_(0, rows, kept),
    }
    compare(f"{operation} {keep:.0%}, {name}", [hidden.clone], [calls[operation]])


def test_pad_and_unpad(compare, states):
    name, layout, hidden = states
    compare(f"pad and unpad, {name}", [hidden.clone], [lambda: unpad(pad(hidden, layout), layout)])

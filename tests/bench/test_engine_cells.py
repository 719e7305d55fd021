"""The packed engine against the physical limit.

The limit is the dense Hugging Face model fed sequences that are really as short as the kept
tokens; 1 means that packing is free.  With routers on, the limit also gets the routers' own time
on all tokens.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lotbench.engine.encoder import ReducedEncoder
from lotbench.lot import LeapOfThought
from lotbench.ragged import Ragged
from lotbench.reducer import Leap, Params, TokenReducer, Tokens

RATIO = "limit / packed"
TARGET = 0.90
KEEPS, BATCHES, LENGTHS = (0.1, 0.3, 0.5), (1, 16), (128, 512)
METHODS = {"no router": None, "router 32": 32, "router 256": 256}


class FixedLeap(TokenReducer):
    """Every layer computes the same number of randomly chosen tokens of each sequence."""

    masks: list[Tensor]

    def before_layer(self, layer: int, tokens: Tokens) -> Leap:
        return Leap(self.masks[layer])


class RoutedLeap(LeapOfThought):
    """Leap-of-Thought whose routers run in full, but whose decisions are the fixed ones."""

    masks: list[Tensor]

    def before_layer(self, layer: int, tokens: Tokens) -> Leap:
        decision = super().before_layer(layer, tokens)
        return Leap(self.masks[layer], aux=decision.aux)


def fixed_masks(keep: float, batch: int, length: int, layers: int) -> list[Tensor]:
    """Masks (T,) of every layer: the first token and random others, the same number in each."""
    generator = torch.Generator().manual_seed(0)
    count = round(keep * length)
    masks = []
    for _ in range(layers):
        score = torch.rand(batch, length, generator=generator)
        score[:, 0] = 2.0
        masks.append((score.argsort(1, descending=True).argsort(1) < count).flatten())
    return masks


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("method", METHODS)
def test_packed_engine_is_near_the_physical_limit(
    backbone, make_batch, compare, method, keep, batch, length
):
    layers, width = len(backbone.layers), METHODS[method]
    whole = make_batch([length] * batch)
    if width is None:
        reducer = FixedLeap(Params(), layers, backbone.width)
    else:  # no context token, since the limit has none
        params = LeapOfThought.Params(router_width=width, context_token=False)
        reducer = RoutedLeap(params, layers, backbone.width)
    reducer.masks = fixed_masks(keep, batch, length, layers)
    encoder = ReducedEncoder(backbone, reducer).eval()
    short = whole.input_ids.view(batch, length)[:, : round(keep * length)].contiguous()
    types = torch.zeros_like(short)
    hidden = torch.randn(batch * length, backbone.width)

    def packed():
        layout = Ragged(whole.layout.cu_seqlens, whole.layout.sizes)  # caches nothing yet
        return encoder(replace(whole, layout=layout)).logits

    def limit():
        return backbone.model(input_ids=short, token_type_ids=types).logits

    def routers():
        for router in getattr(reducer, "routers", ()):
            router(hidden, whole.layout)

    label = f"{method}, keep {keep:.0%}, {batch} x {length} tokens"
    assert compare(label, [limit, routers], [packed]) >= TARGET

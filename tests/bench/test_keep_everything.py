"""The engine with every token kept against the padded Hugging Face model.

On full-length inputs, which need neither padding nor a mask: what the engine itself costs.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lotbench.engine.encoder import ReducedEncoder
from lotbench.ragged import Ragged
from lotbench.reducer import Params, TokenReducer

RATIO = "padded SDPA / packed"
TARGET = 0.97


@pytest.mark.parametrize("length", [128, 256, 512])
@pytest.mark.parametrize("batch", [1, 16])
def test_keeping_everything_costs_nothing(backbone, make_batch, compare, batch, length):
    whole = make_batch([length] * batch)
    encoder = ReducedEncoder(
        backbone, TokenReducer(Params(), len(backbone.layers), backbone.width)
    ).eval()
    ids = whole.input_ids.view(batch, length)
    types = torch.zeros_like(ids)

    def packed():
        layout = Ragged(whole.layout.cu_seqlens, whole.layout.sizes)  # caches nothing yet
        return encoder(replace(whole, layout=layout)).logits

    def padded():
        return backbone.model(input_ids=ids, token_type_ids=types).logits

    rounds = 15 if batch == 1 else 7
    compare(f"{batch} x {length} tokens", [padded], [packed], rounds, TARGET)

"""Leap-of-Thought routers against the layer that each of them may save.

The ratio is how many times a router goes into its layer, the layer computing every token.
"""

from __future__ import annotations

import pytest
import torch

from lotbench.engine.attention import attend
from lotbench.ragged import Ragged
from lotbench.routers import Router

RATIO = "layer / router"


@pytest.mark.parametrize("lengths", [[27], [512], [*range(8, 40)], [512] * 16], ids=len)
@pytest.mark.parametrize("width", [16, 32, 256])
def test_router(backbone, compare, width, lengths):
    layout = Ragged.from_lengths(lengths)
    hidden = torch.randn(layout.total, backbone.width)
    router = Router(backbone.width, width, bias=2.0, context=True)
    layer = backbone.layers[0]

    def whole_layer():
        query, key, value = (
            project(hidden).unflatten(1, (backbone.heads, -1))
            for project in (layer.query, layer.key, layer.value)
        )
        heads = attend(query, key, value, layout, layout)
        return layer.feed_forward(layer.attention_output(heads.flatten(1), hidden))

    label = f"width {width}, {len(lengths)} texts, {layout.total} tokens"
    compare(label, [whole_layer], [lambda: router(hidden, layout)])

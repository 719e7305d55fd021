"""A small BERT with random weights, for tests that need a model but no language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lotbench.engine.backbone import Backbone
from lotbench.engine.pooling import Pooling

if TYPE_CHECKING:
    from transformers import BertForSequenceClassification

VOCABULARY, WIDTH, CLASSES = 200, 32, 3


def tiny_backbone(layers: int, **changes: Any) -> Backbone:
    """A float32 BERT of width 32; equal arguments give equal weights.

    ``changes`` are fields of its ``BertConfig`` with other values.
    """
    return Backbone(_tiny_bert(layers, **changes))


def pooled_backbone(layers: int) -> Backbone:
    """The same as an encoder of sentence vectors: the mean of the states, scaled to length 1."""
    pooling = Pooling(WIDTH, "mean", normalise=True)
    assert pooling.map is not None, "a mean has a map"
    generator = torch.Generator().manual_seed(1)
    nn.init.normal_(pooling.map.weight, std=0.3, generator=generator)  # zeros hide mistakes
    return Backbone(_tiny_bert(layers).bert, pooling)


def _tiny_bert(layers: int, **changes: Any) -> BertForSequenceClassification:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        num_hidden_layers=layers,
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
        # The usual 0.02 makes attention at this width almost uniform, which hides mistakes.
        initializer_range=0.3,
    )
    config.update({"num_labels": CLASSES} | changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = BertForSequenceClassification(config)
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "LayerNorm" in name:  # zeros and ones hide mistakes, too
                nn.init.normal_(parameter, mean=float("LayerNorm.weight" in name), std=0.3)
    return model

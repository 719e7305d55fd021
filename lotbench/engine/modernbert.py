"""The adapter of ModernBERT: pre-LayerNorm layers, rotary positions, local windows and GeGLU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lotbench.engine.adapter import Adapter, Layer
from lotbench.engine.positions import Rotary
from lotbench.ragged import Ragged


class ModernBertAdapter(Adapter):
    """ModernBERT.  Its head reads the state of [CLS], or the mean of the states."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.mean_head = model.config.classifier_pooling == "mean"

    def ffn_weights(self) -> int:
        return 3 * self.width * self.model.config.intermediate_size  # GeGLU has two inner parts

    def layers(self) -> list[Layer]:
        # One object for all layers of a kind, which share what it computes.
        rotary, window = self.encoder.rotary_emb, self.model.config.sliding_window
        of_kind = {
            kind: Rotary(partial(rotary, layer_type=kind), reach)
            for kind, reach in (("full_attention", None), ("sliding_attention", window))
        }
        return [self.layer(part, of_kind[part.attention_type]) for part in self.encoder.layers]

    def layer(self, layer: Any, position: Rotary) -> Layer:
        """The parts of a transformer layer."""
        heads = layer.attn
        # The norm is in each of the three: it takes 1% of a layer's time.
        query, key, value = (_Projection(layer.attn_norm, heads.Wqkv, part) for part in range(3))
        output = _Sum(nn.Sequential(heads.Wo, heads.out_drop))
        return Layer(query, key, value, output, _Forward(layer.mlp_norm, layer.mlp), position)

    def embed(
        self, input_ids: Tensor, token_type_ids: Tensor, layout: Ragged, at: Tensor | None = None
    ) -> Tensor:
        return self.encoder.embeddings(input_ids if at is None else input_ids[at])

    def last_norm(self, hidden: Tensor) -> Tensor:
        return self.encoder.final_norm(hidden)

    def classify(self, first: Tensor) -> Tensor:
        return self.model.classifier(self.model.drop(self.model.head(first)))

    def head_modules(self) -> list[nn.Module]:
        head = self.model.head
        return [head.dense, head.norm, self.model.classifier]


@dataclass(frozen=True)
class _Projection:
    """Queries, keys or values: a third of a joined linear layer behind a norm."""

    norm: nn.Module
    joined: nn.Linear
    part: int

    def __call__(self, x: Tensor) -> Tensor:
        width, bias = self.joined.in_features, self.joined.bias
        # A slice, and not a chunk, which an exported graph would cut each time that it runs.
        rows = slice(self.part * width, (self.part + 1) * width)
        return F.linear(
            self.norm(x), self.joined.weight[rows], None if bias is None else bias[rows]
        )


@dataclass(frozen=True)
class _Sum:
    output: Callable[[Tensor], Tensor]

    def __call__(self, heads: Tensor, residual: Tensor) -> Tensor:
        return residual + self.output(heads)


@dataclass(frozen=True)
class _Forward:
    norm: nn.Module
    inner: nn.Module

    def __call__(self, x: Tensor) -> Tensor:
        return x + self.inner(self.norm(x))

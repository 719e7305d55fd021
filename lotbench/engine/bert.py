"""The adapters of BERT and its family: post-LayerNorm layers and a table of positions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lotbench.engine.adapter import Adapter, Layer
from lotbench.engine.positions import RelativeBias
from lotbench.ragged import Ragged

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class BertAdapter(Adapter):
    """BERT and the models that share its layer (MiniLM)."""

    def ffn_weights(self) -> int:
        return 2 * self.width * self.model.config.intermediate_size

    def layers(self) -> list[Layer]:
        return [self.layer(part) for part in self.encoder.encoder.layer]

    def layer(self, layer: Any) -> Layer:
        """The parts of a transformer layer."""
        attention, inner = layer.attention.self, layer.intermediate
        forward = _FeedForward(inner.dense, inner.intermediate_act_fn, layer.output)
        return Layer(
            attention.query, attention.key, attention.value, layer.attention.output, forward
        )

    def embed(
        self, input_ids: Tensor, token_type_ids: Tensor, layout: Ragged, at: Tensor | None = None
    ) -> Tensor:
        parts = self.encoder.embeddings
        x = parts.word_embeddings(input_ids if at is None else input_ids[at])
        positions = parts.position_embeddings.weight[self.first_position :]
        types = getattr(parts, "token_type_embeddings", None)
        type_rows = positions.new_zeros(1, positions.shape[1]) if types is None else types.weight
        # A place and a type are summed first, in every branch, so that all round alike.
        if at is not None or layout.known_sizes is None or not _all_types_zero(token_type_ids):
            places, kinds = layout.position, token_type_ids
            if at is not None:
                places, kinds = places[at], kinds[at]
            count = len(type_rows)
            if at is not None and layout.known_sizes is not None:  # fewer rows than the tables
                kinds = kinds if count > 1 else torch.zeros_like(kinds)
                x += F.embedding(places, positions) + F.embedding(kinds, type_rows)
            else:  # in an exported graph the sum of the tables is a constant
                if layout.known_sizes is not None:
                    positions = positions[: layout.max_length]
                row = places * count + (kinds if count > 1 else 0)
                x += F.embedding(row, (positions[:, None] + type_rows).flatten(0, 1))
        else:
            positions = positions[: layout.max_length]
            positions = positions + type_rows[0]
            for part in x.split(layout.sizes):
                part += positions[: len(part)]
        x = parts.dropout(parts.LayerNorm(x))
        for projection in self.input_modules():
            x = projection(x)
        return x

    def classify(self, first: Tensor) -> Tensor:
        pooled = self.encoder.pooler(first[:, None])
        return self.model.classifier(self.model.dropout(pooled))

    def head_modules(self) -> list[nn.Linear]:
        return [self.encoder.pooler.dense, self.model.classifier]


class ElectraAdapter(BertAdapter):
    """ELECTRA: embeddings narrower than the model are projected to its width.

    The head has its own dense layer.
    """

    def classify(self, first: Tensor) -> Tensor:
        return self.model.classifier(first[:, None])

    def input_modules(self) -> list[nn.Linear]:
        projection = getattr(self.encoder, "embeddings_project", None)
        return [] if projection is None else [projection]

    def head_modules(self) -> list[nn.Linear]:
        return [self.model.classifier.dense, self.model.classifier.out_proj]


class RobertaAdapter(ElectraAdapter):
    """RoBERTa, XLM-RoBERTa and CamemBERT: positions start after the padding id.

    The head is that of ELECTRA; there is no projection.
    """

    @staticmethod
    def position_offset(config: PretrainedConfig) -> int:
        return config.pad_token_id + 1


class DistilBertAdapter(BertAdapter):
    """DistilBERT: no token types, and different module names."""

    def ffn_weights(self) -> int:
        return 2 * self.width * self.model.config.hidden_dim

    def layers(self) -> list[Layer]:
        return [self.layer(part) for part in self.encoder.transformer.layer]

    def layer(self, layer: Any) -> Layer:
        attention, ffn = layer.attention, layer.ffn
        output = _Residual(attention.out_lin, layer.sa_layer_norm)
        outer = _Residual(nn.Sequential(ffn.lin2, ffn.dropout), layer.output_layer_norm)
        forward = _FeedForward(ffn.lin1, ffn.activation, outer)
        return Layer(attention.q_lin, attention.k_lin, attention.v_lin, output, forward)

    def classify(self, first: Tensor) -> Tensor:
        pooled = self.model.pre_classifier(first).relu()
        return self.model.classifier(self.model.dropout(pooled))

    def head_modules(self) -> list[nn.Linear]:
        return [self.model.pre_classifier, self.model.classifier]


class MPNetAdapter(RobertaAdapter):
    """MPNet: RoBERTa's embedding and head, other module names, and relative positions besides."""

    @staticmethod
    def position_offset(config: PretrainedConfig) -> int:
        return 2  # transformers takes 1 for the padding id, whatever the configuration says

    def layers(self) -> list[Layer]:
        encoder, config = self.encoder.encoder, self.model.config
        longest = config.max_position_embeddings - self.first_position
        table, bucket = encoder.relative_attention_bias, encoder.relative_position_bucket
        bias = RelativeBias(table, bucket, longest)
        return [replace(layer, position=bias) for layer in super().layers()]

    def layer(self, layer: Any) -> Layer:
        attention, inner, heads = layer.attention, layer.intermediate, layer.attention.attn
        output = _Residual(nn.Sequential(heads.o, attention.dropout), attention.LayerNorm)
        forward = _FeedForward(inner.dense, inner.intermediate_act_fn, layer.output)
        return Layer(heads.q, heads.k, heads.v, output, forward)


def _all_types_zero(token_type_ids: Tensor) -> bool:
    """True if all token types are 0; False without a check where the check does not pay.

    It runs only on a CPU without gradients.  On a GPU it would wait for the device.  A compiler
    cannot follow it.  With gradients, `embed` could not write into views.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or not token_type_ids.is_cpu:
        return False
    return not token_type_ids.any()


@dataclass(frozen=True)
class _FeedForward:
    inner: nn.Module
    activation: Callable[[Tensor], Tensor]
    output: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        if getattr(self.activation, "act", None) is F.gelu and not torch.is_grad_enabled():
            torch.ops.aten.gelu_(y)  # in place, since this is the layer's widest tensor
        else:
            y = self.activation(y)
        return self.output(y, x)


@dataclass(frozen=True)
class _Residual:
    linear: nn.Module
    norm: nn.Module

    def __call__(self, heads: Tensor, residual: Tensor) -> Tensor:
        return self.norm(self.linear(heads) + residual)

"""Analytic FLOPs, from the trace of a forward pass.

Unit: floating-point operations, two per multiply-add, per example without padding.  Only matrix
products count: projections, attention, feed-forward, the method's own, pooler and classifier.
Element-wise operations, softmax, norms and embeddings do not count: so neither do the lookup and
addition of relative positions, and rotations.  A local window masks products that are computed, so
all keys count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from lotbench.batch import Batch
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.reducer import TokenReducer, Trace

# Element-wise operations that fvcore counts and this module does not.
UNCOUNTED = ("aten::layer_norm",)

# Products that fvcore counts as zero.
UNSEEN = {
    *("aten::gru", "aten::lstm", "aten::rnn_tanh", "aten::rnn_relu"),
    *("aten::addbmm", "aten::addmv", "aten::baddbmm", "aten::bilinear", "aten::cdist"),
    *("aten::inner", "aten::linalg_multi_dot", "aten::linalg_vecdot", "aten::tensordot"),
    *("aten::vdot", "aten::_native_multi_head_attention", "aten::_transformer_encoder_layer_fwd"),
}


def reduced_flops(trace: Trace, backbone: Backbone, reducer: TokenReducer) -> Tensor:
    """FLOPs of each sequence with a method, shape (B,), float64.

    Per layer, with q computed tokens, k keys and f tokens in the feed-forward:
    ``2 D^2 (2q + 2k) + 4 q k D + 2 f W``, with W weights in the matrices of the feed-forward, plus
    the method's own, and ``2 D^2`` once where the pooling maps tokens.
    """
    total = trace.read * head_flops(backbone) + trace.embedded.double() * input_flops(backbone)
    summarised = not reducer.active_layers and not backbone.spans
    if trace.decisions("before_embedding") or summarised:
        total = total + reducer.overhead_flops(-1, trace.lengths.double())
    if trace.mapped and backbone.pooling:
        total = total + backbone.pooling.map_flops()
    d, ffn = backbone.width, backbone.ffn_weights
    for layer in range(len(trace.queries)):
        q, k = trace.queries[layer].double(), trace.keys[layer].double()
        f = trace.feed_forward[layer].double()
        total = total + 4 * d * d * (q + k) + 4 * q * k * d + 2 * f * ffn
        total = total + reducer.overhead_flops(layer, trace.shown[layer].double())
    return total


def dense_flops(lengths: Tensor, backbone: Backbone) -> Tensor:
    """FLOPs of the dense model on sequences of these lengths, shape (B,), float64."""
    n, d = lengths.double(), backbone.width
    per_layer = 8 * n * d * d + 4 * n * n * d + 2 * n * backbone.ffn_weights
    head = head_flops(backbone) * (n if backbone.spans else 1)
    return len(backbone.layers) * per_layer + n * input_flops(backbone) + head


def input_flops(backbone: Backbone) -> float:
    """FLOPs before the first layer, per token: ELECTRA's projection of its embeddings."""
    return _linear_flops(backbone.input_modules)


def head_flops(backbone: Backbone) -> float:
    """FLOPs after the last layer (pooler and classifier; sentence vectors need none).

    Per text, or, of spans, per token.
    """
    return _linear_flops(backbone.head_modules)


def _linear_flops(modules: Sequence[nn.Module]) -> float:
    linear = [module for module in modules if isinstance(module, nn.Linear)]
    return float(sum(2 * m.in_features * m.out_features for m in linear))


def fvcore_flops(encoder: ReducedEncoder, batch: Batch) -> float:
    """FLOPs of the packed path on one example, counted by fvcore: multiply-adds times two.

    This is an independent count of the operations that run.  This function counts for fvcore what
    fvcore counts as zero (``scaled_dot_product_attention``, ``mv``, ``dot``) or cannot count
    (``matmul`` with a vector).
    """
    from fvcore.nn import FlopCountAnalysis

    if batch.layout.batch_size != 1:
        raise ValueError("fvcore traces one example at a time")
    count = FlopCountAnalysis(_Logits(encoder, batch), (batch.input_ids,))
    count.set_op_handle("aten::scaled_dot_product_attention", _attention_multiply_adds)
    for product in ("aten::matmul", "aten::mv", "aten::dot"):
        count.set_op_handle(product, _product_multiply_adds)
    count.set_op_handle(**dict.fromkeys(UNCOUNTED, lambda inputs, outputs: Counter()))
    count.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    count.tracer_warnings("none")
    with torch.no_grad():
        total = 2.0 * count.total()
    unseen = UNSEEN & count.unsupported_ops().keys()
    if unseen:
        raise ValueError(
            f"fvcore cannot count {', '.join(sorted(unseen))}; write it as products of matrices "
            "(nn.Linear, @)"
        )
    return total


class _Logits(nn.Module):
    """The packed path as a function of the token ids alone, which a tracer can follow."""

    def __init__(self, encoder: ReducedEncoder, batch: Batch) -> None:
        super().__init__()
        self.encoder, self.batch = encoder, batch

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.encoder(self.batch, mode="packed").logits


def _attention_multiply_adds(inputs: list, outputs: list) -> Counter:
    """Multiply-adds of ``QK^T`` and ``PV`` from the traced shapes ``(B, H, q, d)``."""
    query, key, value = (inputs[i].type().sizes() for i in range(3))
    pairs = query[0] * query[1] * query[2] * key[2]
    return Counter({"attention": pairs * (query[3] + value[3])})


def _product_multiply_adds(inputs: list, outputs: list) -> Counter:
    """Multiply-adds of a product of matrices or vectors: output size times inner size."""
    inner = inputs[0].type().sizes()[-1]
    return Counter({"product": prod(outputs[0].type().sizes()) * inner})

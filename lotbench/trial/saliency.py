"""Saliency of a split's tokens under a dense teacher, which routers learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lotbench.batch import Batch
from lotbench.data.batches import batches, collate
from lotbench.data.tokens import Split
from lotbench.engine.encoder import ReducedEncoder
from lotbench.reducer import Drop, Outputs, Params, TokenReducer, Tokens
from lotbench.trial.evaluate import BATCH_SIZE
from lotbench.trial.progress import post
from lotbench.trial.training import resolve_precision


class _Probe(TokenReducer):
    """Keeps everything and records the attention that each token receives."""

    needs = frozenset({"received_attention"})

    def after_attention(self, layer: int, tokens: Tokens, received: Any) -> Drop:
        keep = torch.ones_like(tokens.rows, dtype=torch.bool)
        return Drop(keep, aux={"received": received.mean})


def gradient_saliency(teacher: ReducedEncoder, split: Split) -> np.ndarray:
    """``sum_l || d logit_y / d h_l,i * h_l,i ||_2`` of every token (LoT, section 3.4).

    h_l are the inputs of the layers, y the gold label (the only logit for regression).  Of a
    sentence vector it is ``d (v . u)``, with v before it is normalised and u the direction of the
    text's own dense vector.  The cosine of both is at its largest, so its own gradient is zero.
    Of spans it is the sum of the log-probabilities of the likeliest start and the likeliest end.
    """

    def compute(batch: Batch) -> Tensor:
        outputs = teacher(batch, inputs=True)
        gradients = torch.autograd.grad(_answer(teacher, outputs, batch.labels), outputs.inputs)
        pairs = zip(gradients, outputs.inputs, strict=True)
        parts = [(g.float() * h.float()).norm(dim=1) for g, h in pairs]
        return torch.stack(parts).sum(0)

    return _per_token(teacher, split, compute)


def _answer(teacher: ReducedEncoder, outputs: Outputs, labels: Tensor) -> Tensor:
    """What saliency explains, summed over the texts: a logit, a span, or a vector along its own."""
    pooling = teacher.backbone.pooling
    if pooling is not None:
        vectors = pooling.pool(outputs.hidden, outputs.layout, outputs.behind)
        return (vectors * F.normalize(labels, dim=1)).sum()
    if teacher.backbone.spans:
        return outputs.logits.float().log_softmax(-1).amax(-1).sum()
    labels = labels.long() * 0 if labels.is_floating_point() else labels
    return outputs.logits.gather(1, labels[:, None]).sum()


def attention_saliency(teacher: ReducedEncoder, split: Split) -> np.ndarray:
    """Attention that each token receives, summed over the layers."""
    probe = _Probe(Params(), len(teacher.backbone.layers), teacher.backbone.width)
    probing = ReducedEncoder(teacher.backbone, probe).eval()

    @torch.no_grad()
    def compute(batch: Batch) -> Tensor:
        events = probing(batch).trace.decisions("after_attention")
        return torch.stack([event.decision.aux["received"] for event in events]).sum(0)

    return _per_token(teacher, split, compute)


SALIENCY = {"gradient": gradient_saliency, "attention": attention_saliency}
SALIENCIES = {"saliency": "gradient", "attention_saliency": "attention"}
"""The kind of saliency for each name in a method's ``needs``."""


def kind_in(needs: frozenset[str]) -> str | None:
    """The kind of saliency that a method needs; None for none."""
    return next((SALIENCIES[name] for name in SALIENCIES if name in needs), None)


def _per_token(
    encoder: ReducedEncoder, split: Split, compute: Callable[[Batch], Tensor]
) -> np.ndarray:
    device = next(encoder.parameters()).device
    # Only the order and the rough size of the values matter, and bf16 is far faster.
    precision = resolve_precision("auto", device)
    starts = np.concatenate([[0], np.cumsum(split.lengths)])
    out = np.zeros(starts[-1], dtype=np.float32)
    encoder.eval()
    for rows in in_batches("saliency", split):
        batch = collate(split, rows).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            values = compute(batch).detach().float().cpu().numpy()
        ends = np.cumsum(split.lengths[rows])
        for row, own in zip(rows, np.split(values, ends[:-1]), strict=True):
            out[starts[row] : starts[row + 1]] = own
    return out


def in_batches(what: str, split: Split) -> Iterator[np.ndarray]:
    """The batches of a split from the shortest example to the longest; reports progress."""
    found = batches(split, BATCH_SIZE, seed=None)
    for number, rows in enumerate(found, start=1):
        yield rows
        post(what, number, len(found))

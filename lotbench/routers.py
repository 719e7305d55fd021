"""The routers of Leap-of-Thought, their labels, and its context token; see `lotbench.lot`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lotbench.batch import Batch
from lotbench.ragged import (
    Ragged,
    in_parts,
    segment_count,
    segment_mean,
    segment_rank,
    segment_softmax,
    segment_sum,
    segment_weighted_sum,
)

PLACES = 512
"""Places with a bias of their own; later ones have that of the last."""
WORDS_AT_ONCE = 4096


class Router(nn.Module):
    """Logits (leap, process) of each token: ``W2 gelu(W1 LN(h_i + mean_j h_j))`` (section 3.2).

    The mean is detached.  A router that reads ``features`` numbers of each token (see
    `lotbench.matching`) adds a linear map of them to the logit to process, zero at first.
    """

    def __init__(
        self, width: int, hidden: int, bias: float, context: bool, features: int = 0
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, hidden)
        self.outer = nn.Linear(hidden, 2)
        nn.init.normal_(self.outer.weight, std=0.02)
        with torch.no_grad():
            self.outer.bias.copy_(torch.tensor([-bias, bias]))
        self.context = context
        self.match = nn.Parameter(torch.zeros(features)) if features else None

    def forward(self, hidden: Tensor, layout: Ragged) -> Tensor:
        """``(T, D) -> (T, 2)``."""
        mean = segment_mean(hidden.detach(), layout) if self.context else None

        def logits(x: Tensor, rows: slice) -> Tensor:
            if mean is not None and layout.batch_size > 1:
                x = mean.index_select(0, layout.sequence[rows]).add_(x)
            elif mean is not None:
                x = x + mean
            return self.scores(x)

        return in_parts(logits, hidden, layout)

    def with_match(self, logits: Tensor, row: Tensor) -> Tensor:
        """The logits (T, 2) with what the features ``row`` (T, F) add."""
        assert self.match is not None, "the router reads them"
        added = row.to(self.match.dtype) @ self.match
        return logits + F.pad(added.to(logits.dtype)[:, None], (1, 0))

    def scores(self, x: Tensor) -> Tensor:
        """The logits ``(T, 2)`` of the router's input ``(T, D)``."""
        return self.outer(F.gelu(self.inner(self.norm(x))))


def margins(routers: Sequence[Router], x: Tensor) -> Tensor:
    """The logit of ``P(process)`` by each of R routers without context, ``(T, D) -> (T, R)``.

    They share the normalisation and the products.
    """
    weights = torch.cat([router.inner.weight * router.norm.weight for router in routers])
    biases = torch.cat([router.inner(router.norm.bias) for router in routers])
    normed = F.layer_norm(x, x.shape[1:], eps=routers[0].norm.eps)
    hidden = F.gelu(F.linear(normed, weights, biases))
    outer = torch.block_diag(*[x.outer.weight[1:] - x.outer.weight[:1] for x in routers])
    return F.linear(hidden, outer, torch.cat([router.outer.bias.diff() for router in routers]))


class WordRouter(Router):
    """A router that reads a word's embedding and adds a bias for its place to the logit.

    Word embeddings that are narrower than the model (ELECTRA) are padded with zeros.  After
    training, ``table`` (V,) has the logit of ``P(process)`` of every word; it is empty before.
    """

    def __init__(self, width: int, hidden: int, bias: float, features: int = 0) -> None:
        super().__init__(width, hidden, bias, context=False, features=features)
        self.places = nn.Parameter(torch.zeros(PLACES))
        self.register_buffer("table", torch.zeros(0))

    def of_words(self, embeddings: Tensor) -> Tensor:
        """The logits ``(N, 2)`` of word embeddings ``(N, E)``, without their places."""
        return self.scores(F.pad(embeddings, (0, self.norm.weight.numel() - embeddings.shape[1])))

    def write_table(self, words: Tensor) -> None:
        """Write the table of all ``words`` (V, E)."""
        parts = [self.of_words(part) for part in words.split(WORDS_AT_ONCE)]
        self.table = torch.cat([part[:, 1] - part[:, 0] for part in parts])

    def bias(self, layout: Ragged) -> Tensor:
        """The bias of each token's place, shape (T,)."""
        return self.places[layout.position.clamp(max=PLACES - 1)]

    def looked_up(self, batch: Batch) -> Tensor:
        """The logits (T, 2) from the tables; those to leap are 0."""
        margin = self.table[batch.input_ids] + self.bias(batch.layout)
        return F.pad(margin[:, None], (1, 0))

    def computed(self, batch: Batch, words: Tensor) -> Tensor:
        """The logits (T, 2) from the word embeddings ``words`` (V, E), as in training."""
        logits = self.of_words(F.embedding(batch.input_ids, words))
        bias = self.bias(batch.layout)
        return logits + F.pad(bias[:, None], (1, 0))


def guidance_labels(
    saliency: Tensor,
    layout: Ragged,
    top_p: float,
    normalisation: str = "sum",
    length: int | None = None,
) -> Tensor:
    """Mask of the tokens that the routers should process, shape (T,), bool (section 3.4).

    It has the tokens of highest saliency, as many as keep the cumulative share below ``top_p``, but
    at least one.  [CLS] is never in it: it has no share, and is processed without a label.  A share
    is the saliency over its "sum", or the "softmax" of the raw values, over the text padded to a
    ``length`` if one is given: padding has a saliency of 0 and takes a share.
    """
    saliency = saliency.double().masked_fill(layout.is_first, -torch.inf)
    if normalisation == "softmax":
        share = segment_softmax(saliency, layout).nan_to_num(0.0)
        if length is not None:
            padding = (length - layout.lengths).clamp(min=0)  # exp(0) each
            total = segment_sum(saliency.exp(), layout).clamp(min=1e-300)
            share = share / (1 + padding / total)[layout.sequence]
    else:
        # The tiny addend gives equal shares to a text whose saliency is all zero.
        share = (saliency.clamp(min=0) + 1e-300).masked_fill(layout.is_first, 0.0)
        share = share / segment_sum(share, layout).clamp(min=1e-300)[layout.sequence]
    rank = segment_rank(saliency, layout)
    slot = layout.cu_seqlens[layout.sequence] + rank
    ranked = torch.zeros_like(share).index_copy(0, slot, share).cumsum(0)
    before = torch.cat([ranked.new_zeros(1), ranked])[layout.cu_seqlens[layout.sequence]]
    cumulative = ranked[slot] - before
    # Rounding must not decide whether a share that is exactly top_p stays below it.
    return ((cumulative < top_p - 1e-9) | (rank == 0)) & ~layout.is_first


def mean_leaping(hidden: Tensor, keep: Tensor, layout: Ragged) -> Tensor:
    """The context token: mean state of the leaping tokens, ``(T, D) -> (B, D)``; 0 if none."""
    leaps = ~keep
    count = segment_count(leaps, layout).clamp(min=1)
    total = segment_weighted_sum(leaps.to(hidden.dtype), hidden, layout)
    return total / count.unsqueeze(1)

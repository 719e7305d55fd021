"""Ideas for Leap-of-Thought, tried with a fixed budget; see `ideas.yaml`.

``reads: neighbours``
    A depthwise convolution over five tokens is added to what the router reads.
``reads: attention``
    The logarithm of the attention that a token receives, in one head of the router's own, is added
    to its score.  Attention saliency sums the same over all heads of the teacher.
``reads: occurrence``
    What is learned for the first, second and later occurrences of a word in its text is added to
    what the router reads.
``reads: word``
    The logarithm of the importance that `static` gives the word, times a learned factor that begins
    at 1, is added to the score.
``labels: shares``
    The router's softmax over a text learns how saliency is shared in it, instead of which tokens
    hold the share ``top_p``.
``labels: order``
    Of each two tokens of a text, the router learns which is the more salient (RankNet; Burges et
    al., ICML 2005).
``labels: smooth``
    A token's saliency gets half of that of each of its two neighbours before the labels are made,
    so that tokens stay in spans, such as a word with its negation.
``labels: subsets``
    Saliency is what a token is worth among few.  The teacher reads 64 random subsets of each text,
    each with a share ``keep_ratio`` of its tokens.  The saliency of a token is the mean logarithm
    of the label's probability in the subsets that have it, minus the mean in those that have not.
``share: shrinks``
    In training the share of tokens that layers process begins at 1 and shrinks by equal factors;
    it reaches ``keep_ratio`` after half of the steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from baselines import static
from lotbench import lot, reducer
from lotbench.batch import Batch
from lotbench.losses import task_loss
from lotbench.ragged import (
    Ragged,
    pad,
    segment_softmax,
    segment_sum,
    segment_topk,
    unpad,
)
from lotbench.reducer import Decision, Drop, Encoder, Step, TokenReducer, Tokens, Trace
from lotbench.routers import Router

NEAR, HEAD, TIMES = 5, 64, 8
"""Tokens of the convolution, width of the head, and occurrences that are told apart."""
SUBSETS, AT_ONCE = 64, 8
"""Random subsets of each text, and how many of them the teacher reads in one pass."""


class Neighbours(Router):
    """A router that reads the tokens beside its own as well."""

    def __init__(self, width: int, hidden: int, bias: float, context: bool) -> None:
        super().__init__(width, hidden, bias, context)
        self.near = nn.Conv1d(width, width, NEAR, padding=NEAR // 2, groups=width, bias=False)

    def forward(self, hidden: Tensor, layout: Ragged) -> Tensor:
        near = self.near(pad(hidden, layout).transpose(1, 2)).transpose(1, 2)
        return super().forward(hidden + unpad(near, layout), layout)


class Attention(Router):
    """A router that adds what a token receives in a head of its own, 1 in the mean of a text."""

    def __init__(self, width: int, hidden: int, bias: float, context: bool) -> None:
        super().__init__(width, hidden, bias, context)
        self.before = nn.LayerNorm(width)
        self.query, self.key = nn.Linear(width, HEAD), nn.Linear(width, HEAD)

    def forward(self, hidden: Tensor, layout: Ragged) -> Tensor:
        states = self.before(hidden)
        query, key = (pad(own(states), layout).float() for own in (self.query, self.key))
        here = pad(torch.ones_like(layout.sequence), layout) > 0
        scores = query @ key.transpose(1, 2) / HEAD**0.5
        shares = scores.masked_fill(~here[:, None, :], -torch.inf).softmax(dim=-1)
        received = unpad((shares * here[:, :, None]).sum(dim=1), layout)
        margin = received.clamp(min=1e-6).log()
        return super().forward(hidden, layout) + F.pad(margin[:, None], (1, 0))


class OfIds(Router):
    """A router that knows the word of a token."""

    ids: Tensor
    """Of the tokens that it is to decide on, shape (T,)."""


class Word(OfIds):
    """A router that knows how salient a word is in the mean of the training texts."""

    importance: Tensor
    """Its logarithm for each vocabulary id, shape (V,); empty before training."""

    def __init__(self, width: int, hidden: int, bias: float, context: bool) -> None:
        super().__init__(width, hidden, bias, context)
        self.register_buffer("importance", torch.zeros(0))
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, hidden: Tensor, layout: Ragged) -> Tensor:
        margin = self.factor * self.importance[self.ids]
        return super().forward(hidden, layout) + F.pad(margin[:, None], (1, 0))


class Occurrence(OfIds):
    """A router that knows which occurrence of its word in the text a token is."""

    def __init__(self, width: int, hidden: int, bias: float, context: bool) -> None:
        super().__init__(width, hidden, bias, context)
        self.times = nn.Embedding(TIMES, width)
        nn.init.zeros_(self.times.weight)

    def forward(self, hidden: Tensor, layout: Ragged) -> Tensor:
        return super().forward(hidden + self.times(occurrence(self.ids, layout)), layout)


def occurrence(ids: Tensor, layout: Ragged) -> Tensor:
    """How often each token's id was in its text before, at most ``TIMES - 1``, shape (T,)."""
    words = layout.sequence * (int(ids.max()) + 1) + ids
    ordered, order = words.sort(stable=True)
    before = torch.arange(len(ids), device=ids.device) - torch.searchsorted(ordered, ordered)
    return torch.empty_like(ids).index_copy_(0, order, before).clamp(max=TIMES - 1)


def smoothed(saliency: Tensor, layout: Ragged) -> Tensor:
    """Each token's saliency and half of that of its neighbours, shape (T,).

    [CLS] gives none, and it stands between two texts, so nothing passes from one to the other.
    """
    values = saliency.clamp(min=0).masked_fill(layout.is_first, 0)
    beside = F.pad(values[:-1], (1, 0)) + F.pad(values[1:], (0, 1))
    return values + beside / 2


class Subset(TokenReducer):
    """Keeps [CLS] and random tokens, as many as ``keep_ratio`` asks for, before the embedding."""

    name = "subset"

    def __init__(self, keep_ratio: float, generator: torch.Generator, like: TokenReducer) -> None:
        super().__init__(reducer.Params(), like.n_layers, like.width)
        self.keep_ratio, self.generator = keep_ratio, generator

    def before_embedding(self, batch: Batch, words: Tensor) -> Drop:
        layout = batch.layout
        score = torch.rand(layout.total, generator=self.generator).to(words.device)
        count = layout.share(self.keep_ratio)
        drop = Drop(segment_topk(score.masked_fill(layout.is_first, 2), count, layout))
        self.kept = drop.keep
        return drop


@torch.no_grad()
def subset_saliency(teacher: Any, batch: Batch, subset: Subset) -> Tensor:
    """What each token is worth among few others, shape (T,), float32; see ``labels: subsets``.

    The difference of the two means is the slope of the regression on the token alone.  It is 0 for
    a token that is in all subsets or in none.
    """
    kept, scores = [], []
    many = batch.repeat(AT_ONCE)
    for _ in range(SUBSETS // AT_ONCE):
        logits = teacher(many, reducer=subset).logits
        scores.append(-task_loss(logits, many.labels, reduction="none").reshape(AT_ONCE, -1))
        kept.append(subset.kept.reshape(AT_ONCE, -1).float())
    inside, score = torch.cat(kept), torch.cat(scores)[:, batch.layout.sequence]
    count = inside.sum(dim=0)
    found = (inside * score).sum(dim=0) / count.clamp(min=1)
    missed = ((1 - inside) * score).sum(dim=0) / (SUBSETS - count).clamp(min=1)
    return (found - missed).masked_fill((count == 0) | (count == SUBSETS), 0.0)


def share_loss(margin: Tensor, saliency: Tensor, layout: Ragged) -> Tensor:
    """Divergence of the softmax of ``margin`` from the shares of ``saliency``, both (T,)."""
    wanted = saliency.masked_fill(layout.is_first, 0)
    wanted = wanted / segment_sum(wanted, layout).clamp(min=1e-300)[layout.sequence]
    found = segment_softmax(margin.masked_fill(layout.is_first, -1e9), layout)
    logarithm = (wanted.clamp(min=1e-12) / found.clamp(min=1e-12)).log()
    return (wanted * logarithm).sum() / layout.batch_size


def order_loss(margin: Tensor, saliency: Tensor, layout: Ragged) -> Tensor:
    """``log(1 + exp(less - more))`` of the margins, (T,), of two tokens of unequal saliency.

    It is the mean over the pairs of a text, and then over the texts.  [CLS] is in no pair.
    """
    scores, wanted = pad(margin, layout), pad(saliency, layout)
    here = pad((~layout.is_first).long(), layout) > 0
    pairs = (wanted[:, :, None] > wanted[:, None, :]) & here[:, :, None] & here[:, None, :]
    losses = F.softplus(scores[:, None, :] - scores[:, :, None]) * pairs
    return (losses.sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).clamp(min=1)).mean()


ROUTERS = {
    "token": Router,
    "neighbours": Neighbours,
    "attention": Attention,
    "occurrence": Occurrence,
    "word": Word,
}
LOSSES = {"shares": share_loss, "order": order_loss}


class Params(lot.FixedBudgetParams):
    """Hyper-parameters."""

    reads: Literal["token", "neighbours", "attention", "occurrence", "word"] = Field(
        "token", description="what the router reads beside the mean of the text"
    )
    labels: Literal["top", "shares", "order", "smooth", "subsets"] = Field(
        "top", description="what the router learns"
    )
    share: Literal["fixed", "shrinks"] = Field(
        "fixed", description="the share of tokens that layers process in training"
    )


class LotIdeas(lot.FixedBudget):
    """`FixedBudget` with another router, or other labels."""

    params: Params
    name = "lot-ideas"
    version = 1
    source = "ours"

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        sizes = width, params.router_width, params.router_bias, params.router_context
        self.routers = nn.ModuleList(ROUTERS[params.reads](*sizes) for _ in self.routers)
        self.teacher: list[Any] = []  # in a list it is no part of the model, and is not saved
        self.found: dict[int, Tensor] = {}  # saliency from subsets, by the text's row

    def before_training(self, batches: Iterable[Batch], words: Tensor) -> None:
        if self.params.reads == "word":
            lookup = static.Static(static.Params.model_validate({}), self.n_layers, self.width)
            lookup.before_training(batches, words)
            for router in self.routers:
                router.importance = lookup.importance.log()

    def after_training(self, words: Tensor) -> None:
        self.teacher.clear()
        self.found.clear()
        super().after_training(words)

    def before_layer(self, layer: int, tokens: Tokens) -> Decision | None:
        for router in self.routers:
            if isinstance(router, OfIds):
                router.ids = tokens.batch.input_ids[tokens.rows]
        return super().before_layer(layer, tokens)

    def training_step(self, encoder: Encoder, batch: Batch, step: Step) -> None:
        if self.params.share == "shrinks":
            self.keep_ratio = self.params.keep_ratio ** min(1.0, 2 * step.progress)
        if self.params.labels == "subsets":
            self._measure(encoder, batch, step.generator)

    def _measure(self, encoder: Encoder, batch: Batch, generator: torch.Generator) -> None:
        """Take the saliency of texts that are met for the first time, by a copy of the teacher.

        With ``init: teacher``, the default, the encoder is the teacher before the first step.
        """
        if not self.teacher:
            self.teacher.append(deepcopy(encoder).train(False))
        rows = batch.index.tolist()
        if not self.found.keys() >= set(rows):
            subset = Subset(self.params.keep_ratio, generator, self)
            saliency = subset_saliency(self.teacher[0], batch, subset)
            self.found |= zip(rows, saliency.split(batch.layout.lengths.tolist()), strict=True)

    def _guidance(self, batch: Batch, trace: Trace) -> Tensor:
        if self.params.labels == "top":
            return super()._guidance(batch, trace)
        assert batch.saliency is not None, "in needs"
        if self.params.labels == "smooth":
            smooth = replace(batch, saliency=smoothed(batch.saliency, batch.layout))
            return super()._guidance(smooth, trace)
        if self.params.labels == "subsets":
            found = torch.cat([self.found[row] for row in batch.index.tolist()])
            return super()._guidance(replace(batch, saliency=found), trace)
        losses = []
        for event in trace.events:
            if "logits" in event.decision.aux:
                logits = event.decision.aux["logits"].double()
                saliency = batch.saliency[event.rows].double().clamp(min=0)
                loss = LOSSES[self.params.labels]
                losses.append(loss(logits[:, 1] - logits[:, 0], saliency, event.layout))
        return torch.stack(losses).mean().float()

    def overhead_flops(self, layer: int, n_tokens: Tensor) -> Tensor | float:
        known = super().overhead_flops(layer, n_tokens)
        if layer % self.params.decision_every or self.params.reads == "token":
            return known
        if self.params.reads == "occurrence":
            return known + n_tokens * self.width
        if self.params.reads == "word":
            return known + n_tokens * 2
        if self.params.reads == "neighbours":
            return known + n_tokens * 2 * NEAR * self.width
        return known + n_tokens * 4 * HEAD * self.width + n_tokens**2 * 2 * HEAD

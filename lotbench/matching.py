"""How well the words of a second text match the first, and the tables that words are looked up in.

The row of a token of the second text has, in this order,

- 0; it is 1 for tokens of the first text, whose other numbers are 0
- 1 if its word stands in the first text, else 0
- the ``idf`` of its word, see `Idf`
- the ``idf`` of the words around it that stand in both texts, `smoothed` over 6 neighbours
- the share of the second text that stands before it
- ten times the highest cosine of its state to that of a word of the first text, so that it varies
  as much as the others
- the mean of these over 5 neighbours of the second text, the farther the less

[CLS] and separators are no words of the first text.  A text without a second one has rows of zeros.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lotbench.batch import Batch
from lotbench.ragged import Ragged, segment_count, segment_sum, segment_topk, unpad

OF_WORDS, OF_STATES = 5, 2
"""Numbers of a row that the words alone tell, and those that need states."""

BALANCES = ((0.0, 0.0), (0.75, 100.0))
"""The words alone, and mostly matches, as `baselines.window`: what a match counts beside a router's
own score, and what tokens of a first text have on top.  Finer steps differ by too little to tell.
"""


class Idf:
    """Counts, for each of the V words of the vocabulary, the examples that have it."""

    def __init__(self, words: Tensor) -> None:
        self.having = words.new_zeros(len(words), dtype=torch.float64)
        self.examples = 0

    def count(self, batch: Batch) -> Batch:
        """Count the examples of a batch, and return it."""
        size = len(self.having)
        once = (batch.layout.sequence * size + batch.input_ids).unique() % size
        self.having.index_add_(0, once, self.having.new_ones(once.shape))
        self.examples += batch.layout.batch_size
        return batch

    def table(self) -> Tensor:
        """``ln((1 + N) / (1 + df))`` of each word, which df of N examples have, shape (V,)."""
        return ((1 + self.examples) / (1 + self.having)).log().float()


class Shares:
    """Counts the mean saliency of each of the V words of the vocabulary, relative to its text's.

    The fewer tokens a word has, the nearer its mean is to 1, that of all: ``shrinkage`` tokens of
    importance 1 are added to each.
    """

    def __init__(self, words: Tensor, shrinkage: float = 5.0) -> None:
        self.total = words.new_full((len(words),), shrinkage, dtype=torch.float64)
        self.tokens = self.total.clone()

    def count(self, batch: Batch) -> Batch:
        """Count the tokens of a batch with saliency, and return it."""
        ids, shares = relative_saliency(batch)
        self.total.index_add_(0, ids, shares)
        self.tokens.index_add_(0, ids, torch.ones_like(shares))
        return batch

    def table(self) -> Tensor:
        """The importance of each word, shape (V,); 1 where nothing was counted."""
        return torch.where(self.tokens > 0, self.total / self.tokens, 1.0).float()


def relative_saliency(batch: Batch) -> tuple[Tensor, Tensor]:
    """Ids and saliency over the mean of its text, of all tokens but the first, each shape (K,)."""
    layout, saliency = batch.layout, batch.saliency
    assert saliency is not None, "in needs"
    rest = ~layout.is_first
    saliency = saliency.double().masked_fill(~rest, 0.0)  # [CLS] has no share
    mean = segment_sum(saliency, layout) / (layout.lengths - 1).clamp(min=1)
    share = saliency / mean.clamp(min=1e-300)[layout.sequence]
    return batch.input_ids[rest], share[rest]


def looked_up(table: Tensor, ids: Tensor) -> Tensor:
    """The entry (T,) of each id in a table (V,); ones from the empty table before training."""
    return table[ids] if len(table) else table.new_ones(ids.shape)


class Sides(NamedTuple):
    """Where the two texts of pairs are, each shape (T,), bool.

    ``words`` is true for words of the first text, ``second`` for all tokens of the second.
    """

    words: Tensor
    second: Tensor

    @staticmethod
    def of(batch: Batch) -> Sides:
        """The sides of a batch."""
        second = batch.text_of_token > 0
        return Sides(~(second | batch.layout.is_first | batch.is_separator), second)

    def at(self, rows: Tensor) -> Sides:
        """The sides of some rows."""
        return Sides(self.words[rows], self.second[rows])


def in_first(batch: Batch, sides: Sides) -> Tensor:
    """True for tokens of the second text whose word the first has, shape (T,), bool."""
    layout = batch.layout
    ids, words = layout.pad_any(batch.input_ids), layout.pad_any(sides.words)
    same = (ids.unsqueeze(2) == ids.unsqueeze(1)) & words.unsqueeze(1)
    return unpad(same.any(2), layout) & sides.second


def smoothed(weight: Tensor, layout: Ragged, neighbours: int) -> Tensor:
    """Sum of the weights (T,) around each token of its text, less the farther away, shape (T,).

    A weight counts whole at its own token, and ``1 - d / (neighbours + 1)`` at distance d.
    """
    away = torch.arange(-neighbours, neighbours + 1, device=weight.device)
    near = layout.rows.unsqueeze(1) + away
    inside = near.clamp(min=0, max=layout.total - 1)
    same = (near == inside) & (layout.sequence[inside] == layout.sequence.unsqueeze(1))
    share = 1 - away.abs().to(weight.dtype) / (neighbours + 1)
    return (weight[inside].masked_fill(~same, 0.0) * share).sum(1)


def topk_of_sides(
    score: Tensor, second: Tensor, count: Tensor, share: float, layout: Ragged
) -> Tensor:
    """Mask of the ``count`` (B,) tokens to keep, of which the first text has a share at most.

    Within each text of a pair the highest scores (T,) stay.  The first text has at least one token,
    and takes what the second is too short for.
    """
    seconds = segment_count(second, layout)
    most = torch.maximum((count.double() * share + 1e-6).long().clamp(min=1), count - seconds)
    firsts = torch.minimum(most, layout.lengths - seconds)
    of_first = segment_topk(score.masked_fill(second, -torch.inf), firsts, layout)
    return of_first | segment_topk(score.masked_fill(~second, -torch.inf), count - firsts, layout)


def word_rows(batch: Batch, sides: Sides, idf: Tensor) -> Tensor:
    """What the words alone tell of each token, shape (T, `OF_WORDS`); ``idf`` is of shape (V,)."""
    layout, second = batch.layout, sides.second
    shared, weight = in_first(batch, sides), looked_up(idf, batch.input_ids)
    around = smoothed(weight.masked_fill(~shared, 0.0), layout, 6)
    count = segment_count(second, layout)
    start = (layout.lengths - count)[layout.sequence]
    before = (layout.position - start) / count.clamp(min=1)[layout.sequence]
    first = ~second & (count > 0)[layout.sequence]
    own = [number.masked_fill(~second, 0.0) for number in (weight, around, before)]
    return torch.stack([number.to(weight.dtype) for number in (first, shared, *own)], 1)


def standardised(score: Tensor, on: Tensor, layout: Ragged) -> Tensor:
    """The scores (T,) less their mean over the tokens ``on`` (T,) of each text, over their spread.

    The spread is a standard deviation; scores that are all equal become 0.
    """
    count = segment_count(on, layout).clamp(min=1).to(score.dtype)
    mean = segment_sum(score.masked_fill(~on, 0.0), layout) / count
    away = score - mean[layout.sequence]
    squares = segment_sum(away.square().masked_fill(~on, 0.0), layout)
    return away / ((squares / count).sqrt()[layout.sequence] + 1e-6)


def balanced(margin: Tensor, batch: Batch, idf: Tensor, balance: Tensor) -> Tensor:
    """The scores (T,) of pairs, mixed with how the words around a token match; others as they are.

    ``balance`` (2,) is one of `BALANCES`.  Both scores are `standardised` over the second text.
    """
    sides, layout, (share, more) = Sides.of(batch), batch.layout, balance
    row = word_rows(batch, sides, idf)
    match = standardised(row[:, 3], sides.second, layout).masked_fill(~sides.second, 0.0)
    mixed = (1 - share) * standardised(margin, sides.second, layout) + share * match
    pair = (segment_count(sides.second, layout) > 0)[layout.sequence]
    return torch.where(pair, mixed + more * row[:, 0], margin)


def state_rows(hidden: Tensor, layout: Ragged, sides: Sides) -> Tensor:
    """What the states (T, D) tell of each token, shape (T, `OF_STATES`), without gradient.

    Where the first text has no word, each cosine is -1.
    """
    unit, second = layout.pad_any(F.normalize(hidden.detach(), dim=1)), sides.second
    other = ~layout.pad_any(sides.words).unsqueeze(1)
    cosine = (unit @ unit.transpose(1, 2)).masked_fill(other, -1.0).amax(2)
    best = unpad(cosine, layout).masked_fill(~second, 0.0)
    around = smoothed(best, layout, 5) / smoothed(second.to(best.dtype), layout, 5).clamp(min=1)
    return 10 * torch.stack([best, around.masked_fill(~second, 0.0)], 1)

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

import torch
import torch.nn.functional as F
from torch import Tensor

from lotbench.batch import Batch
from lotbench.ragged import Ragged, segment_count, unpad

OF_WORDS, OF_STATES = 5, 2
"""Numbers of a row that the words alone tell, and those that need states."""


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


def looked_up(table: Tensor, ids: Tensor) -> Tensor:
    """The entry (T,) of each id in a table (V,); ones from the empty table before training."""
    return table[ids] if len(table) else table.new_ones(ids.shape)


def words_of_first(batch: Batch) -> Tensor:
    """True for the words of the first text, without [CLS] and separators, shape (T,), bool."""
    return (batch.text_of_token == 0) & ~batch.layout.is_first & ~batch.is_separator


def in_first(batch: Batch) -> Tensor:
    """True for tokens of the second text whose word the first has, shape (T,), bool."""
    layout, ids = batch.layout, batch.input_ids
    padded, words = layout.pad_any(ids), layout.pad_any(words_of_first(batch))
    same = (padded.unsqueeze(2) == padded.unsqueeze(1)) & words.unsqueeze(1)
    return unpad(same.any(2), layout) & (batch.text_of_token > 0)


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


def matched(weight: Tensor, batch: Batch, neighbours: int) -> Tensor:
    """`smoothed` weights (T,) of the words of the second text that the first has, shape (T,)."""
    return smoothed(weight.masked_fill(~in_first(batch), 0.0), batch.layout, neighbours)


def word_rows(batch: Batch, idf: Tensor) -> Tensor:
    """What the words alone tell of each token, shape (T, `OF_WORDS`); ``idf`` is of shape (V,)."""
    layout, second = batch.layout, batch.text_of_token > 0
    count, weight = segment_count(second, layout), looked_up(idf, batch.input_ids)
    first = ~second & (count > 0)[layout.sequence]
    start = (layout.lengths - count)[layout.sequence]
    share = (layout.position - start) / count.clamp(min=1)[layout.sequence]
    numbers = [in_first(batch), weight, matched(weight, batch, 6), share]
    row = [first, *(number.to(weight.dtype).masked_fill(~second, 0.0) for number in numbers)]
    return torch.stack([number.to(weight.dtype) for number in row], 1)


def state_rows(hidden: Tensor, layout: Ragged, words: Tensor, second: Tensor) -> Tensor:
    """What the states (T, D) tell of each token, shape (T, `OF_STATES`), without gradient.

    ``words`` and ``second`` (T,) are true for words of the first and tokens of the second text.
    Without a word in the first text each cosine is -1.
    """
    unit = layout.pad_any(F.normalize(hidden.detach(), dim=1))
    other = ~layout.pad_any(words).unsqueeze(1)
    cosine = (unit @ unit.transpose(1, 2)).masked_fill(other, -1.0).amax(2)
    best = unpad(cosine, layout).masked_fill(~second, 0.0)
    around = smoothed(best, layout, 5) / smoothed(second.to(best.dtype), layout, 5).clamp(min=1)
    return 10 * torch.stack([best, around.masked_fill(~second, 0.0)], 1)

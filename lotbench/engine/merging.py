"""The merges of a forward pass: the sizes of tokens, and the token that stands for each."""

from __future__ import annotations

import torch
from torch import Tensor

from lotbench.batch import Batch
from lotbench.ragged import select
from lotbench.reducer import Merge, Tokens


class Merging:
    """The merges of one pass, the same in both modes."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.stands = batch.layout.rows  # row of the token that stands for each, (T,)
        # Tokens that each stands for, (T,), 0 if it is absorbed; None before the first merge.
        self.sizes: Tensor | None = None
        self.proportional = False  # keys weigh by their size

    def merge(self, tokens: Tokens, decision: Merge) -> tuple[Tensor, Tokens]:
        """Rows (K,) of the tokens that stand for a group among the given ones, and these tokens.

        They have the states of the merged tokens.
        """
        groups, rows = decision.groups, tokens.rows
        sizes = torch.ones_like(self.stands) if self.sizes is None else self.sizes
        size = sizes[rows]
        total = torch.zeros_like(size).index_add(0, groups, size)
        self.sizes = sizes.index_copy(0, rows, total)
        self.stands = self.batch.layout.rows.index_copy(0, rows, rows[groups])[self.stands]
        self.proportional = decision.proportional
        at, layout = select(decision.keep, tokens.layout)
        share = (size.double() / total[groups]).to(tokens.hidden.dtype)
        hidden = tokens.layout.group_sums(share, tokens.hidden, groups, at)
        return at, Tokens(hidden, layout, rows[at], self.batch)

    def key_weight(self, tokens: Tokens) -> Tensor | None:
        """Weight of tokens as keys, shape (T,); None if all weigh 1."""
        if self.sizes is None or not self.proportional:
            return None
        return self.sizes[tokens.rows].to(tokens.hidden.dtype)

    def spread(self, tokens: Tokens, behind: Tensor | None) -> tuple[Tokens, Tensor | None]:
        """The tokens and all that they stand for, with the same states and the same ``behind``."""
        if self.sizes is None:
            return tokens, behind
        # Place of the token that stands for each token of the batch; -1 if it was dropped.
        place = torch.full_like(self.stands, -1).index_copy(0, tokens.rows, tokens.layout.rows)
        place = place[self.stands]
        rows, layout = select(place >= 0, self.batch.layout)
        place = place[rows]
        hidden = tokens.hidden.index_select(0, place)
        return Tokens(hidden, layout, rows, self.batch), None if behind is None else behind[place]

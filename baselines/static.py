"""Control: keep the words that matter on average, looked up in a table, and fine-tune.

The importance of a vocabulary id is the mean saliency that the dense teacher gives its tokens in
the training text, relative to the mean of their text.  The fewer tokens an id has, the nearer its
importance is to 1, the mean of all: ``shrinkage`` tokens of importance 1 are added.  A text of n
tokens keeps the ``ceil(keep_ratio * n)`` most important, [CLS] included; of equal ones the first.

A score that is learned, or that depends on the text, has to beat this lookup.  All steps train the
final model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from pydantic import Field
from torch import Tensor

from lotbench import reducer
from lotbench.batch import Batch
from lotbench.matching import Shares, looked_up
from lotbench.ragged import segment_topk
from lotbench.reducer import Drop, Look, TokenReducer


class Params(reducer.Params):
    """Hyper-parameters."""

    keep_ratio: float = Field(0.5, gt=0, le=1, description="share of a text's tokens")
    shrinkage: float = Field(
        5.0, ge=0, le=1e6, description="tokens of mean importance added to each vocabulary id"
    )


class Static(TokenReducer):
    """Drops the words of least mean saliency before the embedding.

    ``importance`` (V,) is that of each vocabulary id; it is empty before training.
    """

    params: Params
    name = "static"
    source = "control"
    look = Look(label="static", colour="#6B8E23", marker="s", role="control", order=2)
    needs = frozenset({"saliency"})
    budget_name = "keep_ratio"
    budget_range = (0, 1)

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.keep_ratio = params.keep_ratio
        self.register_buffer("importance", torch.zeros(0))

    def before_training(self, batches: Iterable[Batch], words: Tensor) -> None:
        shares = Shares(words, self.params.shrinkage)
        for batch in batches:
            shares.count(batch)
        self.importance = shares.table()

    def before_embedding(self, batch: Batch, words: Tensor) -> Drop:
        layout = batch.layout
        score = looked_up(self.importance, batch.input_ids)
        count = layout.share(self.keep_ratio)
        return Drop(segment_topk(score.masked_fill(layout.is_first, math.inf), count, layout))

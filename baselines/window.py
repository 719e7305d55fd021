"""Control for two texts: keep what stands near the words that both texts have, and fine-tune.

Source: query-biased summaries (Tombros and Sanderson, SIGIR 1998), which keep the sentences with
words of the query; here the words around each match.

Implemented: a word of the second text that the first text also has weighs ``idf = ln((1 + N) /
(1 + df))``, with N training examples of which df have the word, so what every example has, such as
[CLS] and [SEP], weighs nothing.  Each word of the second text scores the weights around it, which
fall linearly to 0 behind ``neighbours`` tokens on either side, plus ``static_weight`` times the
importance of `baselines.static`, which orders words that stand near no match.  A pair of n tokens
keeps ``ceil(keep_ratio * n)``: at most half, rounded down, of the first text, [CLS] and then the
highest ``idf``; and the highest scores of the second.  Of equal ones the first stay.  What the
second text is too short for is the first's.

The rule learns nothing: both tables are counted before training.  All steps train the final model.
It has no matrix product, so its own FLOPs are 0, as those of every lookup.

A text without a second one is kept by importance alone, as `static` does.  It is not refused,
because one data set may have both, and because a method is not told what task it is for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from pydantic import Field
from torch import Tensor

from baselines import static
from lotbench.batch import Batch
from lotbench.matching import Idf, Sides, in_first, looked_up, smoothed, topk_of_sides
from lotbench.ragged import segment_count
from lotbench.reducer import Drop, Look


class Params(static.Params):
    """Hyper-parameters."""

    neighbours: int = Field(6, ge=0, le=512, description="tokens on either side of a match")
    static_weight: float = Field(
        0.3, ge=0, le=1e6, description="weight of the mean saliency of a word"
    )


class Window(static.Static):
    """Drops the words of the second text that stand far from a match, before the embedding.

    ``idf`` (V,) is that of each vocabulary id; it is empty before training.
    """

    params: Params
    name = "window"
    version = 2
    source = "control"
    look = Look(label="window", colour="#8C564B", marker="d", role="control", order=4)

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.register_buffer("idf", torch.zeros(0))

    def before_training(self, batches: Iterable[Batch], words: Tensor) -> None:
        idf = Idf(words)
        super().before_training(map(idf.count, batches), words)
        self.idf = idf.table()

    def before_embedding(self, batch: Batch, words: Tensor) -> Drop:
        layout, sides = batch.layout, Sides.of(batch)
        weight = looked_up(self.idf, batch.input_ids).masked_fill(~in_first(batch, sides), 0.0)
        score = smoothed(weight, layout, self.params.neighbours)
        score = score + self.params.static_weight * looked_up(self.importance, batch.input_ids)
        pair = (segment_count(sides.second, layout) > 0)[layout.sequence]
        score = torch.where(pair & ~sides.second, looked_up(self.idf, batch.input_ids), score)
        score, count = score.masked_fill(layout.is_first, math.inf), layout.share(self.keep_ratio)
        return Drop(topk_of_sides(score, sides.second, count, 0.5, layout))

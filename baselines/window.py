"""Control for two texts: keep what stands near the words that both texts have, and fine-tune.

Source: query-biased summaries (Tombros and Sanderson, SIGIR 1998), which keep the sentences with
words of the query; here the words around each match.

Implemented: a word of the second text that the first text also has weighs ``idf = ln((1 + N) /
(1 + df))``, with N training examples of which df have the word, so what every example has, such as
[CLS] and [SEP], weighs nothing.  Each word of the second text scores the weights around it, which
fall linearly to 0 behind ``neighbours`` tokens on either side, plus ``static_weight`` times the
importance of `baselines.static`, which orders words that stand near no match.  A pair of n tokens
keeps ``ceil(keep_ratio * n)``: the first text, then the highest scores of the second; of equal ones
the first.  If the budget is shorter than the first text, only the start of that is kept.

The rule learns nothing: both tables are counted before training.  All steps train the final model.
It has no matrix product, so its own FLOPs are 0, as those of every lookup.

A text without a second one is kept by importance alone, as `static` does.  It is not refused,
because one data set may have both, and because a method is not told what task it is for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from pydantic import Field
from torch import Tensor

from baselines import static
from baselines.static import looked_up
from lotbench.batch import Batch
from lotbench.ragged import Ragged, segment_count, segment_topk
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
    source = "control"
    look = Look(label="window", colour="#8C564B", marker="d", role="control", order=4)

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.register_buffer("idf", torch.zeros(0))

    def before_training(self, batches: Iterable[Batch], words: Tensor) -> None:
        having = words.new_zeros(len(words), dtype=torch.float64)
        examples = 0

        def counted() -> Iterator[Batch]:
            nonlocal examples
            for batch in batches:
                sequence, size = batch.layout.sequence, len(words)
                once = (sequence * size + batch.input_ids).unique() % size
                having.index_add_(0, once, having.new_ones(once.shape))
                examples += batch.layout.batch_size
                yield batch

        super().before_training(counted(), words)
        self.idf = ((1 + examples) / (1 + having)).log().float()

    def before_embedding(self, batch: Batch, words: Tensor) -> Drop:
        layout, second = batch.layout, batch.text_of_token > 0
        shared = second & in_first(batch.input_ids, second, layout, len(words))
        weight = looked_up(self.idf, batch.input_ids).masked_fill(~shared, 0.0)
        score = smoothed(weight, layout, self.params.neighbours)
        score = score + self.params.static_weight * looked_up(self.importance, batch.input_ids)
        pair = (segment_count(second, layout) > 0)[layout.sequence]
        score = score.masked_fill(layout.is_first | (pair & ~second), math.inf)
        return Drop(segment_topk(score, layout.share(self.keep_ratio), layout))


def in_first(ids: Tensor, second: Tensor, layout: Ragged, size: int) -> Tensor:
    """True for tokens whose id the first text of their pair has, shape (T,), bool.

    ``second`` (T,) is true in second texts, and ``size`` is that of the vocabulary.
    """
    place = layout.sequence * size + ids
    found = torch.zeros(layout.batch_size * size, device=ids.device)
    return found.index_add(0, place, (~second).float())[place] > 0


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

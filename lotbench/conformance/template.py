"""my-method: keep the tokens with the longest hidden states.

A first idea to replace by yours: once the first layer has mixed the text, a state that stands out
in length may carry more than one that does not.
"""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import Field

from lotbench import reducer
from lotbench.ragged import segment_topk
from lotbench.reducer import Drop, TokenReducer, Tokens


# Whatever a sweep may vary stands here, so that a wrong name or value is refused before training.
class Params(reducer.Params):
    keep_ratio: float = Field(0.5, gt=0, le=1, description="share of a text's tokens that stay")


class MyMethod(TokenReducer):
    """Keeps ``keep_ratio`` of the tokens from the second layer on."""

    Params: ClassVar[type[reducer.Params]] = Params
    name = "my-method"  # what sweep files call it
    source = "own idea"
    version = 1  # raise it when results would change, or finished trials are not run again
    budget_name = "keep_ratio"  # may change after training, so one model gives a whole curve

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        # An attribute of its own, since parameters are frozen and the budget must move.
        self.keep_ratio = params.keep_ratio

    def before_layer(self, layer: int, tokens: Tokens) -> Drop | None:
        # Once is enough: a dropped token never returns.  Layer 0 has seen no context yet.
        if layer != 1:
            return None
        # No gradient can pass through a choice, so none is kept.
        score = tokens.hidden.detach().norm(dim=1)
        # The first token carries the answer: without it there is nothing to classify.
        score = score.masked_fill(tokens.layout.is_first, math.inf)
        # Texts lie end to end without padding, so each is given its own number to keep.
        count = (tokens.layout.lengths.double() * self.keep_ratio).ceil()
        return Drop(segment_topk(score, count, tokens.layout))

    def overhead_flops(self, layer: int, n_tokens):
        # Only matrix products count; a scorer `nn.Linear(width, 1)` adds n_tokens * 2 * width.
        return 0.0

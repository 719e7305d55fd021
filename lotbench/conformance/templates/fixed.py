"""my-method: keep the tokens with the longest hidden states.

Replace this first idea by your own: after the first layer, a token with a long hidden state may
matter more than one with a short state.
"""

from __future__ import annotations

import math

from pydantic import Field

from lotbench import reducer
from lotbench.ragged import segment_topk
from lotbench.reducer import Drop, TokenReducer, Tokens


# Everything that a sweep may vary, so that a wrong name or value is refused before training.
class Params(reducer.Params):
    keep_ratio: float = Field(0.5, gt=0, le=1, description="share of a text's tokens that stay")


class MyMethod(TokenReducer):
    """Keeps ``keep_ratio`` of the tokens from the second layer on."""

    params: Params
    name = "my-method"  # what sweep files call it
    source = "own idea"
    version = 1  # raise it when results change, so that finished trials run again
    budget_name = "keep_ratio"  # can change after training, so one model gives a whole curve
    budget_range = (0, 1)  # where the budgets of the sweep's targets are searched

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        # A copy, since parameters are frozen and the budget changes.
        self.keep_ratio = params.keep_ratio

    def before_layer(self, layer: int, tokens: Tokens) -> Drop | None:
        # Once is enough: a dropped token never returns.  Before layer 0, tokens have no context.
        if layer != 1:
            return None
        # Detached, because a hard choice has no gradient.
        score = tokens.hidden.detach().norm(dim=1)
        # The first token must stay, because the classifier reads it.
        score = score.masked_fill(tokens.layout.is_first, math.inf)
        # Texts have different lengths, so each has its own number of tokens to keep.
        count = (tokens.layout.lengths.double() * self.keep_ratio).ceil()
        return Drop(segment_topk(score, count, tokens.layout))

    def overhead_flops(self, layer: int, n_tokens):
        # Only matrix products count; a scorer `nn.Linear(width, 1)` adds n_tokens * 2 * width.
        return 0.0

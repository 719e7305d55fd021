"""my-method: a small router learns which tokens matter.

Replace this first idea by your own.  A soft stage lets gradients reach the router: a weight between
0 and 1 says how much attention sees of a token.  A hard stage then fits the model to the tokens
that stay.
"""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor, nn

from lotbench import reducer
from lotbench.batch import Batch
from lotbench.ragged import segment_mean, segment_topk
from lotbench.reducer import Decision, Drop, Outputs, Stage, TokenReducer, Tokens, Trace


# Everything that a sweep may vary, so that a wrong name or value is refused before training.
class Params(reducer.Params):
    keep_ratio: float = Field(0.5, gt=0, le=1, description="share of a text's tokens that stay")
    soft_share: float = Field(0.5, gt=0, lt=1, description="share of the steps with weights")
    strength: float = Field(1.0, ge=0, le=1e6, description="weight of the budget loss")
    router_learning_rate: float = Field(1e-2, gt=0, le=10, description="of the router")


class MyMethod(TokenReducer):
    """Keeps the tokens that a linear map of their states rates highest, from the second layer."""

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
        self.router = nn.Linear(width, 1)

    def stages(self) -> list[Stage]:
        share = self.params.soft_share
        # A new router has far to go in a short stage, so it learns faster than the model.
        rates = {"router": self.params.router_learning_rate}
        return [
            Stage("soft", share, soft=True, learning_rates=rates),
            # No gradient passes a hard choice, so what the router has learned is frozen.
            Stage("hard", 1 - share, frozen=("router",)),
        ]

    def before_layer(self, layer: int, tokens: Tokens) -> Decision | None:
        # A weight holds for one layer, so the next layers get the same weights again.
        if self.in_soft_stage and layer > 1:
            return tokens.previous
        # Once is enough: a dropped token never returns.  Before layer 0, tokens have no context.
        if layer != 1:
            return None
        logit = self.router(tokens.hidden).squeeze(1)
        # The first token must stay, because the classifier reads it.
        logit = logit.masked_fill(tokens.layout.is_first, math.inf)
        if self.in_soft_stage:
            # All stay, so that even a token of weight 0 has a gradient and can come back.
            weight = logit.sigmoid()
            return Drop(tokens.layout.rows >= 0, weight, as_key=True, aux={"weight": weight})
        # A share, not a threshold: it gives every text the speed-up that the budget says.
        return Drop(segment_topk(logit, tokens.layout.share(self.keep_ratio), tokens.layout))

    def loss(self, outputs: Outputs, batch: Batch, trace: Trace) -> dict[str, Tensor]:
        # A model of one layer has no decision.
        if not self.in_soft_stage or not trace.decisions():
            return {}
        event = trace.decisions()[0]
        # Without it, all weights go to 1: the task alone always wants to see more.
        mean = segment_mean(event.decision.aux["weight"], event.layout)
        return {"budget": self.params.strength * (mean - self.keep_ratio).square().mean()}

    def overhead_flops(self, layer: int, n_tokens):
        # Two for each multiply-add of the router, at the one layer where it runs.
        return n_tokens * 2 * self.width if layer == 1 else 0.0

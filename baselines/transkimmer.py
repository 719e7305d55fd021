"""Transkimmer: before each layer, a small network decides which tokens skip all further layers.

Source: Guan, Li, Leng, Lin and Guo, "Transkimmer: Transformer Learns to Layer-wise Skim", ACL 2022;
code: ChandlerGuan/Transkimmer.

Implemented
- Predictor before each layer: ``W2 gelu(LN(W1 LN(h)))``, of width D, with the logits of skimming
  and of keeping a token.  Their bias starts at (-5, 5), so that every token is kept.
- Skim stage: a sample of the hard Gumbel-softmax decides, with the gradient of the soft one
  (straight-through).  A token that was skimmed stays skimmed.
- The loss has an additional term, ``skim_weight`` times the share of tokens that are kept, mean
  over texts and layers.
- Evaluation keeps a token if its logit of keeping is the larger one.  The last state of a skimmed
  token is part of the output.
- Half of the steps skim, and half train the final model (``skim_share``).  ``train.steps: final``
  gives the hard stage all steps.

Deviations from the paper and the released code
- The hard stage is ours; there, all steps sample.  It fits the model to decisions without noise, at
  the cost of packed steps.  The predictors are frozen in it.
- The predictors have their own learning rate, 3e-3.  The published 2e-5 moves the logits, which
  start 10 apart, by about 1 in the hundreds of steps of a trial.
- ``threshold`` moves the decision after training (a post-hoc budget): a token is kept if the
  softmax gives keeping a probability above it.  At 0.5 the larger logit decides.
- Evaluation is deterministic.  In the code it samples, too.
- A skimmed token has no part in the softmax of the others.  In the training of the code it has, and
  its probability is set to 0 afterwards, so that the others do not sum to 1.
- In the skim stage a skimmed token leaps over all further layers.  That gives the numbers of its
  removal, in sentence vectors too, but the gradient of a decision also has the change of the
  token's own state.  The code has that change in the output alone.
- The share is of the text.  In the code it is of the padded length, so that the same weight costs a
  short text less.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from lotbench import reducer
from lotbench.batch import Batch
from lotbench.ragged import segment_mean
from lotbench.reducer import Decision, Drop, Leap, Look, Outputs, Stage, TokenReducer, Tokens, Trace

BIAS = 5.0


class Params(reducer.Params):
    """Hyper-parameters (published: skim weight 0.5 on GLUE, 0.2 on 20News and Yelp)."""

    skim_weight: float = Field(0.5, ge=0, le=1e6, description="weight of the mean kept share")
    predictor_learning_rate: float = Field(3e-3, gt=0, le=10, description="of the predictors")
    skim_share: float = Field(0.5, gt=0, lt=1, description="share of the steps that skim")
    threshold: float = Field(0.5, ge=0, le=1, description="keep iff P(keep) is above")


class Predictor(nn.Module):
    """Logits (skim, keep) of each token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        norm, inner = nn.LayerNorm(width), nn.Linear(width, width)
        outer = nn.Linear(width, 2)
        nn.init.normal_(outer.weight, std=0.02)
        with torch.no_grad():
            outer.bias.copy_(torch.tensor([-BIAS, BIAS]))
        self.layers = nn.Sequential(norm, inner, nn.LayerNorm(width), nn.GELU(), outer)

    def forward(self, hidden: Tensor) -> Tensor:
        """``(T, D) -> (T, 2)``, float32 at least."""
        logits = self.layers(hidden)
        return logits if logits.dtype == torch.float64 else logits.float()


class Transkimmer(TokenReducer):
    """Transkimmer; see the docstring of this module."""

    params: Params
    name = "transkimmer"
    source = "Guan et al., ACL 2022"
    look = Look(label="Transkimmer", colour="#1E90A0", marker="<", order=3)
    budget_name = "threshold"
    budget_range = (0, 1)

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.threshold = params.threshold
        self.predictors = nn.ModuleList(Predictor(width) for _ in range(n_layers))

    def stages(self) -> list[Stage]:
        share = self.params.skim_share
        rates = {"predictors": self.params.predictor_learning_rate}
        return [
            Stage("skim", share, soft=True, learning_rates=rates),
            Stage("hard", 1 - share, frozen=("predictors",)),
        ]

    def before_layer(self, layer: int, tokens: Tokens) -> Decision:
        logits, first = self.predictors[layer](tokens.hidden), tokens.layout.is_first
        if self.in_soft_stage:
            before = tokens.previous.weight if tokens.previous else None
            return skim(logits, first, before)
        margin = logits[:, 1] - logits[:, 0]
        return Drop((margin.sigmoid() > self.threshold) | first, restore=True)

    def loss(self, outputs: Outputs, batch: Batch, trace: Trace) -> dict[str, Tensor]:
        if not self.in_soft_stage:
            return {}
        shares = []
        for event in trace.decisions():
            assert event.decision.weight is not None, "the skim stage is soft"
            shares.append(segment_mean(event.decision.weight, event.layout).mean())
        return {"skim": self.params.skim_weight * torch.stack(shares).mean()}

    def overhead_flops(self, layer: int, n_tokens: Tensor) -> Tensor:
        return n_tokens * 2 * (self.width * self.width + self.width * 2)


def skim(logits: Tensor, first: Tensor, before: Tensor | None = None) -> Leap:
    """A sample of the hard Gumbel-softmax of logits (T, 2): the tokens that are not kept leap.

    ``first`` (T,) is true at [CLS], which is kept.  ``before`` (T,) has the weights of the decision
    before the previous layer, 0 for tokens that were skimmed.
    """
    soft = F.gumbel_softmax(logits)[:, 1]
    hard = (soft > 0.5).to(soft.dtype)
    weight = torch.where(first, 1.0, hard + (soft - soft.detach()))
    if before is not None:
        weight = weight * before
    return Leap(weight > 0.5, weight)

"""Learned Token Pruning: drop the tokens whose received attention is below a learned threshold.

Source: Kim, Shen, Thorsley, Gholami, Kwon, Hassoun and Keutzer, "Learned Token Pruning for
Transformers", KDD 2022; sections 3.2 (threshold pruning), 3.3 (soft masks, regulariser, stages);
code: kssteven418/LTP.

Implemented
- Score of a token in layer l: the mean, over heads and the query tokens that are still present,
  of the attention probability it receives.  It is kept iff score > theta_l; otherwise it is
  dropped before the feed-forward of the same layer.  theta_l starts at ``final_threshold * l / L``.
- Soft stage: the output of each layer is multiplied by ``sigmoid((score - theta_l) / T_n)``; the
  loss has an additional term, ``lambda`` times the sum over the layers of the mean mask.  Weights
  and thresholds are trained together.
- Hard stage: the thresholds are frozen, tokens are removed, and the weights are trained.
- Half of the steps are soft, and half train the final model (``soft_share``; published: 1 to
  10 soft epochs and 5 hard ones).  ``train.steps: final`` gives the hard stage all steps.

Units
- The scores of a text of n tokens sum to 1, so their mean is 1/n.  ``temperature`` is in units of
  this mean: T_n = temperature / n, the same softness at every length.  The published 1e-4 to 2e-3
  at 128 padded places are 0.0128 to 0.256; the default is 1e-3 there.
- ``final_threshold`` is a score, as published, and thresholds are learned as scores.  The published
  0.01 at 128 places is 1.28 mean scores: take 0.04 for texts of 32 tokens, 0.005 for 256.

Deviations from the paper
- [CLS] is never removed, since the classifier reads it.  It has no mask and is not regularised.
- The thresholds have their own learning rate, 2e-4 by default.  The published 2e-5 moves them by a
  few thousandths at most in the few hundred steps of a trial.
- ``threshold_scale`` multiplies all thresholds after training (a post-hoc budget).

Deviations from the released code
- Scores are divided by the number of tokens still present.  There they are divided by the padded
  length, so thresholds depend on the padding.  Scores also fall with every removed token, although
  the thresholds are learned while no token is removed.  With a division by the length of the text,
  lambda 0.5 reached 33% on BBC News at 9.7 times fewer FLOPs.  With the division used here, it
  reached 95% at 5.1 times fewer (in the units of version 1).
- That division caps the number of tokens kept: k tokens have a mean score of 1/k, so fewer than
  1/theta scores can exceed theta.  Texts of 5 to 65 tokens may all end with 7 or 8 tokens.
- The mean mask is over the tokens of the text, without padding.  There it is over the padded
  length, so the same lambda weighs less in short texts.
- Layer 0 has a mask and a threshold, as every layer.  Its threshold starts at 0, so it keeps every
  token until training raises it.  There layer 0 is never masked.
- Scores use the probabilities before dropout.  There they use them after dropout, which adds noise.
- Removed tokens are not computed.  There they are masked but computed, and the speed-up is an
  analytic count.
- A threshold below zero keeps everything, as the rule says.  There it is clipped at 1e-5.
- There is no quantisation, which is a separate technique.  The released code builds on I-BERT.
"""

from __future__ import annotations

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from lotbench import reducer
from lotbench.batch import Batch
from lotbench.ragged import Ragged, segment_mean
from lotbench.reducer import Drop, Look, Outputs, Received, Stage, TokenReducer, Tokens, Trace


class Params(reducer.Params):
    """Hyper-parameters.

    Published for 12 layers and 128 padded places: lambda 0.01 to 0.2, temperature 0.0128 to 0.256
    (1e-4 to 2e-3 as scores).  Search lambda up to 2 here, since hundreds of steps move thresholds
    less than the published thousands.
    """

    model_config = ConfigDict(populate_by_name=True)

    lambda_: float = Field(
        0.1, ge=0, le=1e6, alias="lambda", description="weight of the summed masks"
    )
    temperature: float = Field(0.128, gt=0, le=1e3, description="of the mask, in mean scores (1/n)")
    final_threshold: float = Field(0.01, ge=0, le=1, description="where the last threshold starts")
    threshold_learning_rate: float = Field(2e-4, gt=0, le=10, description="of the thresholds")
    soft_share: float = Field(0.5, gt=0, lt=1, description="share of the steps with soft masks")


class LearnedTokenPruning(TokenReducer):
    """Learned Token Pruning; see the docstring of this module."""

    params: Params
    name = "ltp"
    version = 2
    source = "Kim et al., KDD 2022"
    look = Look(label="LTP", colour="#009E73", marker="^", order=1)
    needs = frozenset({"received_attention"})
    budget_name = "threshold_scale"
    budget_range = (1e-3, 1e3)

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.threshold_scale = 1.0
        self.thresholds = nn.Parameter(initial_thresholds(params.final_threshold, n_layers))

    def stages(self) -> list[Stage]:
        rates = {"thresholds": self.params.threshold_learning_rate}
        share = self.params.soft_share
        return [
            Stage("soft", share, soft=True, learning_rates=rates),
            Stage("hard", 1 - share, frozen=("thresholds",)),
        ]

    def after_attention(self, layer: int, tokens: Tokens, received: Received) -> Drop:
        theta = self.thresholds[layer]
        first = tokens.layout.is_first
        if self.in_soft_stage:
            mask = soft_mask(received.mean, theta, self.params.temperature, tokens.layout)
            return Drop(torch.ones_like(first), mask, at_output=True, aux={"mask": mask})
        return Drop((received.mean > theta * self.threshold_scale) | first)

    def loss(self, outputs: Outputs, batch: Batch, trace: Trace) -> dict[str, Tensor]:
        if not self.in_soft_stage:
            return {}
        events = trace.decisions("after_attention")
        masks = [mean_mask(event.decision.aux["mask"], event.layout) for event in events]
        return {"mask": self.params.lambda_ * torch.stack(masks).sum()}


def initial_thresholds(final: float, n_layers: int) -> Tensor:
    """``final * l / L`` for l = 0..L-1, shape (L,)."""
    return final * torch.arange(n_layers) / n_layers


def soft_mask(score: Tensor, theta: Tensor, temperature: float, layout: Ragged) -> Tensor:
    """``sigmoid((score - theta) n / temperature)`` of each token, but 1 for [CLS], shape (T,).

    Scores are of shape (T,), ``theta`` is a scalar, and ``temperature`` is in units of 1/n, the
    mean score of a text of n tokens.  The texts are whole, since the soft stage removes no token.
    """
    n = layout.lengths[layout.sequence]
    mask = ((score.float() - theta) * n / temperature).sigmoid()
    return torch.where(layout.is_first, 1.0, mask)


def mean_mask(mask: Tensor, layout: Ragged) -> Tensor:
    """Mean over the texts of each text's mean mask without [CLS], a scalar."""
    share = segment_mean(mask.masked_fill(layout.is_first, 0.0), layout)
    n = layout.lengths.to(share.dtype)
    return (share * n / (n - 1).clamp(min=1)).mean()

"""AdapLeR: drop the tokens whose predicted contribution is below a learned threshold.

Source: Modarressi, Mohebbi and Pilehvar, "AdapLeR: Speeding up Inference by Adaptive Length
Reduction", ACL 2022; code: amodaresi/AdapLeR.

Implemented
- Contribution predictor before each layer: ``w2 gelu(W1 h)``, of width 32.  A softmax over the
  tokens present gives each its share.  In layer l a token is kept iff its share is at least eta_l
  times the mean share of its text.
- Soft stage: every token is computed.  Each layer multiplies the weight of its key by ``exp(edit)``
  (see `log_edit`), whose sharpness lambda grows evenly in log from 10 to 1e5.
- Model and predictors learn from the task loss and from ``gamma sum_l (L - l) KL_l``, the
  divergence KL(saliency || predicted) of the shares.  The thresholds learn from the task
  loss and from ``phi sum_l n_l``, n_l the sum of the weights.  They start at 0.25 and are clipped
  to [0.01, 1].
- Fine-tuning before that is the shared teacher, which also gives the saliency.
- Half of the steps are soft, and half train the final model (``soft_share``).
  ``train.steps: final`` gives the hard stage all steps.

Deviations from the paper and the released code
- The hard stage is ours; there, all steps are soft, and the last ones are nearly hard.  In it the
  thresholds are frozen, while the predictors go on learning from the saliency.
- The saliency is that of all methods: gradient times state of the gold label's logit, summed over
  the inputs of all layers.  There it is of the embeddings alone.
- [CLS] has no share, since it is always kept.  There it has one, with a learned factor theta_l in
  each layer.  Of the saliency summed over layers it has a quarter (BBC News, 64 tokens), so it
  would lower all others.
- The thresholds and the predictors have their own learning rates, 1e-2 and 1e-3.  The published
  5e-4 and 3e-5, over thousands of steps, hardly move them in the hundreds of steps of a trial.
- Lambda grows with every step.  There it is multiplied by 10 after each of five epochs.
- The lengths n_l have a gradient by the thresholds through the weights alone, not through states
  and shares of later layers.  A share has none by the weights of earlier layers, only by states.
- The divergence also reaches the thresholds, through the states of later layers.  There it does
  not, which would take a second backward pass.
- With mean pooling the soft stage has every token in the mean, the hard stage those that stay.
- ``threshold_scale`` multiplies all thresholds after training (a post-hoc budget).
- Shares are of a text's own tokens.  There the softmax also runs over padding, which is then
  masked.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from lotbench import reducer
from lotbench.batch import Batch
from lotbench.ragged import Ragged, segment_softmax, segment_sum
from lotbench.reducer import Drop, Encoder, Look, Outputs, Stage, Step, TokenReducer, Tokens, Trace

HIDDEN = 32
SHARPNESS = 10.0, 1e5
BEND = 0.1
ABSENT = -1e4
"""Logarithm of the weight of a token that is as good as absent."""


class Params(reducer.Params):
    """Hyper-parameters (published for SST-2: gamma 5e-3, phi 5e-4)."""

    gamma: float = Field(5e-3, ge=0, le=1e6, description="weight of the predictors' divergence")
    phi: float = Field(5e-4, ge=0, le=1e6, description="price of a token in a layer")
    eta_learning_rate: float = Field(1e-2, gt=0, le=10, description="of the thresholds")
    predictor_learning_rate: float = Field(1e-3, gt=0, le=10, description="of the predictors")
    soft_share: float = Field(0.5, gt=0, lt=1, description="share of the steps with soft weights")


class Predictor(nn.Module):
    """Logit of the contribution of each token: ``w2 gelu(W1 h)``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, HIDDEN)
        self.outer = nn.Linear(HIDDEN, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """``(T, D) -> (T,)``, float32 at least."""
        logits = self.outer(F.gelu(self.inner(hidden))).squeeze(-1)
        return logits if logits.dtype == torch.float64 else logits.float()


class AdapLeR(TokenReducer):
    """AdapLeR; see the docstring of this module."""

    params: Params
    name = "adapler"
    source = "Modarressi et al., ACL 2022"
    look = Look(label="AdapLeR", colour="#A67C00", marker=">", order=4)
    needs = frozenset({"saliency"})
    budget_name = "threshold_scale"
    budget_range = (1e-3, 1e3)

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.threshold_scale = 1.0
        self.sharpness = SHARPNESS[0]
        self.eta = nn.Parameter(torch.full((n_layers,), 0.25))
        self.predictors = nn.ModuleList(Predictor(width) for _ in range(n_layers))

    def stages(self) -> list[Stage]:
        share = self.params.soft_share
        rates = {"predictors": self.params.predictor_learning_rate}
        soft_rates = rates | {"eta": self.params.eta_learning_rate}
        return [
            Stage("soft", share, soft=True, learning_rates=soft_rates),
            Stage("hard", 1 - share, learning_rates=rates, frozen=("eta",)),
        ]

    def training_step(self, encoder: Encoder, batch: Batch, step: Step) -> None:
        start, end = SHARPNESS
        self.sharpness = start * (end / start) ** step.progress

    def after_step(self) -> None:
        self.eta.clamp_(0.01, 1)

    def before_layer(self, layer: int, tokens: Tokens) -> Drop:
        logits, layout = self.predictors[layer](tokens.hidden), tokens.layout
        if self.in_soft_stage:
            return self._soften(logits, self.eta[layer], tokens)
        share = contribution(logits, layout)
        least = self.eta[layer] * self.threshold_scale / (layout.lengths - 1).clamp(min=1)
        keep = (share >= least[layout.sequence]) | layout.is_first
        return Drop(keep, aux={"share": share})

    def _soften(self, logits: Tensor, eta: Tensor, tokens: Tokens) -> Drop:
        """Key weights: the product of those of all layers so far."""
        layout, stays = tokens.layout, tokens.layout.is_first
        if tokens.protected is not None:
            stays = stays | tokens.protected
        before = tokens.previous.aux if tokens.previous else {}
        log_weight = before.get("log_weight", torch.zeros_like(logits))
        present = log_weight.detach()
        share = contribution(logits + present, layout)
        count = segment_sum(present.exp().masked_fill(layout.is_first, 0.0), layout)
        delta = (eta / count.clamp(min=1))[layout.sequence]

        def after(log: Tensor, share: Tensor) -> Tensor:
            edit = log_edit(share, delta, self.sharpness).masked_fill(stays, 0.0)
            return (log + edit).clamp(min=ABSENT)

        aux = {
            "share": share,
            "present": present,
            "log_weight": after(log_weight, share),
            # The same numbers, whose gradient reaches the thresholds alone.
            "log_price": after(before.get("log_price", present), share.detach()),
        }
        return Drop(torch.ones_like(stays), aux["log_weight"].exp(), as_key=True, aux=aux)

    def loss(self, outputs: Outputs, batch: Batch, trace: Trace) -> dict[str, Tensor]:
        assert batch.saliency is not None, "in needs"
        apart, lengths = [], []
        for event in trace.decisions():
            aux, layout = event.decision.aux, event.layout
            wanted = batch.saliency[event.rows]
            if self.in_soft_stage:
                wanted = wanted * aux["present"].exp()
                lengths.append(segment_sum(aux["log_price"].exp(), layout).mean())
            weight = self.n_layers - event.layer
            apart.append(weight * divergence(wanted, aux["share"], layout))
        terms = {"divergence": self.params.gamma * torch.stack(apart).sum()}
        if self.in_soft_stage:
            terms["length"] = self.params.phi * torch.stack(lengths).sum()
        return terms

    def overhead_flops(self, layer: int, n_tokens: Tensor) -> Tensor:
        return n_tokens * 2 * (self.width * HIDDEN + HIDDEN)


def contribution(logits: Tensor, layout: Ragged) -> Tensor:
    """Share of each token in its text, shape (T,): a softmax without [CLS], which has none."""
    return segment_softmax(logits.masked_fill(layout.is_first, -1e30), layout)


def log_edit(share: Tensor, delta: Tensor, sharpness: float) -> Tensor:
    """Logarithm of the weight that a layer gives its tokens, shape (T,), from -1e4 to 0.

    It falls steeply where the share is below the threshold ``delta``.  Above, it rises gently from
    ``-0.1 / sharpness`` to 0, so that the share always has a gradient.
    """
    bend = BEND / sharpness
    below = sharpness * (share - delta) / delta - bend
    above = (share - 1) * bend / (1 - delta + 1e-7)
    return torch.minimum(below, above).clamp(ABSENT, 0.0)


def divergence(wanted: Tensor, share: Tensor, layout: Ragged) -> Tensor:
    """Kullback-Leibler divergence of the shares from those of ``wanted`` (T,), mean over texts.

    [CLS] has no share in either.
    """
    wanted = wanted.masked_fill(layout.is_first, 0.0)
    target = wanted / segment_sum(wanted, layout).clamp(min=1e-30)[layout.sequence]
    apart = torch.xlogy(target, target) - target * share.clamp(min=1e-30).log()
    return segment_sum(apart, layout).mean()

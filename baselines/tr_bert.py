"""TR-BERT: policy networks, trained by REINFORCE, choose the tokens that go on, twice.

Source: Ye, Lin, Huang and Sun, "TR-BERT: Dynamic Token Reduction for Accelerating BERT
Inference", NAACL 2021; sections 3.2 (policy), 3.3 (reward, REINFORCE, imitation), 3.4 (joint
training with distillation); code: thunlp/TR-BERT.

Implemented
- Reduction before layers 1 and L // 2: a token goes on with probability
  ``sigmoid(w2 gelu(W1 h))``; evaluation keeps the tokens whose probability is at least 0.5.
- Policy stage, backbone frozen: K samples for each example, reward
  ``-task loss - alpha * mean kept share``, the samples' mean as its baseline.  In the first half of
  the steps one of the K samples keeps the tokens of highest saliency under the dense teacher, as
  many as the policy expects to keep.
- Joint stage: task loss and distillation from the dense teacher's logits, over the K samples, and
  the policy loss.
- The fine-tuning before is the shared teacher.

Made cheap
- The layers before the first reduction are computed once for all K samples.
- Samples run packed: a token that a sample drops is not computed.
- In the policy stage the backbone runs without gradients.

Deviations from the paper and the released code
- [CLS] is always kept and does not count in the policy loss; there its forced choice does.
- ``samples`` is 4 (published: 8), a fair setting on CPUs.
- The policies have their own learning rate, 3e-3 (there 3e-5, over tens of thousands of steps).  At
  1e-3 and less, some hundred steps leave the probabilities near 0.5, where few tokens reach the
  cut though the samples kept many.
- ``alpha`` is 0.2, within the published range (0.01 to 5, by task); 1 keeps some 7% on BBC News.
- Saliency is the shared gradient saliency of the whole encoder; there a gradient at each of the
  two reductions.
- The frozen backbone scores samples without dropout, as it will be used; there with it, which
  adds noise to the reward.
- The joint stage has the task loss and the distillation, as in the paper; the code puts the latter
  in the place of the former.  The reward is the negative task loss in both stages.
- Results do not depend on the batch; there a batch keeps as many tokens of each text as its
  longest selection.
- The selector's supervised initialisation, which the code uses on IMDB alone, is left out.
- The cut at 0.5 is a post-hoc budget, ``threshold``.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from lotbench import reducer
from lotbench.batch import Batch
from lotbench.ragged import Ragged, segment_count, segment_sum, segment_topk
from lotbench.reducer import (
    Drop,
    Event,
    Stage,
    Step,
    TokenReducer,
    Tokens,
    Trace,
    distillation_loss,
    task_loss,
)

POLICY = "policy"


class Params(reducer.Params):
    """Hyper-parameters (published: alpha 0.01 to 5, 8 samples, width 32, half imitated)."""

    alpha: float = Field(0.2, ge=0, description="price of the kept share in the reward")
    samples: int = Field(4, ge=2, description="K; more cost more and learn more steadily")
    policy_width: int = Field(32, ge=1)
    policy_learning_rate: float = Field(3e-3, gt=0)
    imitation_share: float = Field(0.5, ge=0, le=1, description="of the policy stage's steps")
    policy_share: float = Field(0.5, gt=0, lt=1, description="share of the steps for the policy")
    distillation: float = Field(1.0, ge=0, description="weight of the teacher's soft labels")
    threshold: float = Field(0.5, ge=0, le=1, description="keep iff the probability reaches it")


class Policy(nn.Module):
    """Logit of keeping each token: ``w2 gelu(W1 h)``."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, hidden)
        self.outer = nn.Linear(hidden, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """``(T, D) -> (T,)``, float32 at least."""
        logits = self.outer(F.gelu(self.inner(hidden))).squeeze(-1)
        return logits if logits.dtype == torch.float64 else logits.float()


class TrBert(TokenReducer):
    """TR-BERT (see the module's docstring)."""

    Params: ClassVar[type[reducer.Params]] = Params
    name = "tr-bert"
    source = "Ye et al., NAACL 2021"
    budget_name = "threshold"

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.threshold = params.threshold
        self.reduction_layers = sorted({layer for layer in (1, n_layers // 2) if layer < n_layers})
        self.policies = nn.ModuleList(
            Policy(width, params.policy_width) for _ in self.reduction_layers
        )
        needs = {"saliency"} if params.imitation_share else set()
        self.needs = frozenset(needs | ({"teacher_logits"} if params.distillation else set()))

    def stages(self) -> list[Stage]:
        rates = {"policies": self.params.policy_learning_rate}
        share = self.params.policy_share
        return [
            Stage(POLICY, share, learning_rates=rates, frozen=("backbone",)),
            Stage("joint", 1 - share, learning_rates=rates),
        ]

    def policy(self, layer: int) -> Policy | None:
        """The policy before this layer, None where there is no reduction."""
        if layer not in self.reduction_layers:
            return None
        return self.policies[self.reduction_layers.index(layer)]

    def before_layer(self, layer: int, tokens: Tokens) -> Drop | None:
        policy = self.policy(layer)
        if policy is None:
            return None
        logits = policy(tokens.hidden)
        return Drop((logits.sigmoid() >= self.threshold) | tokens.layout.is_first)

    def training_step(self, encoder: nn.Module, batch: Batch, step: Step) -> dict[str, Tensor]:
        frozen = step.stage.name == POLICY
        imitate = frozen and step.progress < self.params.imitation_share
        explorer = _Explorer(self, step.generator, batch.layout.batch_size if imitate else 0)
        many = batch.repeat(self.params.samples)
        encoder.train(not frozen)
        with torch.set_grad_enabled(not frozen):
            prefix = encoder.prefix(batch, self.reduction_layers[0])
            prefix = prefix.repeat(self.params.samples)
            outputs = encoder(many, "packed", reducer=explorer, prefix=prefix)
        encoder.train()
        losses = task_loss(outputs.logits, many.labels, reduction="none")
        reward = -losses.detach() - self.params.alpha * kept_share(outputs.trace, many.layout)
        surprise = torch.stack([action_surprise(e) for e in outputs.trace.decisions()]).sum(0)
        terms = {"policy": reinforce(reward, surprise, self.params.samples)}
        if not frozen:
            terms["task"] = losses.mean()
            if self.params.distillation:
                divergence = distillation_loss(outputs.logits, many.teacher_logits)
                terms["distillation"] = self.params.distillation * divergence
        return terms

    def overhead_flops(self, layer: int, n_tokens: Tensor) -> Tensor | float:
        if layer not in self.reduction_layers:
            return 0.0
        inner = self.params.policy_width
        return n_tokens * (2 * self.width * inner + 2 * inner)


class _Explorer(TokenReducer):
    """Draws each token's fate from the policies; the first ``imitators`` texts imitate saliency."""

    def __init__(self, method: TrBert, generator: torch.Generator, imitators: int) -> None:
        super().__init__(method.params, method.n_layers, method.width)
        self.method, self.generator, self.imitators = method, generator, imitators

    def before_layer(self, layer: int, tokens: Tokens) -> Drop | None:
        policy = self.method.policy(layer)
        if policy is None:
            return None
        # The only gradient of the policy stage, whose backbone runs without.
        with torch.enable_grad():
            logits = policy(tokens.hidden)
        layout, probability = tokens.layout, logits.detach().sigmoid()
        draw = torch.rand(
            probability.shape, generator=self.generator, device=self.generator.device
        ).to(probability.device)
        keep = (draw < probability) | layout.is_first
        if self.imitators:
            saliency = tokens.batch.saliency[tokens.rows]
            imitated = imitate(saliency, probability, layout)
            keep = torch.where(layout.sequence < self.imitators, imitated, keep)
        return Drop(keep, aux={"logits": logits})


def imitate(saliency: Tensor, probability: Tensor, layout: Ragged) -> Tensor:
    """[CLS] and the tokens of highest saliency, as many as the policy expects to keep, (T,)."""
    expected = segment_sum(probability.masked_fill(layout.is_first, 1.0), layout)
    count = (expected + 0.5).floor().long()
    return segment_topk(saliency.masked_fill(layout.is_first, math.inf), count, layout)


def action_surprise(event: Event) -> Tensor:
    """Mean over the tokens but [CLS] of ``-log P(what was done)``, shape (B,)."""
    logits, done = event.decision.aux["logits"], event.decision.keep
    surprise = F.binary_cross_entropy_with_logits(logits, done.to(logits.dtype), reduction="none")
    layout = event.layout
    total = segment_sum(surprise.masked_fill(layout.is_first, 0.0), layout)
    return total / (layout.lengths - 1).clamp(min=1)


def kept_share(trace: Trace, layout: Ragged) -> Tensor:
    """Tokens kept at each reduction against the text's own, mean over reductions, shape (B,)."""
    events = trace.decisions()
    kept = torch.stack([segment_count(e.decision.keep, e.layout) for e in events])
    return kept.double().mean(0).to(torch.float32) / layout.lengths


def reinforce(reward: Tensor, surprise: Tensor, samples: int) -> Tensor:
    """REINFORCE with the samples' mean as baseline.

    Parameters
    ----------
    reward, surprise : Tensor, shape (samples * B,)
        Copy after copy of the batch; ``surprise`` is the negative log-probability of the actions.
    samples : int
    """
    reward = reward.view(samples, -1)
    advantage = reward - reward.mean(0)
    return (advantage.flatten() * surprise).mean()

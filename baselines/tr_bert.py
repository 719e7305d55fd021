"""TR-BERT: before two layers, a policy trained by REINFORCE chooses which tokens to keep.

Source: Ye, Lin, Huang and Sun, "TR-BERT: Dynamic Token Reduction for Accelerating BERT
Inference", NAACL 2021; sections 3.2 (policy), 3.3 (reward, REINFORCE, imitation), 3.4 (joint
training with distillation); code: thunlp/TR-BERT.

Implemented
- Reduction before layers 1 and L // 2: a token is kept with probability
  ``sigmoid(w2 gelu(W1 h))``.  Evaluation keeps the tokens with a probability of at least 0.5.
- Policy stage, backbone frozen: K samples per example, with the reward
  ``-task loss - alpha * mean kept share``.  The mean over the samples is the baseline.  In the
  first half of the steps, one of the K samples imitates the dense teacher: it keeps the tokens of
  highest saliency, as many as the policy expects to keep.
- Joint stage: the objective of all methods (task loss, and distillation from the dense teacher's
  logits with weight ``train.distillation``) and the policy loss, over the K samples.
- Half of the steps train the policies, and half train the final model (``policy_share``; published:
  full epochs for each stage).  ``train.steps: final`` gives the joint stage all steps.
- The fine-tuning before these stages is the shared teacher.

Shortcuts that save time
- The layers before the first reduction are computed once for all K samples.
- Samples run packed: a token that a sample drops is not computed.
- In the policy stage, the backbone runs without gradients.

Deviations from the paper and the released code
- [CLS] is always kept and is not in the policy loss, since it is not a choice.  There it is in.
- ``samples`` is 4 (published: 8), which halves the cost on CPUs.
- The policies have their own learning rate, 3e-3 (there 3e-5, over tens of thousands of steps).
  After some hundred steps at 1e-3 or less, the probabilities are still near 0.5.  Evaluation then
  keeps few tokens, although the samples kept many.
- ``alpha`` is 0.2, within the published range (0.01 to 5, by task); 1 keeps some 7% on BBC News.
- Saliency is the gradient saliency of the whole encoder, which the methods share.  There it is a
  gradient at each of the two reductions.
- The frozen backbone scores samples without dropout, as in evaluation.  There it has dropout,
  which adds noise to the reward.
- The joint stage has task loss and distillation, as in the paper.  In the code, distillation
  replaces the task loss.  The reward uses the task loss alone, in both stages.
- The kept share in the reward is of the text.  There it is of the padded length, so that the same
  alpha costs a short text less.
- Results do not depend on the batch.  There every text of a batch keeps as many tokens as the
  longest selection in it.
- There is no supervised initialisation of the policies, which the code uses on IMDB alone.
- ``threshold`` replaces the fixed 0.5 after training (the post-hoc budget).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from lotbench import reducer
from lotbench.batch import Batch
from lotbench.losses import task_loss
from lotbench.ragged import Ragged, segment_count, segment_sum, segment_topk
from lotbench.reducer import Drop, Encoder, Event, Look, Stage, Step, TokenReducer, Tokens, Trace

POLICY = "policy"


class Params(reducer.Params):
    """Hyper-parameters (published: 8 samples, width 32, half imitated).

    Published alphas of the policy stage: classification 0.01 to 2 (IMDB and 20News 1, Yelp 2),
    questions 0.1 to 5 (SQuAD 5).
    """

    alpha: float = Field(0.2, ge=0, le=1e6, description="price of the kept share in the reward")
    samples: int = Field(4, ge=2, le=1000, description="K; more cost more and learn more steadily")
    policy_width: int = Field(32, ge=1, le=8192, description="hidden width of each policy")
    policy_learning_rate: float = Field(3e-3, gt=0, le=10, description="of the policies")
    imitation_share: float = Field(0.5, ge=0, le=1, description="of the policy stage's steps")
    policy_share: float = Field(0.5, gt=0, lt=1, description="share of the steps for the policy")
    threshold: float = Field(0.5, ge=0, le=1, description="keep iff the probability reaches it")


class Policy(nn.Module):
    """Logit of the probability that each token is kept: ``w2 gelu(W1 h)``."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, hidden)
        self.outer = nn.Linear(hidden, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """``(T, D) -> (T,)``, float32 at least."""
        logits = self.outer(F.gelu(self.inner(hidden))).squeeze(-1)
        return logits if logits.dtype == torch.float64 else logits.float()


class TrBert(TokenReducer):
    """TR-BERT; see the docstring of this module."""

    params: Params
    name = "tr-bert"
    version = 2
    source = "Ye et al., NAACL 2021"
    look = Look(label="TR-BERT", colour="#CC79A7", marker="D", order=2)
    budget_name = "threshold"
    budget_range = (0, 1)

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.threshold = params.threshold
        self.reduction_layers = sorted({layer for layer in (1, n_layers // 2) if layer < n_layers})
        self.policies = nn.ModuleList(
            Policy(width, params.policy_width) for _ in self.reduction_layers
        )
        self.needs = frozenset({"saliency"} if params.imitation_share else ())

    def stages(self) -> list[Stage]:
        rates = {"policies": self.params.policy_learning_rate}
        share = self.params.policy_share
        return [
            Stage(POLICY, share, learning_rates=rates, frozen=("backbone",)),
            Stage("joint", 1 - share, learning_rates=rates),
        ]

    def policy(self, layer: int) -> Policy | None:
        """The policy before this layer; None if there is no reduction."""
        if layer not in self.reduction_layers:
            return None
        policy = self.policies[self.reduction_layers.index(layer)]
        assert isinstance(policy, Policy)
        return policy

    def before_layer(self, layer: int, tokens: Tokens) -> Drop | None:
        policy = self.policy(layer)
        if policy is None:
            return None
        logits = policy(tokens.hidden)
        keep = (logits.sigmoid() >= self.threshold) | tokens.layout.is_first
        return Drop(keep, aux={"logits": logits})

    def training_step(self, encoder: Encoder, batch: Batch, step: Step) -> dict[str, Tensor]:
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
            terms |= step.objective(outputs.logits, many)
        return terms

    def overhead_flops(self, layer: int, n_tokens: Tensor) -> Tensor | float:
        if layer not in self.reduction_layers:
            return 0.0
        inner = self.params.policy_width
        return n_tokens * (2 * self.width * inner + 2 * inner)


class _Explorer(TokenReducer):
    """Samples decisions from the policies; the first ``imitators`` texts follow saliency."""

    def __init__(self, method: TrBert, generator: torch.Generator, imitators: int) -> None:
        super().__init__(method.params, method.n_layers, method.width)
        self.method, self.generator, self.imitators = method, generator, imitators

    def before_layer(self, layer: int, tokens: Tokens) -> Drop | None:
        policy = self.method.policy(layer)
        if policy is None:
            return None
        # The backbone has no gradients in the policy stage, but the policies do.
        with torch.enable_grad():
            logits = policy(tokens.hidden)
        layout, probability = tokens.layout, logits.detach().sigmoid()
        device = self.generator.device
        draw = torch.rand(probability.shape, generator=self.generator, device=device)
        keep = (draw.to(probability.device) < probability) | layout.is_first
        if self.imitators:
            saliency = tokens.batch.saliency
            assert saliency is not None, "in needs"
            imitated = imitate(saliency[tokens.rows], probability, layout)
            keep = torch.where(layout.sequence < self.imitators, imitated, keep)
        return Drop(keep, aux={"logits": logits})


def imitate(saliency: Tensor, probability: Tensor, layout: Ragged) -> Tensor:
    """Mask of [CLS] and the tokens of highest saliency, shape (T,), bool.

    It has as many tokens as the policy expects to keep.
    """
    expected = segment_sum(probability.masked_fill(layout.is_first, 1.0), layout)
    count = (expected + 0.5).floor().long()
    return segment_topk(saliency.masked_fill(layout.is_first, math.inf), count, layout)


def action_surprise(event: Event) -> Tensor:
    """Mean of ``-log P(action)`` over all tokens but [CLS], shape (B,)."""
    logits, done = event.decision.aux["logits"], event.decision.keep
    surprise = F.binary_cross_entropy_with_logits(logits, done.to(logits.dtype), reduction="none")
    layout = event.layout
    total = segment_sum(surprise.masked_fill(layout.is_first, 0.0), layout)
    return total / (layout.lengths - 1).clamp(min=1)


def kept_share(trace: Trace, layout: Ragged) -> Tensor:
    """Tokens kept over all tokens of the text, mean over the reductions, shape (B,)."""
    events = trace.decisions()
    kept = torch.stack([segment_count(e.decision.keep, e.layout) for e in events])
    return kept.double().mean(0).to(torch.float32) / layout.lengths


def reinforce(reward: Tensor, surprise: Tensor, samples: int) -> Tensor:
    """The REINFORCE loss, a scalar; the mean reward of the samples is the baseline.

    ``surprise`` is the negative log-probability of the actions.  Both are of shape (samples * B,),
    copy after copy of the batch.
    """
    reward = reward.view(samples, -1)
    advantage = reward - reward.mean(0)
    return (advantage.flatten() * surprise).mean()

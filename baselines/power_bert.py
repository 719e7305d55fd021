"""PoWER-BERT: keep the tokens that receive the most attention, a learned number at each layer.

Source: Goyal, Choudhury, Raje, Chakaravarthy, Sabharwal and Verma, "PoWER-BERT: Accelerating
BERT Inference via Progressive Word-vector Elimination", ICML 2020; sections 3.2 (significance),
3.3 (soft extract, mass, retention) and 3.4 (the three training stages); code: IBM/PoWER-BERT.

Implemented
- Significance of a token: the attention it receives from all other tokens, over all heads.
- Configuration search: in layer l the token of rank k by significance is multiplied by a learned
  r[l, k] in [0, 1], after the attention.  The loss has an additional term,
  ``lambda * sum_l (l + 1) sum_k r[l, k]``.
- Retention: ell_l = ceil(sum_k r[l, k]), made non-increasing.  The ell_l most significant tokens
  enter the feed-forward and the later layers; then the model is retrained.
- Fine-tuning, the first of the paper's three stages, is the shared teacher.
- Half of the steps search, and half retrain the final model (``search_share``; published: full
  epochs for each stage).  ``train.steps: final`` gives the retraining all steps.

Deviations from the paper
- [CLS] is always kept and is not multiplied in the search, since the classifier reads it.  r has
  the ranks of the other tokens, and ell_l = 1 + ceil(sum_k r[l, k]).  The paper protects [CLS] only
  in the hard stage.
- Texts are not padded, so a text of n tokens has the ranks 0..n-1.  With ``unit: tokens``, as in
  the paper, it keeps min(ell_l, n) tokens, and texts shorter than ell_l are not reduced.  With
  ``unit: share``, r[l, .] spans the relative rank in [0, 1], and a text keeps the share
  ell_l / longest of its own length.  The padded original cannot express this.
- The additional loss counts the ranks up to the longest text seen in the search, since texts are
  not padded.  The paper has a fixed sequence length.  A rank that appears late in the search has
  less time to be removed, so with ``unit: share`` the retention depends a little on when the
  longest text is drawn.
- The default learning rate of r is 0.1.  Adam moves r by at most this rate per step, so the
  published 1e-4 to 1e-2 need thousands of steps from 1 to 0; a trial here has hundreds.  At 0.1
  the search settles within 70 steps, and lambda decides how many tokens are kept.
- ``retention`` (skips the search) and ``retention_scale`` (a budget after training) are ours.

Deviations from the released code
- Retention is rounded up, as in the paper.  There it is rounded down.
- The attention mask has the columns of the kept tokens.  There it has the first ell_l columns,
  whichever tokens were kept.
- The best checkpoint is not chosen on the split that is reported.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import ConfigDict, Field, model_validator
from torch import Tensor, nn

from lotbench import reducer
from lotbench.batch import Batch
from lotbench.errors import InputError
from lotbench.ragged import Ragged, segment_rank, segment_topk
from lotbench.reducer import (
    Drop,
    Encoder,
    Look,
    Outputs,
    Received,
    Stage,
    Step,
    TokenReducer,
    Tokens,
    Trace,
)

SEARCH = "configuration search"


class Params(reducer.Params):
    """Hyper-parameters (published: lambda 1e-4 to 7e-3, learning rate of r 1e-4 to 1e-2)."""

    model_config = ConfigDict(populate_by_name=True)

    lambda_: float = Field(
        1e-3, ge=0, le=1e6, alias="lambda", description="weight of the mass of r"
    )
    retention_learning_rate: float = Field(0.1, gt=0, le=10, description="of r")
    search_share: float = Field(0.5, gt=0, lt=1, description="share of the steps that search")
    unit: Literal["tokens", "share"] = Field(
        "tokens", description="retention counts tokens, or is a share of the text"
    )
    retention: list[float] | None = Field(
        None, description="tokens kept (or their share) after each layer; skips the search"
    )
    max_length: int = Field(
        512, ge=2, le=65_536, description="ranks that r has: the longest text possible"
    )

    @model_validator(mode="after")
    def _fits_the_unit(self) -> Params:
        least, most = (1, math.inf) if self.unit == "tokens" else (0, 1)
        if not all(least <= number <= most for number in self.retention or ()):
            wanted = "numbers of tokens, 1 or more" if least else "shares between 0 and 1"
            raise ValueError(f"with unit: {self.unit}, retention lists {wanted}")
        return self


class PowerBert(TokenReducer):
    """PoWER-BERT; see the docstring of this module."""

    params: Params
    retention: Tensor
    longest: Tensor
    name = "power-bert"
    version = 3
    source = "Goyal et al., ICML 2020"
    look = Look(label="PoWER-BERT", colour="#0072B2", marker="s", order=0)
    needs = frozenset({"received_attention"})
    budget_name = "retention_scale"
    budget_range = (1e-3, 1e3)

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.retention_scale = 1.0
        whole, ell = _start(params, n_layers)
        # Integers, so that casting the model to half precision does not change them.  `retention`
        # has the tokens kept after each layer, of a text with `longest` tokens.
        self.register_buffer("retention", torch.tensor(ell))
        self.register_buffer("longest", torch.tensor(whole))
        self.weights = None
        if params.retention is None:
            self.weights = nn.Parameter(torch.ones(n_layers, params.max_length - 1))

    def stages(self) -> list[Stage]:
        if self.weights is None:
            return [Stage("retrain")]
        rates = {"weights": self.params.retention_learning_rate}
        share = self.params.search_share
        return [
            Stage(SEARCH, share, soft=True, learning_rates=rates),
            Stage("retrain", 1 - share, frozen=("weights",)),
        ]

    def start_stage(self, stage: Stage) -> None:
        super().start_stage(stage)
        if stage.name == "retrain" and self.weights is not None:
            self.retention.copy_(retention(self._reachable().detach().sum(1)))

    def training_step(self, encoder: Encoder, batch: Batch, step: Step) -> None:
        if step.stage.name == SEARCH:
            if batch.layout.max_length > self.params.max_length:
                raise InputError(
                    f"power-bert: max_length: {self.params.max_length}, but a text has "
                    f"{batch.layout.max_length} tokens; raise it"
                )
            self.longest.clamp_(min=batch.layout.max_length)

    def after_step(self) -> None:
        if self.in_soft_stage and self.weights is not None:
            self.weights.clamp_(0, 1)

    def after_attention(self, layer: int, tokens: Tokens, received: Received) -> Drop:
        layout, score = tokens.layout, significance(received, tokens.layout)
        if self.in_soft_stage:
            place = self._place(segment_rank(score, layout), layout)
            weight = soft_extract(self._weights()[layer], place)
            return Drop(torch.ones_like(layout.is_first), weight)
        # A share refers to the length of the whole text, not to the remaining tokens.
        kept = self._kept(layer, tokens.batch.layout.lengths)
        return Drop(segment_topk(score, kept, layout))

    def loss(self, outputs: Outputs, batch: Batch, trace: Trace) -> dict[str, Tensor]:
        if not self.in_soft_stage:
            return {}
        return {"mass": self.params.lambda_ * mass_penalty(self._reachable())}

    def _weights(self) -> Tensor:
        assert self.weights is not None, "only a given retention has no r"
        return self.weights.clamp(0, 1)

    def _reachable(self) -> Tensor:
        """r at the ranks of the longest text so far, shape (L, longest - 1)."""
        return self._weights()[:, : int(self.longest) - 1]

    def _place(self, rank: Tensor, layout: Ragged) -> Tensor:
        """Index into r of each token, -1 for [CLS]."""
        if self.params.unit == "share":
            others = (layout.lengths - 1).clamp(min=1)[layout.sequence]
            return torch.where(rank == 0, -1, (rank - 1) * (self.longest - 1) // others)
        return rank - 1

    def _kept(self, layer: int, lengths: Tensor) -> Tensor:
        """Tokens kept of texts with these lengths (B,), [CLS] included, shape (B,)."""
        ell = (self.retention[layer].double() * self.retention_scale).expand(lengths.shape)
        if self.params.unit == "share":
            ell = ell * lengths / self.longest
        return (ell - 1e-6).ceil().clamp(min=1)


def _start(params: Params, n_layers: int) -> tuple[int, list[int]]:
    """A text length, and the tokens of such a text kept after each layer before training."""
    if params.retention is None:
        longest = params.max_length if params.unit == "tokens" else 2
        return 2, [longest] * n_layers
    if len(params.retention) != n_layers:
        raise InputError(
            f"power-bert: retention: {len(params.retention)} numbers for a backbone of "
            f"{n_layers} layers"
        )
    whole = 10**6 if params.unit == "share" else 1
    ell = [math.ceil(number * whole - 1e-6) for number in params.retention]
    return whole, [min(ell[: i + 1]) for i in range(n_layers)]


def significance(received: Received, layout: Ragged) -> Tensor:
    """Attention that each token received from other tokens, infinite for [CLS], shape (T,)."""
    count = layout.lengths[layout.sequence].to(received.mean.dtype)
    others = (received.mean * count - received.own).detach()
    return others.masked_fill(layout.is_first, math.inf)


def soft_extract(weights: Tensor, place: Tensor) -> Tensor:
    """Factor on each token: ``weights[place]``, but 1 if ``place`` is negative ([CLS]); (T,)."""
    return torch.where(place < 0, 1.0, weights[place.clamp(min=0)])


def mass_penalty(weights: Tensor) -> Tensor:
    """``sum_l (l + 1) sum_k r[l, k]`` of r (L, K)."""
    scale = torch.arange(1, weights.shape[0] + 1, device=weights.device, dtype=weights.dtype)
    return (scale * weights.sum(1)).sum()


def retention(mass: Tensor) -> Tensor:
    """Tokens kept after each layer, [CLS] included, from the mass (L,) of the others."""
    # A rounding error in the float32 sum must not add a token.
    return (1 + (mass.double() - 1e-4).ceil().clamp(min=0).long()).cummin(0).values

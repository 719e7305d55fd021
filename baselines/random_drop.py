"""Random tokens dropped, the rest fine-tuned: the control that selects nothing.

A token-reduction method that does not beat it at the same FLOPs has not learned which tokens
matter.  A text of n tokens keeps ``ceil(keep_ratio * n)`` of them, [CLS] always among them.

- At evaluation the choice is fixed by the text itself (its hash), so results are deterministic and
  do not depend on the batch.  In training every step draws anew: the strongest form of this
  control, since the model sees all of a text over time.
- ``keep_ratio`` may be a list with one ratio per layer, for instance the ratios that a trained
  method arrived at; then the tokens of a layer are always among those of the layer before.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field, field_validator
from torch import Tensor

from lotbench import reducer
from lotbench.errors import InputError
from lotbench.ragged import Ragged, seeded_uniform, segment_rank
from lotbench.reducer import Drop, TokenReducer, Tokens


class Params(reducer.Params):
    """Hyper-parameters."""

    keep_ratio: float | list[float] = Field(
        0.5, description="share of a text's tokens in all layers, or one share per layer"
    )

    @field_validator("keep_ratio")
    @classmethod
    def _within(cls, value: float | list[float]) -> float | list[float]:
        ratios = value if isinstance(value, list) else [value]
        if not all(0 <= ratio <= 1 for ratio in ratios):
            raise ValueError("a share lies between 0 and 1")
        return value


class RandomDrop(TokenReducer):
    """A random share of the tokens, before each layer where the share falls."""

    Params: ClassVar[type[reducer.Params]] = Params
    name = "random-drop"
    source = "control"
    budget_name = "keep_ratio"

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.keep_ratio = params.keep_ratio
        if isinstance(params.keep_ratio, list) and len(params.keep_ratio) != n_layers:
            raise InputError(
                f"random-drop: keep_ratio: {len(params.keep_ratio)} numbers for a backbone of "
                f"{n_layers} layers"
            )

    def before_layer(self, layer: int, tokens: Tokens) -> Drop | None:
        ratio, before = self._ratio(layer), self._ratio(layer - 1) if layer else 1.0
        if ratio >= before:
            return None
        if self.training:
            order = torch.rand(tokens.rows.shape, device=tokens.rows.device)
        else:
            seeds = tokens.batch.text_seed
            order = seeded_uniform(seeds, tokens.batch.layout)[tokens.rows]
        return Drop(random_keep(order, tokens.layout, ratio, tokens.batch.layout.lengths))

    def _ratio(self, layer: int) -> float:
        """The share in a layer; a list never rises again."""
        if isinstance(self.keep_ratio, list):
            return min(self.keep_ratio[: layer + 1])
        return self.keep_ratio


def random_keep(order: Tensor, layout: Ragged, ratio: float, lengths: Tensor) -> Tensor:
    """[CLS] and the tokens of smallest ``order``, ``ceil(ratio * length)`` in all, (T,) bool.

    ``lengths`` (B,) are those of the texts, of which ``layout`` may hold only a part.
    """
    rank = segment_rank(-order.masked_fill(layout.is_first, -math.inf), layout)
    count = (lengths.double() * ratio - 1e-6).ceil().clamp(min=1)
    return rank < count[layout.sequence]

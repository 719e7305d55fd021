"""Control: drop random tokens, and fine-tune; it does not select.

A method that does not beat this control at the same FLOPs has not learned which tokens matter.  A
text of n tokens keeps ``ceil(keep_ratio * n)`` tokens, [CLS] included.  All steps train the final
model.

- In evaluation, the draw is seeded by a hash of the text, so it is deterministic and does not
  depend on the batch.  In training, every step draws again.  This makes the control as strong as
  possible, since the model sees all parts of a text over time.
- ``keep_ratio`` may be a list with one ratio per layer, such as the ratios of a trained method.
  The tokens of a layer are then a subset of the tokens of the layer before.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field, field_validator
from torch import Tensor

from lotbench import reducer
from lotbench.batch import Batch
from lotbench.errors import InputError
from lotbench.ragged import Ragged, seeded_uniform, segment_topk
from lotbench.reducer import Drop, Look, TokenReducer, Tokens


class Params(reducer.Params):
    """Hyper-parameters."""

    keep_ratio: float | list[float] = Field(
        0.5, description="share of a text's tokens in all layers, or one share per layer"
    )

    @field_validator("keep_ratio")
    @classmethod
    def _within(cls, value: float | list[float]) -> float | list[float]:
        ratios = value if isinstance(value, list) else [value]
        if not all(0 < ratio <= 1 for ratio in ratios):
            raise ValueError("a share must be greater than 0 and at most 1")
        return value


class RandomDrop(TokenReducer):
    """Drops random tokens before each layer where the share falls."""

    params: Params
    name = "random-drop"
    version = 2
    source = "control"
    look = Look(label="random-drop", colour="#E69F00", marker="v", role="control", order=0)
    budget_name = "keep_ratio"
    budget_range = (0, 1)

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.keep_ratio = params.keep_ratio
        if isinstance(params.keep_ratio, list) and len(params.keep_ratio) != n_layers:
            raise InputError(
                f"random-drop: keep_ratio: {len(params.keep_ratio)} numbers for a backbone of "
                f"{n_layers} layers"
            )

    def before_embedding(self, batch: Batch, words: Tensor) -> Drop | None:
        return self._drop(0, batch, batch.layout, batch.layout.rows)

    def before_layer(self, layer: int, tokens: Tokens) -> Drop | None:
        return self._drop(layer, tokens.batch, tokens.layout, tokens.rows) if layer else None

    def _drop(self, layer: int, batch: Batch, layout: Ragged, rows: Tensor) -> Drop | None:
        """The decision on these tokens of a batch, which enter a layer."""
        ratio, before = self._ratio(layer), self._ratio(layer - 1) if layer else 1.0
        if ratio >= before:
            return None
        if self.training:
            order = torch.rand(rows.shape, device=rows.device)
        else:
            order = seeded_uniform(batch.text_seed, batch.layout)[rows]
        return Drop(random_keep(order, layout, batch.layout.share(ratio)))

    def _ratio(self, layer: int) -> float:
        """The share kept in a layer: the smallest so far, since dropped tokens never return."""
        if isinstance(self.keep_ratio, list):
            return min(self.keep_ratio[: layer + 1])
        return self.keep_ratio


def random_keep(order: Tensor, layout: Ragged, count: Tensor) -> Tensor:
    """Mask of [CLS] and the tokens of smallest ``order`` (T,), shape (T,), bool.

    It has ``count`` (B,) tokens of each text.
    """
    return segment_topk(-order.masked_fill(layout.is_first, -math.inf), count, layout)

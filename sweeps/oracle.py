"""A bound on every router: keep the tokens that the dense teacher finds most salient in the text.

The saliency is that of the class that the teacher itself gives, computed for each text that is
scored.  That costs more than the dense model, so this is no method, and its FLOPs leave it out: it
tells what a router that knew the saliency would lose.  Without training (``train: {epochs: 0, init:
teacher}``) it tells what the saliency is worth to the teacher as it is.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from lotbench import reducer
from lotbench.errors import InputError
from lotbench.ragged import segment_topk
from lotbench.reducer import Drop, TokenReducer, Tokens

NEEDS = {
    "gradient": "saliency",
    "integrated": "integrated_saliency",
    "attention": "attention_saliency",
    "mean": "mean_saliency",
}


class Params(reducer.Params):
    """Hyper-parameters."""

    keep_ratio: float = Field(0.25, gt=0, le=1, description="share of a text's tokens")
    saliency: Literal["gradient", "integrated", "attention", "mean"] = "gradient"


class Oracle(TokenReducer):
    """Drops the tokens of least saliency before the first layer; [CLS] stays."""

    params: Params
    name = "oracle"
    source = "bound"
    budget_name = "keep_ratio"
    budget_range = (0, 1)
    is_oracle = True

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.keep_ratio = params.keep_ratio
        self.needs = frozenset({NEEDS[params.saliency]})

    def before_layer(self, layer: int, tokens: Tokens) -> Drop | None:
        if layer:
            return None
        layout, saliency = tokens.layout, tokens.batch.saliency
        if saliency is None:
            raise InputError(
                "method 'oracle' reads the teacher's saliency of each text, which is there in a "
                "sweep alone; it cannot be loaded, exported or timed"
            )
        count = layout.share(self.keep_ratio)
        score = saliency[tokens.rows].masked_fill(layout.is_first, math.inf)
        return Drop(segment_topk(score, count, layout))

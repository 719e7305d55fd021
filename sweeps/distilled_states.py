"""Methods that learn the teacher's state of [CLS] beside its logits; see `distilled_states.yaml`.

``states`` is the weight of 1 minus the cosine between the last state of [CLS] and that of the
teacher.  With 0 a method trains as it does without this file.  With ``init: teacher``, the default,
students start as their teacher, so a copy of the encoder before the first step is the teacher.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from baselines import static
from lotbench import lot, reducer
from lotbench.batch import Batch
from lotbench.reducer import Encoder, Outputs, Step, TokenReducer


class Params(reducer.Params):
    """Hyper-parameters."""

    states: float = Field(0.0, ge=0, description="weight of the distance between the states")


class LotParams(Params, lot.FixedBudgetParams):
    """Hyper-parameters of `Lot`."""


class StaticParams(Params, static.Params):
    """Hyper-parameters of `Static`."""


class DistilledStates(TokenReducer):
    """Keeps every token; its subclasses are methods with the same additional loss."""

    params: Params
    name = "dense-states"
    source = "ours"

    def __init__(self, params: Any, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.teacher: list[Any] = []  # in a list it is no part of the model, and is not saved

    def training_step(self, encoder: Encoder, batch: Batch, step: Step) -> dict | None:
        if not self.params.states:
            return None
        if not self.teacher:
            self.teacher.append(deepcopy(encoder).train(False))
        keep_all = TokenReducer(reducer.Params(), self.n_layers, self.width)
        with torch.no_grad():
            wanted = first_states(self.teacher[0](batch, reducer=keep_all))
        outputs = encoder(batch)
        apart = 1 - F.cosine_similarity(first_states(outputs), wanted).mean()
        own = self.loss(outputs, batch, outputs.trace)
        return step.objective(outputs.logits, batch) | own | {"states": self.params.states * apart}

    def after_training(self, words: Tensor) -> None:
        self.teacher.clear()
        super().after_training(words)


class Lot(DistilledStates, lot.FixedBudget):
    """Leap-of-Thought with a fixed budget."""

    params: LotParams
    name = "lot-states"


class Static(DistilledStates, static.Static):
    """The lookup of words."""

    params: StaticParams
    name = "static-states"


def first_states(outputs: Outputs) -> Tensor:
    """The last state of [CLS] of each text, shape (B, D), in float32."""
    return outputs.hidden[outputs.layout.is_first].float()

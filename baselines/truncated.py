"""The first k layers of the backbone, fine-tuned: the control that removes layers, not tokens.

A token-reduction method that does not beat it at the same FLOPs has shown nothing.  The head sits
on the output of layer k - 1; the layers behind stay in the checkpoint and are never run.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from lotbench import reducer
from lotbench.errors import InputError
from lotbench.reducer import TokenReducer


class Params(reducer.Params):
    """Hyper-parameters."""

    layers: int | None = Field(None, ge=1, description="layers that are run; null: half of them")


class Truncated(TokenReducer):
    """The first ``layers`` layers, every token."""

    Params: ClassVar[type[reducer.Params]] = Params
    name = "truncated"
    source = "control"

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        layers = max(1, n_layers // 2) if params.layers is None else params.layers
        if layers > n_layers:
            raise InputError(
                f"truncated: layers: {layers}, but the backbone has only {n_layers} layers"
            )
        self.active_layers = layers

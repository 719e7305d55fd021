"""Control: keep the first k layers of the backbone, and fine-tune; it removes layers, not tokens.

Token reduction is of no use unless it beats this control at the same FLOPs.  The head gets the
output of layer k - 1.  The later layers remain in the checkpoint and never run.  All steps train
the final model.

With ``layers: 0`` the head reads the mean of a text's embeddings, not a state.  It learns that at
a rate of 2e-3.  A pooling that takes the mean of all tokens maps it.  `baselines.bag` weighs the
embeddings.

`AnyDepth` is one model for every k, its budget after training.  With ``train.budgets: sampled``
every step trains another k.
"""

from __future__ import annotations

from pydantic import Field

from lotbench import reducer
from lotbench.errors import InputError
from lotbench.reducer import Look, TokenReducer


class Params(reducer.Params):
    """Hyper-parameters."""

    layers: int | None = Field(
        None, ge=0, le=1000, description="layers that are run; null: half of them, 0: none"
    )


class Truncated(TokenReducer):
    """Runs the first ``layers`` layers, with every token."""

    params: Params
    name = "truncated"
    version = 2
    source = "control"
    look = Look(label="truncated", colour="#F0E442", marker="X", role="control", order=3)

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        layers = max(1, n_layers // 2) if params.layers is None else params.layers
        if layers > n_layers:
            raise InputError(
                f"truncated: layers: {layers}, but the backbone has only {n_layers} layers"
            )
        self.active_layers = layers


class DepthParams(reducer.Params):
    """Hyper-parameters."""

    depth: int = Field(6, ge=1, le=1000, description="layers that are run; at most all")


class AnyDepth(TokenReducer):
    """Runs as many of the first layers as its budget says, with every token."""

    params: DepthParams
    name = "any-depth"
    source = "control"
    look = Look(label="any depth", colour="#B8860B", marker="X", role="control", order=3)
    budget_name = "depth"
    budget_range = (1, 48)

    def __init__(self, params: DepthParams, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.depth = params.depth

    @property
    def depth(self) -> int:
        """The budget."""
        return self.active_layers

    @depth.setter
    def depth(self, value: int) -> None:
        self.active_layers = min(value, self.n_layers)

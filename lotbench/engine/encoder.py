"""The reduced encoder: a backbone under a method's decisions, in two modes that agree.

``packed`` computes only what the method keeps: unselected tokens are physically gone.
``reference`` computes every token of every layer and lets the decisions act as weights, so that
gradients flow through them; it is the definition that the packed path is tested against.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from lotbench.batch import Batch
from lotbench.engine.backbone import Backbone
from lotbench.engine.modes import Packed, Prefix, Reference
from lotbench.reducer import Outputs, TokenReducer

Mode = Literal["packed", "reference"]


class ReducedEncoder(nn.Module):
    """A backbone that a method reduces.

    Parameters
    ----------
    backbone : Backbone
    reducer : TokenReducer
    """

    def __init__(self, backbone: Backbone, reducer: TokenReducer) -> None:
        super().__init__()
        self.backbone = backbone
        self.reducer = reducer

    def forward(
        self,
        batch: Batch,
        mode: Mode = "packed",
        inputs: bool = False,
        reducer: TokenReducer | None = None,
        prefix: Prefix | None = None,
    ) -> Outputs:
        """Logits, final states and trace of a ragged batch.

        Parameters
        ----------
        batch : Batch
        mode : "packed" or "reference"
        inputs : bool
            Also return the hidden states that enter each layer.
        reducer : TokenReducer, optional
            Decides in the place of the encoder's own (a policy that explores, a forced decision).
        prefix : Prefix, optional
            Go on from these states instead of the embeddings; the trace begins there.

        Raises
        ------
        ValueError
            If the mode is unknown, a decision is malformed, or a soft one reaches the packed path.
        """
        reducer = self.reducer if reducer is None else reducer
        if mode == "packed":
            run: Packed | Reference = Packed(self, reducer, batch, inputs, prefix)
        elif mode == "reference":
            run = Reference(self, reducer, batch, inputs, prefix)
        else:
            raise ValueError(f"mode must be 'packed' or 'reference', not {mode!r}")
        start = 0 if prefix is None else prefix.layer
        for index in range(start, reducer.active_layers):
            run.layer(index, self.backbone.layers[index])
        return run.outputs()

    def prefix(self, batch: Batch, layer: int) -> Prefix:
        """What enters ``layer`` when the layers before it compute every token."""
        reducer = TokenReducer(TokenReducer.Params(), layer, self.backbone.width)
        run = Packed(self, reducer, batch, False, None)
        for index in range(layer):
            run.layer(index, self.backbone.layers[index])
        return Prefix(layer, run.hidden)

    def heads(self, x: Tensor) -> Tensor:
        """Heads apart: ``(T, D) -> (T, H, d)``."""
        count = self.backbone.heads
        return x.view(-1, count, self.backbone.width // count)

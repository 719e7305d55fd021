"""The reduced encoder: a backbone under a method's decisions, in two modes that agree.

``packed`` computes only what the method keeps: unselected tokens are physically gone.
``reference`` computes every token of every layer and lets the decisions act as weights, so that
gradients flow through them; it is the definition that the packed path is tested against.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from lotbench.batch import Batch
from lotbench.engine.backbone import Backbone
from lotbench.engine.packed import Packed
from lotbench.engine.reference import Reference
from lotbench.engine.run import Prefix
from lotbench.reducer import Outputs, TokenReducer

Mode = Literal["packed", "reference"]
MODES: dict[Mode, type[Packed | Reference]] = {"packed": Packed, "reference": Reference}


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
        if mode not in MODES:
            raise ValueError(f"mode must be 'packed' or 'reference', not {mode!r}")
        return MODES[mode](self.backbone, reducer, batch, inputs, prefix).outputs()

    def prefix(self, batch: Batch, layer: int) -> Prefix:
        """What enters ``layer`` when the layers before it compute every token."""
        nothing = TokenReducer(TokenReducer.Params(), layer, self.backbone.width)
        return Prefix(layer, Packed(self.backbone, nothing, batch).tokens().hidden)

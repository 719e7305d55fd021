"""`ReducedEncoder`: a backbone and a method, run in one of two modes with equal results.

``packed`` computes only the tokens that the method keeps; the others are not in the tensors.
``reference`` computes every token of every layer and applies decisions as weights, so gradients
flow through them.  It defines the result that the packed mode must give.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from lotbench.batch import Batch
from lotbench.engine.backbone import Backbone
from lotbench.engine.packed import PackedRun
from lotbench.engine.reference import ReferenceRun
from lotbench.reducer import Outputs, Prefix, TokenReducer

Mode = Literal["packed", "reference"]
MODES: dict[Mode, type[PackedRun | ReferenceRun]] = {"packed": PackedRun, "reference": ReferenceRun}


class ReducedEncoder(nn.Module):
    """A backbone that a method reduces.

    Parameters
    ----------
    backbone : Backbone
    reducer : TokenReducer
    protect : int, optional
        Token id that ends the first text of a pair.  The engine keeps the tokens up to the first
        such token, whatever the method decides.  A text that itself has the separator ends there.
    """

    def __init__(
        self, backbone: Backbone, reducer: TokenReducer, protect: int | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.reducer = reducer
        self.protect = protect

    def forward(
        self,
        batch: Batch,
        mode: Mode = "packed",
        inputs: bool = False,
        reducer: TokenReducer | None = None,
        prefix: Prefix | None = None,
    ) -> Outputs:
        """Logits or sentence vectors, final states and trace of a ragged batch.

        Parameters
        ----------
        batch : Batch
        mode : "packed" or "reference"
        inputs : bool
            Also return the hidden states that enter each layer.
        reducer : TokenReducer, optional
            Decides instead of the encoder's own reducer (such as a policy that explores).
        prefix : Prefix, optional
            Start from these states instead of the embeddings; the trace starts at their layer.

        Raises
        ------
        ValueError
            If the mode is unknown, a decision is malformed, or a decision in packed mode is soft.
        """
        reducer = self.reducer if reducer is None else reducer
        if mode not in MODES:
            raise ValueError(f"mode must be 'packed' or 'reference', not {mode!r}")
        run = MODES[mode](self.backbone, reducer, batch, inputs, prefix, self.protect)
        return run.outputs()

    def prefix(self, batch: Batch, layer: int) -> Prefix:
        """The states that enter ``layer`` if all layers before it compute every token."""
        keep_all = TokenReducer(TokenReducer.Params(), layer, self.backbone.width)
        return Prefix(layer, PackedRun(self.backbone, keep_all, batch).tokens().hidden)

"""The dense reference: the fine-tuned encoder with every token kept.

``dense`` is the untouched Hugging Face model on padded batches.  ``dense-packed`` runs the same
weights in the ragged engine; it shows the speed-up from removing padding alone.  All steps train
the final model.
"""

from __future__ import annotations

from lotbench.reducer import Look, TokenReducer


class Dense(TokenReducer):
    """Every layer computes every token; timed as the untouched model on padded batches."""

    name = "dense"
    source = "the backbone's own paper"
    look = Look(label="dense", colour="#000000", marker="*", role="dense", order=0)
    padded = True


class DensePacked(TokenReducer):
    """Every layer computes every token; timed on the packed path."""

    name = "dense-packed"
    source = "the backbone's own paper"
    look = Look(label="dense-packed", colour="#777777", marker="h", role="dense", order=1)

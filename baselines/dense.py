"""The dense reference: the fine-tuned encoder with every token kept.

``dense`` runs the untouched Hugging Face model on padded batches; ``dense-packed`` runs the same
weights through the ragged engine, which shows what removing padding alone buys.
"""

from __future__ import annotations

from lotbench.reducer import TokenReducer


class Dense(TokenReducer):
    """Every token through every layer; timed as the untouched model on padded input."""

    name = "dense"
    source = "the backbone's own paper"
    padded = True


class DensePacked(TokenReducer):
    """Every token through every layer; timed on the packed path."""

    name = "dense-packed"
    source = "the backbone's own paper"

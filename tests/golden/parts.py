"""Methods, tokens and traces that golden tests are made of."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lotbench.batch import Batch
from lotbench.lot import LeapOfThought, Params
from lotbench.reducer import Decision, Event, Tokens, Trace


def lot(n_layers: int = 3, width: int = 32, **params: Any) -> LeapOfThought:
    """A new Leap-of-Thought in float64."""
    return LeapOfThought(Params(**params), n_layers, width).double()


def tokens_of(texts: Batch, hidden: Tensor | None = None, **more: Any) -> Tokens:
    """All tokens of a batch; their states are zeros unless given."""
    states = torch.zeros(texts.layout.total, 16) if hidden is None else hidden
    return Tokens(states, texts.layout, texts.layout.rows, texts, **more)


def trace_of(tokens: Tokens, decisions: Sequence[Decision], point: str = "before_layer") -> Trace:
    """A trace of these decisions, one for each layer, on the same tokens."""
    events = [
        Event(layer, point, decision, tokens.layout, tokens.rows)
        for layer, decision in enumerate(decisions)
    ]
    return Trace(events=events)

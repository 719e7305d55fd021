"""What a model answers on a batch, text by text, and how two answers differ."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lotbench.batch import Batch
from lotbench.conformance.outcome import Broken
from lotbench.conformance.texts import RAGGED, batch
from lotbench.engine.encoder import Mode, ReducedEncoder
from lotbench.ragged import select
from lotbench.reducer import Merge, Outputs, Trace

LeftOut = dict[tuple[int, str, int], tuple[tuple[int, int], ...]]
"""By (layer, point, text): the position of each token that is left out, and the position of the
token that it merges into, -1 if none."""


@dataclass(frozen=True)
class Answer:
    """The results of a model on a batch, by text."""

    outputs: Outputs
    logits: dict[int, Tensor]
    left_out: LeftOut

    def flipped(self, other: Answer) -> set[int]:
        """The texts on which another answer has other decisions."""
        keys = {**self.left_out, **other.left_out}
        return {key[2] for key in keys if self.left_out.get(key) != other.left_out.get(key)}


@torch.no_grad()
def answer(
    encoder: ReducedEncoder, data: Batch, mode: Mode = "packed", named: Batch | None = None
) -> Answer:
    """The results of a model on ``data``; ``named`` gives the texts other numbers."""
    outputs = encoder(data, mode)
    named = data if named is None else named
    logits = dict(zip(named.index.tolist(), outputs.logits, strict=True))
    return Answer(outputs, logits, positions_left_out(outputs.trace, named))


def compare(one: Answer, other: Answer, how: str, otherwise: str, tolerance: float) -> float:
    """Largest difference of outputs on the texts that both answers have."""
    texts = [text for text in one.logits if text in other.logits]
    for key in sorted({**one.left_out, **other.left_out}):
        layer, point, text = key
        here, there = set(one.left_out.get(key, ())), set(other.left_out.get(key, ()))
        if text in texts and here != there:
            places = {place for place, _ in here ^ there}
            raise Broken(
                f"{point} of layer {layer}, text {text}: {len(here)} tokens left out {how}, "
                f"{len(there)} {otherwise}; {len(places)} decided differently"
            )
    most = 0.0
    for text in texts:
        off = float((one.logits[text] - other.logits[text]).abs().max())
        if not off <= tolerance:
            raise Broken(f"text {text}: outputs {how} and {otherwise} differ by {off:.1e}")
        most = max(most, off)
    return most


def positions_left_out(trace: Trace, batch: Batch) -> LeftOut:
    """The tokens that each decision drops, merges or lets leap."""
    places_by_event: LeftOut = {}
    for event in trace.events:
        left_out, layout = select(~event.decision.keep, event.layout)
        places = batch.layout.position[event.rows]
        into = torch.full_like(places, -1)
        if isinstance(event.decision, Merge):
            into = places[event.decision.groups]
        pairs = torch.stack([places, into], 1)[left_out]
        for text, part in zip(batch.index.tolist(), pairs.split(layout.sizes), strict=True):
            if part.numel():
                places_by_event[event.layer, event.point, text] = tuple(map(tuple, part.tolist()))
    return places_by_event


@dataclass
class Case:
    """A model at one value of its budget, and its answers."""

    label: str
    encoder: ReducedEncoder
    answers: dict[tuple[tuple[int, ...], Mode], Answer] = field(default_factory=dict)

    def answer(self, rows: tuple[int, ...] = RAGGED, mode: Mode = "packed") -> Answer:
        """The answer on these texts, computed once."""
        if (rows, mode) not in self.answers:
            self.answers[rows, mode] = answer(self.encoder, batch(rows), mode)
        return self.answers[rows, mode]

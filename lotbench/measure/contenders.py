"""Contenders: a model as a list of calls, one per batch, padded or packed; and their groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from lotbench.batch import Batch
from lotbench.engine.encoder import ReducedEncoder
from lotbench.measure.flops import dense_flops, reduced_flops
from lotbench.measure.protocol import Call
from lotbench.measure.spec import Candidate, Example
from lotbench.ragged import Ragged
from lotbench.reducer import Outputs
from lotbench.store.record import Budget

Item = TypeVar("Item")

GROUP_SIZE = 16
"""Most contenders in a group: with more, the samples of one round are too far apart in time."""


@dataclass(frozen=True)
class Contender:
    """A model and its calls, one per batch."""

    encoder: ReducedEncoder
    padded: bool
    """True for the Hugging Face model on padded batches, False for the packed path."""
    calls: list[Call]
    flops: Callable[[], float]
    """FLOPs of one pass over the calls."""


def padded_contender(
    encoder: ReducedEncoder, examples: Sequence[Example], batch_size: int
) -> Contender:
    """The untouched Hugging Face model, called once per padded batch."""
    model = encoder.backbone.model.eval()
    calls = []
    for batch in chunks(examples, batch_size):
        inputs = padded_inputs(batch, model.config, model.device)
        calls.append(lambda inputs=inputs: model(**inputs).logits)
    lengths = torch.tensor([len(example.input_ids) for example in examples])
    total = float(dense_flops(lengths, encoder.backbone).sum())
    return Contender(encoder, True, calls, lambda: total)


def padded_inputs(
    examples: Sequence[Example], config: Any, device: torch.device
) -> dict[str, torch.Tensor]:
    """Keyword arguments of a Hugging Face model for one padded batch, each of shape (B, N).

    A batch that needs no padding has no mask, since the model is faster without one.
    """
    lengths = [len(example.input_ids) for example in examples]
    longest = max(lengths)

    def table(rows: list[list[int]], fill: int) -> torch.Tensor:
        padded = [row + [fill] * (longest - len(row)) for row in rows]
        return torch.tensor(padded, device=device)

    ids = [example.input_ids for example in examples]
    inputs = {"input_ids": table(ids, config.pad_token_id or 0)}
    if getattr(config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = table([example.token_type_ids for example in examples], 0)
    if min(lengths) < longest:
        mask = torch.arange(longest)[None] < torch.tensor(lengths)[:, None]
        inputs["attention_mask"] = mask.to(device, torch.int64)
    return inputs


def packed_contender(
    encoder: ReducedEncoder, examples: Sequence[Example], batch_size: int, budget: Budget
) -> Contender:
    """The packed path at a budget, called once per ragged batch."""
    device = encoder.backbone.model.device
    for value in budget.values():
        if value != encoder.reducer.budget:
            # A copy, so that each contender of one model has its own budget.
            encoder = ReducedEncoder(encoder.backbone, deepcopy(encoder.reducer)).eval()
            encoder.reducer.budget = value
    batches = [ragged_batch(batch).to(device) for batch in chunks(examples, batch_size)]

    def call(batch: Batch) -> Outputs:
        # A new layout, since computing its cached properties is part of a real call.
        layout = Ragged(batch.layout.cu_seqlens, batch.layout.sizes)
        return encoder(replace(batch, layout=layout))

    def flops() -> float:
        traces = [call(batch).trace for batch in batches]
        counts = [reduced_flops(trace, encoder.backbone, encoder.reducer) for trace in traces]
        return float(torch.cat(counts).sum())

    calls: list[Call] = [lambda batch=batch: call(batch).logits for batch in batches]
    return Contender(encoder, False, calls, flops)


def ragged_batch(examples: Sequence[Example]) -> Batch:
    """The ragged batch of these examples, without labels."""
    return Batch.from_ids(
        [example.input_ids for example in examples],
        [example.token_type_ids for example in examples],
        text_seed=[example.text_seed for example in examples],
    )


def plan_groups(
    candidates: Sequence[Candidate],
    size_of: Callable[[str], int],
    capacity: float,
    limit: int = GROUP_SIZE,
) -> list[list[Candidate]]:
    """Candidates in groups of at most ``limit`` whose models fit into ``capacity`` bytes.

    All budgets of a model are in one group, even if they exceed ``limit``, so that each model is
    loaded once.  Without candidates there is one empty group, which times dense.

    Parameters
    ----------
    candidates : sequence of Candidate
    size_of : callable
        Bytes of the model in a folder.
    capacity : float
        Bytes.
    limit : int
    """
    by_folder: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_folder.setdefault(candidate.folder, []).append(candidate)
    groups: list[list[Candidate]] = [[]]
    used = 0.0
    for folder, members in by_folder.items():
        size = size_of(folder)
        if groups[-1] and (len(groups[-1]) + len(members) > limit or used + size > capacity):
            groups.append([])
            used = 0.0
        groups[-1].extend(members)
        used += size
    return groups


def model_bytes(folder: str) -> int:
    """Size of a saved model's weights, in bytes."""
    return sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))


def chunks(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """The items in order, ``size`` at a time; the last chunk may be smaller."""
    return [items[start : start + size] for start in range(0, len(items), size)]

"""Contenders: a model in a backend as a list of calls, one per batch; and their groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch

from lotbench.batch import Batch
from lotbench.budget import Budget
from lotbench.deploy.session import Session, feed
from lotbench.engine.encoder import ReducedEncoder
from lotbench.measure.flops import dense_flops, reduced_flops
from lotbench.measure.models import Compiled, Model
from lotbench.measure.protocol import Call
from lotbench.measure.spec import Candidate, Example
from lotbench.ragged import Ragged
from lotbench.reducer import Outputs

Item = TypeVar("Item")

GROUP_SIZE = 16
"""Most contenders in a group: with more, the samples of one round are too far apart in time."""


@dataclass(frozen=True)
class Watched:
    """The engine behind a contender's calls: what can be observed of it."""

    encoder: ReducedEncoder
    padded: bool
    """True for the Hugging Face model on padded batches, False for the packed path."""
    flops: Callable[[], float]
    """FLOPs of one pass over the calls."""


@dataclass(frozen=True)
class Contender:
    """The calls of a model, one per batch; each returns logits, shape (B, C)."""

    calls: list[Call]
    watched: Watched | None = None
    """None for compiled and exported models."""


def contender(
    model: Model, candidate: Candidate, examples: Sequence[Example], batch_size: int
) -> Contender:
    """A candidate's calls on these examples, in their order."""
    if isinstance(model, Compiled):
        return Contender(_padded_calls(model.encoder, model.run, examples, batch_size))
    if not isinstance(model, ReducedEncoder):
        return exported_contender(model, examples, batch_size, candidate.budget)
    if model.reducer.padded:
        return padded_contender(model, examples, batch_size)
    return packed_contender(model, examples, batch_size, candidate.budget)


def exported_contender(
    session: Session, examples: Sequence[Example], batch_size: int, budget: Budget | None
) -> Contender:
    """An exported graph, called once per padded batch.

    The mask is an input of the graph, so it is always given.
    """
    feeds = [
        feed(
            session.inputs,
            [example.input_ids for example in batch],
            [example.token_type_ids for example in batch],
            [example.text_seed for example in batch],
            budget=budget and budget.value,
        )
        for batch in chunks(examples, batch_size)
    ]
    return Contender([lambda arrays=arrays: session(arrays) for arrays in feeds])


def padded_contender(
    encoder: ReducedEncoder, examples: Sequence[Example], batch_size: int
) -> Contender:
    """The untouched Hugging Face model, called once per padded batch."""
    calls = _padded_calls(encoder, encoder.backbone.model.eval(), examples, batch_size)
    lengths = torch.tensor([len(example.input_ids) for example in examples])
    total = float(dense_flops(lengths, encoder.backbone).sum())
    return Contender(calls, Watched(encoder, True, lambda: total))


def _padded_calls(
    encoder: ReducedEncoder,
    model: Callable[..., Any],
    examples: Sequence[Example],
    batch_size: int,
) -> list[Call]:
    """Calls of a form of the encoder's Hugging Face model."""
    own = encoder.backbone.model
    calls = []
    for batch in chunks(examples, batch_size):
        inputs = padded_inputs(batch, own.config, own.device)
        calls.append(lambda inputs=inputs: model(**inputs).logits)
    return calls


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
    encoder: ReducedEncoder, examples: Sequence[Example], batch_size: int, budget: Budget | None
) -> Contender:
    """The packed path at a budget, called once per ragged batch."""
    device = encoder.backbone.model.device
    if budget and budget.value != encoder.reducer.budget:
        # A copy, so that each contender of one model has its own budget.
        encoder = ReducedEncoder(encoder.backbone, deepcopy(encoder.reducer)).eval()
        encoder.reducer.budget = budget.value
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
    return Contender(calls, Watched(encoder, False, flops))


def ragged_batch(examples: Sequence[Example]) -> Batch:
    """The ragged batch of these examples, without labels."""
    return Batch.from_ids(
        [example.input_ids for example in examples],
        [example.token_type_ids for example in examples],
        text_seed=[example.text_seed for example in examples],
    )


def plan_groups(
    candidates: Sequence[Candidate],
    size_of: Callable[[Candidate], int],
    capacity: float,
    limit: int = GROUP_SIZE,
) -> list[list[Candidate]]:
    """Candidates in groups of at most ``limit`` whose models fit into ``capacity`` bytes.

    All budgets of a model in one backend are in one group, even if they exceed ``limit``, so that
    each is loaded once.  Without candidates there is one empty group, which times dense.

    Parameters
    ----------
    candidates : sequence of Candidate
    size_of : callable
        Bytes of a candidate's model.
    capacity : float
        Bytes.
    limit : int
    """
    by_model: dict[tuple[str, ...], list[Candidate]] = {}
    for candidate in candidates:
        by_model.setdefault(candidate.model, []).append(candidate)
    groups: list[list[Candidate]] = [[]]
    used = 0.0
    for members in by_model.values():
        size = size_of(members[0])
        if groups[-1] and (len(groups[-1]) + len(members) > limit or used + size > capacity):
            groups.append([])
            used = 0.0
        groups[-1].extend(members)
        used += size
    return groups


def chunks(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """The items in order, ``size`` at a time; the last chunk may be smaller."""
    return [items[start : start + size] for start in range(0, len(items), size)]

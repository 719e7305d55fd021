"""The calls of a model in a backend, one per batch; the clock times their two steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from lotbench.backends import BY_NAME
from lotbench.batch import Batch
from lotbench.budget import Budget
from lotbench.data.tokens import tokenise_each
from lotbench.deploy.session import Session, feed, open_session
from lotbench.engine.backbone import Backbone
from lotbench.engine.checkpoint import load
from lotbench.engine.config_of_backbone import read_config
from lotbench.engine.encoder import ReducedEncoder
from lotbench.measure.devices import DTYPES
from lotbench.measure.flops import dense_flops, reduced_flops
from lotbench.measure.protocol import PACKED, Call
from lotbench.measure.spec import Entry, Example
from lotbench.reducer import Params, TokenReducer

Item = TypeVar("Item")
Batches = Sequence[Sequence[Example]]
Rows = list[list[int]]
Read = Callable[[Sequence[Example]], tuple[Rows, Rows]]
"""Token ids and token types of a batch."""


def as_given(batch: Sequence[Example]) -> tuple[Rows, Rows]:
    """The tokens that the examples have."""
    return [each.input_ids for each in batch], [each.token_type_ids for each in batch]


def tokenising(tokenizer: Any, max_length: int) -> Read:
    """A function that tokenises the examples' texts."""
    return lambda batch: tokenise_each([each.text for each in batch], tokenizer, max_length)


def _calls(
    batches: Batches, read: Read, prepare: Callable[..., Any], run: Callable[[Any], Any]
) -> list[Call]:
    """A call for each batch; ``prepare`` takes token ids, token types and seeds of the texts."""

    def prepared(batch: Sequence[Example]) -> Any:
        return prepare(*read(batch), [each.text_seed for each in batch])

    return [Call(run, partial(prepared, batch)) for batch in batches]


@dataclass(frozen=True)
class Calls:
    """The calls of a model, one per batch; each returns logits (B, C), or vectors (B, D)."""

    calls: list[Call]
    encoder: ReducedEncoder | None = None
    """The engine behind them, which can be observed; None for compiled and exported models."""
    flops: Callable[[], float] | None = None
    """FLOPs of one pass over the calls."""


@dataclass(frozen=True)
class Padded:
    """A dense model on padded batches: the untouched Hugging Face model, or its compiled form."""

    encoder: ReducedEncoder
    compiled: bool = False

    def calls(self, batches: Batches, budget: Budget | None = None, read: Read = as_given) -> Calls:
        """The calls on these batches; dense has no budget."""
        model = self.encoder.backbone.model.eval()
        prepare = partial(padded_inputs, model.config, model.device)
        run = self._compiled if self.compiled else self._run
        calls = _calls(batches, read, prepare, lambda given: run(**given))
        if self.compiled:
            return Calls(calls)
        lengths = torch.tensor([len(each.input_ids) for batch in batches for each in batch])
        total = float(dense_flops(lengths, self.encoder.backbone).sum())
        return Calls(calls, self.encoder, lambda: total)

    def _run(self, **given: torch.Tensor) -> torch.Tensor:
        """The model's logits, or the pooling of its states."""
        backbone = self.encoder.backbone
        found = backbone.model(**given)
        if backbone.pooling is None:
            return found.logits
        return backbone.pooling.padded(found.last_hidden_state, given.get("attention_mask"))

    @cached_property
    def _compiled(self) -> Callable[..., Any]:
        """The same compiled for batches of any size and length."""
        return torch.compile(self._run, dynamic=True)


@dataclass(frozen=True)
class Packed:
    """A model in the engine, on ragged batches."""

    encoder: ReducedEncoder

    def calls(self, batches: Batches, budget: Budget | None = None, read: Read = as_given) -> Calls:
        """The calls on these batches at a budget; None is the trained one."""
        encoder = self.encoder
        if budget and budget.value != encoder.reducer.budget:
            # A copy, so that each budget of one model has its own.
            reducer = deepcopy(encoder.reducer)
            encoder = ReducedEncoder(encoder.backbone, reducer, encoder.protect).eval()
            encoder.reducer.budget = budget.value
        device = encoder.backbone.model.device

        def prepare(ids: Rows, types: Rows, seeds: list[int]) -> Batch:
            return Batch.from_ids(ids, types, text_seed=seeds).to(device)

        calls = _calls(batches, read, prepare, lambda batch: encoder(batch).logits)

        def flops() -> float:
            traces = [encoder(call.prepare()).trace for call in calls]
            counts = [reduced_flops(trace, encoder.backbone, encoder.reducer) for trace in traces]
            return float(torch.cat(counts).sum())

        return Calls(calls, encoder, flops)


@dataclass(frozen=True)
class Exported:
    """An exported graph in a runtime, on padded batches."""

    session: Session
    padding: int
    """Token id of padding."""

    def calls(self, batches: Batches, budget: Budget | None = None, read: Read = as_given) -> Calls:
        """The calls on these batches; the mask is an input of the graph, so it is always given."""
        more = {"padding": self.padding, "budget": budget and budget.value}
        prepare = partial(feed, self.session.inputs, **more)
        return Calls(_calls(batches, read, prepare, self.session))


Loaded = Padded | Packed | Exported
"""A model in its backend."""


def load_entry(
    entry: Entry, device: torch.device, threads: int, plugins: Sequence[str] = ()
) -> Loaded:
    """The model of an entry in its backend."""
    if entry.graph is not None:
        session = open_session(Path(entry.graph), entry.backend, threads)
        return Exported(session, read_config(entry.folder).pad_token_id or 0)
    backend = BY_NAME[entry.backend]
    encoder = load_engine(entry, plugins)
    # Frequencies of rotary positions stay in float32, as transformers loads them: in bf16 the
    # angles of far places are off by half a turn.
    exact = [
        (module, name, buffer.to(device))
        for module in encoder.modules()
        for name, buffer in module.named_buffers(recurse=False)
        if name.endswith("inv_freq")
    ]
    encoder.to(device, DTYPES[backend.precision])
    for module, name, buffer in exact:
        setattr(module, name, buffer)
    return Padded(encoder, backend.compiled) if encoder.reducer.padded else Packed(encoder)


def load_engine(entry: Entry, plugins: Sequence[str] = ()) -> ReducedEncoder:
    """The model of an entry in the engine, in float32 on the CPU, at its trained budget."""
    encoder = load(Path(entry.folder), plugins).eval()
    if entry.trial_id is None and entry.name == PACKED:
        return packed_dense(encoder.backbone)
    return encoder


def packed_dense(backbone: Backbone) -> ReducedEncoder:
    """The dense model on the packed path."""
    nothing = TokenReducer(Params(), len(backbone.layers), backbone.width)
    return ReducedEncoder(backbone, nothing).eval()


def padded_inputs(
    config: Any, device: torch.device, ids: Rows, types: Rows, seeds: Sequence[int]
) -> dict[str, torch.Tensor]:
    """Keyword arguments of a Hugging Face model for one padded batch, each of shape (B, N).

    A batch that needs no padding has no mask, since the model is faster without one.
    """
    names = ["input_ids"]
    if getattr(config, "type_vocab_size", 0) > 1:
        names.append("token_type_ids")
    if len(set(map(len, ids))) > 1:
        names.append("attention_mask")
    arrays = feed(names, ids, types, seeds, config.pad_token_id or 0)
    return {name: torch.from_numpy(rows).to(device) for name, rows in arrays.items()}


def chunks(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """The items in order, ``size`` at a time; the last chunk may be smaller."""
    return [items[start : start + size] for start in range(0, len(items), size)]

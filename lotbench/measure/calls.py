"""The calls of a model in a backend, one per batch; the clock times their two steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
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
    return [text.input_ids for text in batch], [text.token_type_ids for text in batch]


def tokenising(tokenizer: Any, max_length: int) -> Read:
    """A function that tokenises the examples' texts."""
    return lambda batch: tokenise_each([example.text for example in batch], tokenizer, max_length)


@dataclass(frozen=True)
class Model:
    """A model in its backend, at one budget."""

    prepare: Callable[[Rows, Rows, list[int]], Any]
    """Makes what the model takes of the token ids, token types and seeds of a batch."""
    run: Callable[[Any], Any]
    """Returns logits (B, C), or vectors (B, D)."""
    encoder: ReducedEncoder | None = None
    """The engine behind it; None for exported models."""
    padded: bool = False
    """True if it is the untouched Hugging Face model of the engine, or its compiled form."""
    observable: bool = True
    """False if the modules of the engine do not run one by one, as they are compiled."""

    def calls(self, batches: Batches, read: Read = as_given) -> list[Call]:
        """A call for each batch."""

        def prepared(batch: Sequence[Example]) -> Any:
            return self.prepare(*read(batch), [example.text_seed for example in batch])

        return [Call(self.run, partial(prepared, batch)) for batch in batches]

    def flops(self, batches: Batches) -> float:
        """FLOPs of the engine in one pass over the batches."""
        encoder = self.encoder
        assert encoder is not None, "an exported model does not count"
        if self.padded:
            lengths = [len(example.input_ids) for batch in batches for example in batch]
            return float(dense_flops(torch.tensor(lengths), encoder.backbone).sum())
        traces = [encoder(call.prepare()).trace for call in self.calls(batches)]
        counts = [reduced_flops(trace, encoder.backbone, encoder.reducer) for trace in traces]
        return float(torch.cat(counts).sum())


Loaded = Callable[[Budget | None], Model]
"""A loaded model, to be set to a budget; None is the trained one."""


def padded(encoder: ReducedEncoder, compiled: bool = False) -> Model:
    """Dense on padded batches: the untouched Hugging Face model, or its compiled form."""
    backbone, model = encoder.backbone, encoder.backbone.model.eval()

    def outputs(**inputs: torch.Tensor) -> torch.Tensor:
        result = model(**inputs)
        if backbone.pooling is None:
            return result.logits
        return backbone.pooling.padded(result.last_hidden_state, inputs.get("attention_mask"))

    run = torch.compile(outputs, dynamic=True) if compiled else outputs
    prepare = partial(padded_inputs, model.config, model.device)
    return Model(prepare, lambda inputs: run(**inputs), encoder, True, not compiled)


def packed(encoder: ReducedEncoder, budget: Budget | None = None) -> Model:
    """A model in the engine, on ragged batches."""
    if budget and budget.value != encoder.reducer.budget:
        # A copy, so that each budget of one model has its own.
        reducer = deepcopy(encoder.reducer)
        encoder = ReducedEncoder(encoder.backbone, reducer, encoder.protect).eval()
        encoder.reducer.budget = budget.value
    device = encoder.backbone.model.device

    def prepare(ids: Rows, types: Rows, seeds: list[int]) -> Batch:
        return Batch.from_ids(ids, types, text_seed=seeds).to(device)

    return Model(prepare, lambda batch: encoder(batch).logits, encoder)


def exported(session: Session, padding: int, budget: Budget | None = None) -> Model:
    """An exported graph in a runtime, on padded batches; ``padding`` is a token id.

    The mask is an input of the graph, so it is always given.
    """
    value = budget and budget.value
    return Model(partial(feed, session.inputs, padding=padding, budget=value), session)


def load_entry(
    entry: Entry, device: torch.device, threads: int, plugins: Sequence[str] = ()
) -> Loaded:
    """The model of an entry in its backend."""
    if entry.graph is not None:
        session = open_session(Path(entry.graph), entry.backend, threads)
        return partial(exported, session, read_config(entry.folder).pad_token_id or 0)
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
    if not encoder.reducer.padded:
        return partial(packed, encoder)
    dense = padded(encoder, backend.compiled)
    return lambda _: dense  # dense has no budget


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

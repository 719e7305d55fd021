"""Models loaded in a backend: the engine, the compiled dense model, or a session of a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lotbench import backends
from lotbench.deploy.session import Session, open_session
from lotbench.engine.checkpoint import load
from lotbench.engine.encoder import ReducedEncoder
from lotbench.measure.devices import DTYPES
from lotbench.measure.protocol import PACKED
from lotbench.measure.spec import Candidate
from lotbench.reducer import Params, TokenReducer


@dataclass(frozen=True)
class Compiled:
    """A dense model under ``torch.compile``, for batches of any size and length."""

    encoder: ReducedEncoder
    run: Callable[..., Any]


Model = ReducedEncoder | Compiled | Session


def load_model(
    candidate: Candidate, device: torch.device, threads: int, plugins: Sequence[str]
) -> Model:
    """The model of a candidate in its backend.

    Raises
    ------
    InputError
        If the model cannot be read, or the runtime refuses the graph.
    """
    if candidate.graph is not None:
        return open_session(Path(candidate.graph), candidate.backend, threads)
    encoder = load_torch(candidate, plugins).to(
        device, DTYPES[backends.BY_NAME[candidate.backend].precision]
    )
    if backends.BY_NAME[candidate.backend].compiled:
        run = torch.compile(encoder.backbone.model.eval(), dynamic=True)
        return Compiled(encoder, run)
    return encoder


def load_torch(candidate: Candidate, plugins: Sequence[str]) -> ReducedEncoder:
    """The model of a candidate in the engine, in float32 on the CPU, at its trained budget."""
    encoder = load(Path(candidate.folder), plugins).eval()
    if candidate.trial_id is not None or candidate.name != PACKED:
        return encoder
    return packed_dense(encoder)


def packed_dense(dense: ReducedEncoder) -> ReducedEncoder:
    """The dense model on the packed path, with the same weights."""
    backbone = dense.backbone
    nothing = TokenReducer(Params(), len(backbone.layers), backbone.width)
    return ReducedEncoder(backbone, nothing).eval()


def model_bytes(candidate: Candidate) -> int:
    """Size of a candidate's saved weights, in bytes."""
    if candidate.graph is not None:
        return Path(candidate.graph).stat().st_size
    return sum(path.stat().st_size for path in Path(candidate.folder).glob("*.safetensors"))

"""The Python interface behind ``import lotbench``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lotbench.batch import Batch
from lotbench.config.load import load_trial
from lotbench.data.tokens import batched, text_seed, tokenise_each
from lotbench.deploy.folder import MODEL
from lotbench.deploy.model import NO_VECTORS, ExportedModel
from lotbench.engine import checkpoint
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import Mode, ReducedEncoder
from lotbench.engine.loading import load_tokenizer
from lotbench.errors import InputError
from lotbench.plan.plan import plan_trial
from lotbench.reducer import Outputs, TokenReducer, Trace
from lotbench.store.rows import Trial
from lotbench.store.store import Store
from lotbench.trial.trial import run_alone

Text = str | tuple[str, str]


def run(path: str | Path, results: str | Path = "results/runs") -> Trial:
    """One trial, run without Ray and stored under ``results``.

    Raises
    ------
    InputError
        If the trial file, the data or a plugin is at fault, or another process uses the store.
    """
    store = Store(results)
    return run_alone(plan_trial(*load_trial(path), store), store)


def load(folder: str | Path, plugins: Sequence[str] = ()) -> TrainedModel | ExportedModel:
    """A trained model from the folder of a trial's model, or an exported one from its folder.

    ``plugins`` are files or modules to import for a method that is not installed.  No other code is
    imported, whatever the model's card names.

    Raises
    ------
    InputError
        If the folder holds no model, or its method is neither installed nor in ``plugins``; an
        exported model needs no method.
    """
    if (Path(folder) / MODEL).is_file():
        return ExportedModel(Path(folder))
    return TrainedModel(Path(folder), plugins)


class TrainedModel:
    """A trained model that reads texts.

    Attributes
    ----------
    encoder : ReducedEncoder
    tokenizer
    max_length : int
        Tokens after which a text is cut, as in scoring.
    """

    __slots__ = ("encoder", "max_length", "tokenizer")  # a misspelt attribute is an error

    def __init__(self, folder: Path, plugins: Sequence[str] = ()) -> None:
        self.encoder: ReducedEncoder = checkpoint.load(folder, plugins)
        self.tokenizer = load_tokenizer(str(folder.resolve()))
        self.max_length: int = checkpoint.read_card(folder).max_length

    @property
    def reducer(self) -> TokenReducer:
        return self.encoder.reducer

    @property
    def backbone(self) -> Backbone:
        return self.encoder.backbone

    @property
    def budget(self) -> float:
        """The post-hoc budget (for LoT: the threshold); set it to move along the curve.

        Raises
        ------
        InputError
            If the method has none, or could not be trained with such a value.
        """
        return self.reducer.budget

    @budget.setter
    def budget(self, value: float) -> None:
        self.reducer.budget = value

    def __call__(
        self,
        texts: Sequence[Text],
        mode: Mode = "packed",
        batch_size: int = 32,
        return_trace: bool = False,
    ) -> Tensor | tuple[Tensor, list[Trace]]:
        """Logits of texts or text pairs, shape (N, C), in their order.

        Of an embedding model the sentence vectors, shape (N, D).  With ``return_trace`` also the
        trace of each batch.  An empty list gives shape (0, C).

        Raises
        ------
        InputError
            If ``texts`` is not a sequence of texts or pairs, or ``batch_size`` is not 1 or more.
        """
        parts, traces = [], []
        with torch.inference_mode():
            for some in batched(texts, batch_size):
                outputs = self._forward(some, mode)
                parts.append(outputs.logits)
                traces.append(outputs.trace)
        empty = torch.zeros(0, self.backbone.outputs)
        logits = torch.cat(parts) if parts else empty
        return (logits, traces) if return_trace else logits

    def encode(self, texts: Sequence[Text], batch_size: int = 32) -> Tensor:
        """Sentence vectors of texts, shape (N, D), float32, in their order.

        Raises
        ------
        InputError
            If the model gives logits, or for the reasons of a call.
        """
        if self.backbone.pooling is None:
            raise InputError(NO_VECTORS)
        vectors = self(texts, batch_size=batch_size)
        assert isinstance(vectors, Tensor)
        return vectors.float()

    def to(self, *args: Any) -> TrainedModel:
        """The same model on another device or in another dtype, as in ``nn.Module.to``."""
        self.encoder.to(*args)
        return self

    def _forward(self, texts: Sequence[tuple[str, ...]], mode: Mode) -> Outputs:
        ids, types = tokenise_each(texts, self.tokenizer, self.max_length)
        batch = Batch.from_ids(ids, types, text_seed=[text_seed(fields) for fields in texts])
        return self.encoder(batch.to(next(self.encoder.parameters()).device), mode=mode)

"""`ExportedModel`: an exported model that reads texts, as a trained model does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lotbench.data.tokens import batched, text_seed, tokenise_each
from lotbench.deploy.folder import MODEL, read_card
from lotbench.deploy.session import Session, feed, open_session
from lotbench.engine.loading import load_tokenizer
from lotbench.engine.modelfiles import one_line
from lotbench.errors import InputError

NO_VECTORS = "this model gives logits, not sentence vectors; call it: model(texts)"


class ExportedModel:
    """An exported model that reads texts; it runs in the backend that it was exported for.

    Texts are cut after ``max_length`` tokens, as in scoring.
    """

    __slots__ = ("_budget", "_card", "_file", "_padding", "max_length", "session", "tokenizer")

    def __init__(self, folder: Path) -> None:
        self._card = read_card(folder)
        self._file = folder / MODEL
        self.session: Session = open_session(self._file, self._card.backend)
        self.tokenizer: Any = load_tokenizer(str(folder.resolve()))
        self.max_length: int = self._card.max_length
        self._budget = self._card.budget
        self._padding: int = self.tokenizer.pad_token_id or 0
        if not self(["a text"]).isfinite().all():
            raise InputError(f"{self._file}: its output is not finite; export the model again")

    @property
    def budget(self) -> Any:
        """The post-hoc budget; set it to move along the curve, unless it is fixed in the graph."""
        if self._card.budget_name is None:
            raise InputError(f"method {self._card.method!r} has no budget after training")
        return self._budget

    @budget.setter
    def budget(self, value: Any) -> None:
        name, before = self._card.budget_name, self.budget
        if not self._card.budget_input:
            raise InputError(
                f"{name} is fixed to {before!r} in the exported graph; export again with --budget"
            )
        try:
            self._budget = self._card.checked_budget(value)
        except ValueError as error:
            raise InputError(str(error)) from None

    def __call__(self, texts: Sequence[str | tuple[str, str]], batch_size: int = 32) -> Tensor:
        """Logits of texts or text pairs, shape (N, C), in their order.

        Of an embedding model the sentence vectors, shape (N, D).
        """
        parts = [self._outputs(some) for some in batched(texts, batch_size)]
        return torch.cat(parts) if parts else self(["a text"])[:0]

    def encode(self, texts: Sequence[str | tuple[str, str]], batch_size: int = 32) -> Tensor:
        """Sentence vectors of texts, shape (N, D), float32, in their order."""
        if self._card.n_labels:
            raise InputError(NO_VECTORS)
        return self(texts, batch_size)

    def _outputs(self, texts: Sequence[tuple[str, ...]]) -> Tensor:
        ids, types = tokenise_each(texts, self.tokenizer, self.max_length)
        seeds = [text_seed(fields) for fields in texts]
        budget = self._budget if self._card.budget_input else None
        arrays = feed(self.session.inputs, ids, types, seeds, self._padding, budget)
        try:
            outputs = self.session(arrays)
            if outputs.shape != (len(texts), self._card.n_labels or outputs.shape[-1]):
                raise ValueError(f"its output has the shape {outputs.shape}")
        except Exception as error:  # both runtimes have exceptions of their own
            raise InputError(f"{self._file}: it does not run: {one_line(error)}") from error
        return torch.from_numpy(outputs)

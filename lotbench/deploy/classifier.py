"""`ExportedClassifier`: an exported model that reads texts, as a trained model does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lotbench.data.tokens import batched, text_seed, tokenise_each
from lotbench.deploy.about import BOUNDS
from lotbench.deploy.folder import MODEL, read_about
from lotbench.deploy.session import Session, feed, open_session
from lotbench.engine.loading import load_tokenizer
from lotbench.errors import InputError


class ExportedClassifier:
    """An exported model that reads texts; it runs in the backend that it was exported for.

    Parameters
    ----------
    folder : Path

    Attributes
    ----------
    session : Session
    tokenizer
    max_length : int
        Tokens after which a text is cut, as in training.

    Raises
    ------
    InputError
        If the folder is damaged, or the runtime is not installed.
    """

    __slots__ = ("_about", "_budget", "_padding", "max_length", "session", "tokenizer")

    def __init__(self, folder: Path) -> None:
        self._about = read_about(folder)
        self.session: Session = open_session(folder / MODEL, self._about.backend)
        self.tokenizer: Any = load_tokenizer(str(folder.resolve()))
        self.max_length: int = self._about.max_length
        self._budget = self._about.budget
        self._padding: int = self.tokenizer.pad_token_id or 0

    @property
    def budget(self) -> Any:
        """The post-hoc budget; set it to move along the curve.

        Raises
        ------
        InputError
            If the method has none, if it is fixed in the graph, or if the value is no finite number
            within its bounds.
        """
        if self._about.budget_name is None:
            raise InputError(f"method {self._about.method!r} has no budget after training")
        return self._budget

    @budget.setter
    def budget(self, value: Any) -> None:
        name, before = self._about.budget_name, self.budget
        if not self._about.budget_input:
            raise InputError(
                f"{name} is fixed to {before!r} in the exported graph; export again with --budget"
            )
        whole = isinstance(before, int)
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else None
        if number is None or not math.isfinite(number) or (whole and number % 1):
            kind = "whole" if whole else "finite"
            raise InputError(f"{name}: a {kind} number is needed (given: {value!r:.60})")
        for keyword, bound in self._about.budget_bounds.items():
            holds, words = BOUNDS[keyword]
            if not holds(number, bound):
                raise InputError(f"{name}: {words} {bound} is needed (given: {value!r:.60})")
        self._budget = int(number) if whole else number

    def __call__(self, texts: Sequence[str | tuple[str, str]], batch_size: int = 32) -> Tensor:
        """Logits of texts or text pairs, shape (N, C), in their order.

        Raises
        ------
        InputError
            If ``texts`` is not a sequence of texts or pairs, or ``batch_size`` is not 1 or more.
        """
        parts = [self._logits(some) for some in batched(texts, batch_size)]
        return torch.cat(parts) if parts else torch.zeros(0, self._about.n_labels)

    def _logits(self, texts: Sequence[tuple[str, ...]]) -> Tensor:
        ids, types = tokenise_each(texts, self.tokenizer, self.max_length)
        seeds = [text_seed(fields) for fields in texts]
        budget = self._budget if self._about.budget_input else None
        arrays = feed(self.session.inputs, ids, types, seeds, self._padding, budget)
        return torch.from_numpy(self.session(arrays))

"""A batch of texts as token ids, laid end to end, and the one way to build it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from lotbench.ragged import Ragged, segment_count

Numbers = Sequence[int] | np.ndarray | Tensor


@dataclass
class Batch:
    """A ragged batch of B examples with T tokens.

    Attributes
    ----------
    input_ids, token_type_ids : Tensor, shape (T,), int64
    layout : Ragged
    labels : Tensor, shape (B,), int64, or float32 for regression and ranking
        Of sentence vectors those of the dense model, shape (B, D), float32.  Of spans the first and
        last token of the answer, shape (B, 2).
    index : Tensor, shape (B,), int64
        Row of each example in its split.
    text_seed : Tensor, shape (B,), int64
        A stable hash of each text, for methods that draw at random.
    saliency : Tensor, shape (T,), or None
        The teacher's saliency of each token (methods with ``needs`` "saliency").
    teacher_logits : Tensor, shape (B, C), or None
        Of spans (B, 2, L), with L at least the longest text.
    unlabelled : Tensor, shape (B,), bool, or None
        The examples whose label is what the teacher answers.
    """

    input_ids: Tensor
    token_type_ids: Tensor
    layout: Ragged
    labels: Tensor
    index: Tensor
    text_seed: Tensor
    saliency: Tensor | None = None
    teacher_logits: Tensor | None = None
    unlabelled: Tensor | None = None

    @staticmethod
    def from_ids(
        input_ids: Sequence[Sequence[int]],
        token_type_ids: Sequence[Sequence[int]] | None = None,
        *,
        labels: Numbers | None = None,
        index: Numbers | None = None,
        text_seed: Numbers | None = None,
        unlabelled: Numbers | None = None,
        saliency: Sequence[np.ndarray] | None = None,
        teacher_logits: np.ndarray | None = None,
    ) -> Batch:
        """The batch of B examples given as lists of token ids without padding, on the CPU.

        An example has as many token types, and numbers of ``saliency``, as ids.  By default token
        types, labels and seeds are zeros, and the index counts from 0.
        """
        lengths = [len(ids) for ids in input_ids]
        if token_type_ids is not None and [len(types) for types in token_type_ids] != lengths:
            raise ValueError("an example has another number of token types than of tokens")
        count, total = len(lengths), sum(lengths)
        zeros = partial(torch.zeros, dtype=torch.int64)
        integers = partial(torch.as_tensor, dtype=torch.int64)
        return Batch(
            input_ids=_flat(input_ids, total),
            token_type_ids=zeros(total) if token_type_ids is None else _flat(token_type_ids, total),
            layout=Ragged.from_lengths(lengths),
            labels=zeros(count) if labels is None else torch.as_tensor(labels),
            index=torch.arange(count) if index is None else integers(index),
            text_seed=zeros(count) if text_seed is None else integers(text_seed),
            unlabelled=None if unlabelled is None else torch.as_tensor(unlabelled),
            saliency=None if saliency is None else torch.from_numpy(np.concatenate(saliency)),
            teacher_logits=None if teacher_logits is None else torch.from_numpy(teacher_logits),
        )

    @property
    def is_separator(self) -> Tensor:
        """True at the tokens whose id is the one that the example ends with, shape (T,), bool."""
        last = self.input_ids[self.layout.first + self.layout.lengths - 1]
        return self.input_ids == last[self.layout.sequence]

    @property
    def text_of_token(self) -> Tensor:
        """The text of its pair that a token is in, 0 or 1, shape (T,), int64; 0 in single texts.

        Token types tell it.  Where an example has none above 0, as with RoBERTa, MPNet and
        DistilBERT, the first text ends at the first separator.
        """
        layout, ends = self.layout, self.is_separator.long()
        typed = self.token_type_ids > 0
        before = ends.cumsum(0) - ends  # separators before each token, over the whole batch
        behind = before > before[layout.first][layout.sequence]
        by_type = segment_count(typed, layout)[layout.sequence] > 0
        return (typed | (behind & ~by_type)).long()

    def to(self, device: torch.device | str) -> Batch:
        """The batch on another device."""
        moved = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, Tensor | Ragged)
        }
        return replace(self, **moved)

    def repeat(self, times: int) -> Batch:
        """The batch repeated, copy after copy; for methods that sample."""
        tiled = {
            name: value.repeat(times, *[1] * (value.dim() - 1))
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        device = self.layout.cu_seqlens.device
        layout = Ragged.from_lengths(self.layout.sizes * times, device=device)
        return replace(self, layout=layout, **tiled)


def _flat(rows: Sequence[Sequence[int]], total: int) -> Tensor:
    """All rows end to end, shape (T,), int64."""
    return torch.from_numpy(np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=total))

"""Where the tokens of texts stand in the characters of their fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lotbench.data.tokenisers import call
from lotbench.errors import InputError

CHUNK = 2000
"""Texts per call of the tokenizer; the offsets of 25,000 long texts would take gigabytes."""
SPECIAL = -1


@dataclass(frozen=True)
class Places:
    """The places of the T tokens of a text or pair."""

    fields: np.ndarray
    """The field that each token is in, 0 or 1, and -1 of special tokens, shape (T,), int8."""
    spans: np.ndarray
    """Start and end of each token in the characters of its field, shape (T, 2), int32; both are -1
    of special tokens.  A token without a character of its own, such as a blank of RoBERTa before
    another, has start and end at the same place."""

    def covered(self, spans: Iterable[Sequence[int]], field: int) -> np.ndarray:
        """The tokens that stand, in part at least, within a span of a field, shape (T,), bool.

        ``spans`` are starts and ends in the characters of the field.
        """
        found = np.zeros(len(self.fields), dtype=bool)
        for start, end in spans:
            found |= (self.spans[:, 0] < end) & (self.spans[:, 1] > start)
        return found & (self.fields == field)

    def tokens_of(self, start: int, text: str, field: int) -> tuple[int, int] | None:
        """First and last token of a text that starts at a character of a field.

        None if the end of the text is cut off.
        """
        end = start + len(text.rstrip())
        found = np.flatnonzero(self.covered([(start, end)], field))
        whole = len(found) > 0 and self.spans[found[-1], 1] >= end
        return (int(found[0]), int(found[-1])) if whole else None


def places(texts: Sequence[tuple[str, ...]], tokenizer: Any, max_length: int) -> Iterator[Places]:
    """The places of the tokens that `tokenise` gives, text by text.

    The texts all have one field, or all two; the tokenizer must be a fast one.
    """
    for start in range(0, len(texts), CHUNK):
        some = texts[start : start + CHUNK]
        for own in call(some, tokenizer, max_length, return_offsets_mapping=True).encodings:
            fields = [SPECIAL if field is None else field for field in own.sequence_ids]
            spans = np.array(own.offsets, np.int32).reshape(-1, 2)
            found = Places(np.array(fields, np.int8), spans)
            found.spans[found.fields == SPECIAL] = SPECIAL
            yield found


def check_has_places(tokenizer: Any, key: str) -> None:
    """Refuses a tokenizer that does not know the places of its tokens, which a ``key`` needs."""
    if not tokenizer.is_fast:
        raise InputError(
            f"{key}: the tokenizer of this backbone is written in Python and does not say where in "
            "a text its tokens stand; remove it, or choose another backbone"
        )

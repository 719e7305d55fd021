"""Positions within attention, by the places of queries and keys in their whole text.

BERT adds positions to the embeddings, and its attention knows none.  Other models add a score to
each pair of a query and a key, or rotate queries and keys, or let a query see near keys only.
Distances are those in the whole text, whatever was left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lotbench.ragged import Ragged

# Added to the scores of keys out of a window: their probability is 0.  It is finite, since a token
# that is not computed may see no key at all, and a softmax over -inf alone is NaN.
OUT_OF_WINDOW = -3e4

T = TypeVar("T")
Score = Callable[[Tensor, Tensor], Tensor]


class Pairs:
    """Scores that attention adds to each pair of a query and a key.

    They are computed once, for all layers that share the places and layouts.  ``score`` maps places
    ``(B, q)`` and ``(B, k)`` to ``(B, H, q, k)`` or ``(B, 1, q, k)``; ``query`` (Tq,) and ``key``
    (Tk,) are the places.
    """

    def __init__(self, score: Score, query: Tensor, key: Tensor) -> None:
        self._score, self._query, self._key = score, query, key
        self._scores: Tensor | None = None
        self._parts: dict[tuple[int, ...], list[Pairs]] = {}
        self._traced: dict[int, Pairs] = {}

    def padded(self, queries: Ragged, keys: Ragged, dtype: torch.dtype) -> Tensor:
        """The scores of the padded batch, with `Ragged.absent` added where a key is padding."""
        if self._scores is None:
            scores = self._score(queries.pad_any(self._query), keys.pad_any(self._key)).to(dtype)
            if not keys.uniform:
                absent = torch.where(keys.inside, scores.new_zeros(()), keys.absent)
                scores = scores + absent[:, None, None, :]
            self._scores = scores
        return self._scores

    def alone(self, dtype: torch.dtype) -> Tensor:
        """The scores of the only sequence."""
        if self._scores is None:
            self._scores = self._score(self._query[None], self._key[None]).to(dtype)
        return self._scores

    def part(self, number: int) -> Pairs:
        """The pairs of one of the `Traced.parts`, whose rows are those of the batch."""
        return self._traced.setdefault(number, Pairs(self._score, self._query, self._key))

    def split(self, query_rows: Sequence[int], key_rows: Sequence[int]) -> list[Pairs]:
        """The pairs of runs of sequences with so many queries and keys."""
        rows = tuple(query_rows)
        if rows not in self._parts:
            parts = zip(self._query.split(rows), self._key.split(list(key_rows)), strict=True)
            self._parts[rows] = [Pairs(self._score, query, key) for query, key in parts]
        return self._parts[rows]


class Places:
    """Where queries (Tq,) and keys (Tk,) stand in their texts; the first token's place is 0.

    ``longest`` is the length of the longest text; None in a graph that is exported.
    """

    def __init__(self, query: Tensor, key: Tensor, longest: int | None) -> None:
        self.query, self.key, self.longest = query, key, longest
        self._made: dict[Callable[[Places], Any], Any] = {}

    def once(self, compute: Callable[[Places], T]) -> T:
        """``compute(self)``, computed once for all layers that share these places."""
        if compute not in self._made:
            self._made[compute] = compute(self)
        return self._made[compute]


Position = Callable[[Tensor, Tensor, Places], tuple[Tensor, Tensor, Pairs | None]]
"""Queries and keys ``(T, H, d)`` with their positions, and scores to add, if any.

Layers that share such an object share what it computes."""


class RelativeBias:
    """A learned score for each head and bucket of distances, as in MPNet and T5.

    ``table`` (buckets, H) has the scores, ``bucket`` maps distances, key's place minus query's, to
    buckets, and no text is longer than ``longest``.
    """

    def __init__(
        self, table: nn.Embedding, bucket: Callable[[Tensor], Tensor], longest: int
    ) -> None:
        self.table, self.longest = table, longest
        self.buckets = bucket(torch.arange(1 - longest, longest))

    def __call__(
        self, query: Tensor, key: Tensor, places: Places
    ) -> tuple[Tensor, Tensor, Pairs | None]:
        return query, key, places.once(self.pairs)

    def pairs(self, places: Places) -> Pairs:
        """The scores of a layer's pairs."""
        return Pairs(self.score, places.query, places.key)

    def score(self, query: Tensor, key: Tensor) -> Tensor:
        """Scores ``(B, H, q, k)`` of places ``(B, q)`` and ``(B, k)``."""
        distance = key[:, None, :] - query[:, :, None] + (self.longest - 1)
        if self.buckets.device != key.device:  # once, since a copy makes a GPU wait
            self.buckets = self.buckets.to(key.device)
        # By distance first: a lookup for each pair in the table itself takes far longer.
        by_distance = F.embedding(self.buckets, self.table.weight).t()
        scores = by_distance.index_select(1, distance.flatten())
        return scores.view(-1, *distance.shape).transpose(0, 1)


class Rotary:
    """Rotations of queries and keys by their places, and perhaps a window, as in ModernBERT.

    ``angles``, of transformers, maps places (1, T) to cosines and sines ``(1, T, d)`` in the type
    of its first argument.  ``window`` is the largest distance at which a query sees a key.
    """

    def __init__(self, angles: Callable[..., tuple[Tensor, Tensor]], window: int | None) -> None:
        self.angles, self.window = angles, window

    def __call__(
        self, query: Tensor, key: Tensor, places: Places
    ) -> tuple[Tensor, Tensor, Pairs | None]:
        of_query, of_key = places.once(self.rotations)
        return _rotated(query, *of_query), _rotated(key, *of_key), places.once(self.pairs)

    def rotations(self, places: Places) -> tuple[list[Tensor], list[Tensor]]:
        """Cosines and sines of queries and of keys, each ``(T, 1, d)``, in float32."""
        like = places.query.new_empty(0, dtype=torch.float32)
        query, key = (
            [part.transpose(0, 1) for part in self.angles(like, at[None])]
            for at in (places.query, places.key)
        )
        return query, key

    def pairs(self, places: Places) -> Pairs | None:
        """The scores of a layer's pairs; None if every key is near enough."""
        window, longest = self.window, places.longest
        if window is None or (longest is not None and longest <= window + 1):
            return None

        def score(query: Tensor, key: Tensor) -> Tensor:
            out = (key[:, None, None, :] - query[:, None, :, None]).abs() > window
            return OUT_OF_WINDOW * out.float()

        return Pairs(score, places.query, places.key)


def _rotated(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Heads ``(T, H, d)`` rotated in float32 or more, as in transformers."""
    one, other = heads.chunk(2, -1)
    return (heads * cosines + torch.cat((-other, one), -1) * sines).to(heads.dtype)

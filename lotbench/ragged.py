"""Ragged batches: sequences of different lengths end to end, without padding.

A batch of B sequences with T tokens in total is a flat tensor ``(T, ...)`` and a layout, the
`Ragged` of this module.  Sequence b owns the rows ``cu_seqlens[b] : cu_seqlens[b + 1]``.
All functions below are pure.

In a graph that is exported, the layouts are `lotbench.engine.traced.Traced`, which override the
methods that need sizes as Python numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

CACHED_TOKENS = 1024
"""Rows of a slice of `in_parts`.  They save a quarter of a router's time for 6,600 tokens of width
384 on an AMD EPYC."""


class cached_property:
    """A property that is computed once; torch.compile refuses the lock of functools' own."""

    def __init__(self, compute: Callable[[Any], Any]) -> None:
        self.compute, self.__doc__ = compute, compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        value = self.compute(instance)
        object.__setattr__(instance, self.name, value)
        return value


@dataclass(frozen=True)
class Ragged:
    """The layout of a ragged batch.

    Attributes
    ----------
    cu_seqlens : Tensor, shape (B + 1,), int64
        Row at which each sequence starts; the last entry is T.
    sizes : tuple of int
        The B lengths as Python numbers, so that shapes are known without waiting for a device.
    absent : float
        What attention adds to the scores of keys that are padding.
    """

    cu_seqlens: Tensor
    sizes: tuple[int, ...]
    absent: ClassVar[float] = -torch.inf

    @staticmethod
    def from_lengths(lengths: Tensor | Sequence[int], device: torch.device | None = None) -> Ragged:
        """Layout of sequences of these lengths; a CUDA tensor costs a host synchronisation."""
        sizes = tuple(lengths.tolist() if isinstance(lengths, Tensor) else map(int, lengths))
        if any(size < 0 for size in sizes):
            raise ValueError(f"a sequence cannot have a negative length: {sizes}")
        if device is None and isinstance(lengths, Tensor):
            device = lengths.device
        starts = [0]
        for size in sizes:
            starts.append(starts[-1] + size)
        return Ragged(torch.tensor(starts, dtype=torch.int64, device=device), sizes)

    @property
    def known_sizes(self) -> tuple[int, ...] | None:
        """``sizes``, or None in a graph that is exported, which holds for every size."""
        return self.sizes

    @property
    def batch_size(self) -> int:
        """Number of sequences B."""
        return len(self.sizes)

    @cached_property
    def total(self) -> int:
        """Number of tokens T."""
        return sum(self.sizes)

    @cached_property
    def max_length(self) -> int:
        """Length of the longest sequence; 0 without sequences."""
        return max(self.sizes, default=0)

    @cached_property
    def uniform(self) -> bool:
        """True if all sequences have the same length, so that padding is a view."""
        return len(set(self.sizes)) <= 1

    @cached_property
    def lengths(self) -> Tensor:
        """Length of each sequence, shape (B,), int64, on the device."""
        return self.cu_seqlens.diff()

    @cached_property
    def rows(self) -> Tensor:
        """Row of each token, 0 to T - 1, shape (T,), int64."""
        return torch.arange(self.total, device=self.cu_seqlens.device)

    @cached_property
    def sequence(self) -> Tensor:
        """Index of the sequence that each token belongs to, shape (T,), int64."""
        ids = torch.arange(self.batch_size, device=self.cu_seqlens.device)
        return torch.repeat_interleave(ids, self.lengths, output_size=self.total)

    @cached_property
    def position(self) -> Tensor:
        """Position of each token within its sequence, shape (T,), int64."""
        return self.rows - self.first[self.sequence]

    @cached_property
    def is_first(self) -> Tensor:
        """True at the first token of each sequence ([CLS]), shape (T,), bool."""
        return self.position == 0

    @property
    def first(self) -> Tensor:
        """Row of the first token of each sequence, shape (B,), int64."""
        return self.cu_seqlens[:-1]

    @cached_property
    def inside(self) -> Tensor:
        """True at the places of a padded batch that have a token, shape (B, max_length), bool."""
        places = torch.arange(self.max_length, device=self.lengths.device)
        return places < self.lengths.unsqueeze(1)

    def to(self, device: torch.device | str) -> Ragged:
        """The layout on another device."""
        return Ragged(self.cu_seqlens.to(device), self.sizes)

    def sum(self, values: Tensor) -> Tensor:
        """See `segment_sum`."""
        if self.uniform and self.batch_size and self.max_length:
            return values.view(self.batch_size, self.max_length, *values.shape[1:]).sum(1)
        if values.dtype == torch.bool:
            values = values.long()
        if values.dim() == 2 and values.is_floating_point():
            return self.weighted_sum(None, values)
        # Summed in float32: in bfloat16 a sum of ones would stop at 256.
        wide = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
        out = wide.new_zeros(self.batch_size, *values.shape[1:])
        return out.index_add(0, self.sequence, wide).to(values.dtype)

    def weighted_sum(self, weight: Tensor | None, values: Tensor) -> Tensor:
        """See `segment_weighted_sum`."""
        return F.embedding_bag(self.rows, values, self.first, mode="sum", per_sample_weights=weight)

    def group_sums(self, weight: Tensor, values: Tensor, groups: Tensor, at: Tensor) -> Tensor:
        """Sum of ``weight * values`` over each group of rows, ``(T,), (T, D) -> (K, D)``.

        ``groups`` (T,) has the row that stands for the group of each row, and ``at`` (K,) the rows
        that stand for a group, in order; both are int64.
        """
        order = groups.argsort(stable=True)
        starts = torch.searchsorted(groups[order], at)
        return F.embedding_bag(order, values, starts, mode="sum", per_sample_weights=weight[order])

    def rank(self, scores: Tensor) -> Tensor:
        """See `segment_rank`."""
        order = scores.argsort(descending=True, stable=True)
        if self.batch_size > 1:
            order = order[self.sequence[order].argsort(stable=True)]
        rank = torch.empty_like(order)
        rank[order] = self.position
        return rank

    def topk(self, scores: Tensor, count: Tensor) -> Tensor:
        """See `segment_topk`."""
        return self.rank(scores) < count[self.sequence]

    def share(self, share: float | Tensor) -> Tensor:
        """``ceil(share * n)`` of each length n, but at least 1, shape (B,), int64.

        A product that rounding has put just above a whole number counts as that number.
        """
        return (self.lengths.double() * share - 1e-6).ceil().clamp(min=1).long()

    def share_sizes(self, share: float) -> tuple[int, ...] | Tensor:
        """The numbers of `share` for `select`: integers, so that nothing waits for the device."""
        return tuple(max(1, math.ceil(share * size - 1e-6)) for size in self.sizes)

    def select(self, keep: Tensor, sizes: tuple[int, ...] | Tensor | None) -> tuple[Tensor, Ragged]:
        """See `lotbench.ragged.select`."""
        sizes = None if isinstance(sizes, Tensor) else sizes  # it has to be waited for, as keep has
        if sizes is None and keep.device.type == "cpu":
            rows = keep.nonzero().squeeze(1)
            starts = torch.searchsorted(rows, self.cu_seqlens)
            sizes = tuple(end - start for start, end in pairwise(starts.tolist()))
            return rows, Ragged(starts, sizes)
        counts = self.sum(keep)
        sizes = tuple(counts.tolist()) if sizes is None else sizes
        rows = keep.nonzero_static(size=sum(sizes)).squeeze(1)
        return rows, Ragged(F.pad(counts.cumsum(0), (1, 0)), sizes)

    def pad(self, values: Tensor, fill: float = 0.0) -> Tensor:
        """See `lotbench.ragged.pad`."""
        shape = (self.batch_size, self.max_length, *values.shape[1:])
        if self.uniform:
            return values.view(shape)
        rows = self.sequence * self.max_length + self.position
        flat = values.new_full((shape[0] * shape[1], *shape[2:]), fill)
        return flat.index_copy(0, rows, values).view(shape)

    def pad_any(self, values: Tensor) -> Tensor:
        """`pad` with any finite numbers in the padding, if ``values`` are finite."""
        return self.pad(values)

    def below(self, other: Ragged) -> Sequence[bool] | Tensor:
        """The sequences that have fewer tokens here than in the other layout, B bool."""
        return [few < many for few, many in zip(self.sizes, other.sizes, strict=True)]

    def append(
        self, values: Tensor, extra: Tensor, present: Sequence[bool] | Tensor
    ) -> tuple[Tensor, Ragged]:
        """Rows with one more at the end of each sequence that is ``present``, and their layout.

        ``values`` are of shape (T, ...), ``extra`` (B, ...); ``present`` is as `below` returns it.
        """
        if not any(present):
            return values, self
        pieces: list[Tensor] = []
        for b, part in enumerate(values.split(self.sizes)):
            pieces += [part, extra[b : b + 1]] if present[b] else [part]
        sizes = tuple(size + int(one) for size, one in zip(self.sizes, present, strict=True))
        if all(present):  # the usual case needs no copy to the device
            shift = torch.arange(self.batch_size + 1, device=values.device)
            return torch.cat(pieces), Ragged(self.cu_seqlens + shift, sizes)
        return torch.cat(pieces), Ragged.from_lengths(sizes, device=values.device)


def segment_sum(values: Tensor, layout: Ragged) -> Tensor:
    """Sum over each sequence, ``(T, ...) -> (B, ...)``; 0 if empty.  Bool values are counted."""
    return layout.sum(values)


def segment_weighted_sum(weight: Tensor | None, values: Tensor, layout: Ragged) -> Tensor:
    """Sum of ``weight * values`` over each sequence, ``(T,), (T, D) -> (B, D)``.

    A weight of None is all ones.  The sum takes one pass over the values in a fixed order, without
    a copy of the products.
    """
    return layout.weighted_sum(weight, values)


def segment_count(mask: Tensor, layout: Ragged) -> Tensor:
    """Number of true entries in each sequence, ``(T,) bool -> (B,) int64``."""
    return segment_sum(mask, layout)


def segment_mean(values: Tensor, layout: Ragged) -> Tensor:
    """Mean over each sequence, ``(T, ...) -> (B, ...)``; 0 if empty."""
    total = segment_sum(values, layout)
    count = layout.lengths.clamp(min=1).to(total.dtype)
    return total / count.view(-1, *[1] * (values.dim() - 1))


def segment_softmax(scores: Tensor, layout: Ragged) -> Tensor:
    """Softmax within each sequence, shape (T,)."""
    peak = scores.new_full((layout.batch_size,), -torch.inf)
    peak = peak.scatter_reduce(0, layout.sequence, scores.detach(), "amax")
    weight = (scores - peak[layout.sequence]).exp()
    return weight / segment_sum(weight, layout)[layout.sequence]


def segment_rank(scores: Tensor, layout: Ragged) -> Tensor:
    """Rank of each token within its sequence by descending score, shape (T,), int64.

    The highest score has rank 0; of equal scores the earlier token ranks first.
    """
    return layout.rank(scores)


def segment_topk(scores: Tensor, count: Tensor, layout: Ragged) -> Tensor:
    """Mask of the ``count`` (B,) tokens with the highest scores per sequence, shape (T,), bool.

    Of equal scores the earlier token counts as higher.
    """
    return layout.topk(scores, count)


def select(
    keep: Tensor, layout: Ragged, sizes: tuple[int, ...] | Tensor | None = None
) -> tuple[Tensor, Ragged]:
    """Rows where ``keep`` (T,) is true, shape (K,), int64, and the layout of these rows.

    The new lengths cost one host synchronisation.  If they are given as ``sizes``, there is none,
    and all shapes are static.  A tensor of sizes is of use in a graph alone.
    """
    return layout.select(keep, sizes)


def pad(values: Tensor, layout: Ragged, fill: float = 0.0) -> Tensor:
    """Padded copy, ``(T, ...) -> (B, max_length, ...)``; a view if the lengths are equal."""
    return layout.pad(values, fill)


def unpad(padded: Tensor, layout: Ragged) -> Tensor:
    """The inverse of `pad`, ``(B, max_length, ...) -> (T, ...)``."""
    flat = padded.reshape(-1, *padded.shape[2:])
    if layout.uniform:
        return flat
    return flat.index_select(0, layout.sequence * layout.max_length + layout.position)


def in_parts(compute: Callable[[Tensor, slice], Tensor], hidden: Tensor, layout: Ragged) -> Tensor:
    """``compute(hidden[rows], rows)`` of slices of the rows of ``hidden`` (T, D), joined.

    On a CPU without gradients, a slice is so short that its states stay in the cache; elsewhere it
    is all rows.
    """
    together = layout.known_sizes is None or torch.is_grad_enabled() or not hidden.is_cpu
    if together or layout.total <= CACHED_TOKENS:
        return compute(hidden, slice(None))
    starts = range(0, layout.total, CACHED_TOKENS)
    parts = [slice(start, start + CACHED_TOKENS) for start in starts]
    return torch.cat([compute(hidden[part], part) for part in parts])


def seeded_uniform(seed: Tensor, layout: Ragged) -> Tensor:
    """Uniform random numbers in [0, 1), shape (T,), float64, from seed (B,) and position.

    The generator is counter-based (the splitmix64 finaliser in wrapping int64 arithmetic), so the
    number of a token depends only on the seed of its sequence and its position.
    """
    state = seed[layout.sequence] + (layout.position + 1) * -7046029254386353131
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        state = (state ^ _shift_right(state, shift)) * factor
    state = state ^ _shift_right(state, 31)
    return _shift_right(state, 11).to(torch.float64) * 2.0**-53


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 (torch's own shift keeps the sign)."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)

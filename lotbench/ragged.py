"""Ragged batches: sequences of different lengths end to end, without padding.

A batch of B sequences with T tokens in total is a flat tensor ``(T, ...)`` and a layout, the
`Ragged` of this module.  Sequence b owns the rows ``cu_seqlens[b] : cu_seqlens[b + 1]``.
All functions below are pure.

An exported graph must hold for every batch, so its layouts are `Traced`: lengths and indices are
tensors of the graph, and no size is a Python number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor


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
    """

    cu_seqlens: Tensor
    sizes: tuple[int, ...]
    traced: ClassVar[bool] = False
    """True while a graph is exported: ``sizes`` is then unknown, `lengths` is not."""

    @staticmethod
    def from_lengths(lengths: Tensor | Sequence[int], device: torch.device | None = None) -> Ragged:
        """The layout of sequences with these lengths.  A CUDA tensor costs a host synchronisation.

        Raises
        ------
        ValueError
            If a length is negative.
        """
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

    def to(self, device: torch.device | str) -> Ragged:
        """The layout on another device."""
        return Ragged(self.cu_seqlens.to(device), self.sizes)


class Traced(Ragged):
    """The layout of a ragged batch in a graph that is exported.

    Parameters
    ----------
    lengths, sequence : Tensor
        As in `Ragged`.
    total, max_length : int
        Symbols of the exporter; ``max_length`` may be more than the longest sequence.
    """

    traced = True

    def __init__(self, lengths: Tensor, sequence: Tensor, total: int, max_length: int) -> None:
        given = {"lengths": lengths, "sequence": sequence, "total": total, "max_length": max_length}
        for name, value in given.items():
            object.__setattr__(self, name, value)

    @staticmethod
    def of_mask(mask: Tensor) -> tuple[Tensor, Traced]:
        """Rows of the true entries in the flattened mask ``(B, S)``, shape (T,), and the layout."""
        width = mask.shape[1]
        rows, lengths = mask.flatten().nonzero().squeeze(1), mask.long().sum(1)
        return rows, Traced(lengths, rows // width, rows.shape[0], width)

    @cached_property
    def cu_seqlens(self) -> Tensor:
        return F.pad(self.lengths.cumsum(0), (1, 0))

    @cached_property
    def first(self) -> Tensor:
        return self.lengths.cumsum(0) - self.lengths

    @property
    def sizes(self) -> tuple[int, ...]:
        raise NotImplementedError(
            "layout.sizes is unknown in an exported graph; use layout.lengths, a tensor, or ask "
            "layout.traced first"
        )

    @property
    def batch_size(self) -> int:
        return self.lengths.shape[0]

    @property
    def uniform(self) -> bool:
        return False  # never known before the graph runs

    @cached_property
    def inside(self) -> Tensor:
        """True at the places of a padded batch that have a token, shape (B, max_length), bool."""
        places = torch.arange(self.max_length, device=self.lengths.device)
        return places < self.lengths[:, None]

    @cached_property
    def grid(self) -> Tensor:
        """Row of the token at each place of a padded batch, shape (B, max_length); any if none."""
        places = torch.arange(self.max_length, device=self.lengths.device)
        return (self.first[:, None] + places).clamp(max=self.total - 1)

    @cached_property
    def members(self) -> Tensor:
        """True where a token belongs to a sequence, (B, T), bool: quadratic in the batch size."""
        ids = torch.arange(self.batch_size, device=self.lengths.device)
        return ids[:, None] == self.sequence

    def select(self, keep: Tensor) -> tuple[Tensor, Traced]:
        """See `lotbench.ragged.select`."""
        rows, lengths = keep.nonzero().squeeze(1), segment_count(keep, self)
        sequence, longest = self.sequence.index_select(0, rows), lengths.max().item()
        # Not int(longest), which would ask the exporter for its value.
        return rows, Traced(lengths, sequence, rows.shape[0], cast(int, longest))

    def append(self, present: Tensor) -> Traced:
        """The layout with a row for each sequence after all others, where ``present`` (B,)."""
        layout = Traced(
            self.lengths + present,
            self.sequence,
            self.total + self.batch_size,
            self.max_length + 1,
        )
        extra = self.total + torch.arange(self.batch_size, device=self.lengths.device)
        object.__setattr__(layout, "first", self.first)
        object.__setattr__(layout, "grid", torch.cat([self.grid, extra[:, None]], 1))
        object.__setattr__(layout, "inside", torch.cat([self.inside, present[:, None]], 1))
        return layout

    def to(self, device: torch.device | str) -> Traced:
        raise NotImplementedError("an exported graph stays on its device")


def segment_sum(values: Tensor, layout: Ragged) -> Tensor:
    """Sum over each sequence, ``(T, ...) -> (B, ...)``; 0 if empty.  Bool values are counted."""
    if layout.uniform and layout.batch_size and layout.max_length:
        return values.view(layout.batch_size, layout.max_length, *values.shape[1:]).sum(1)
    if isinstance(layout, Traced) and values.dim() == 1:
        if values.dtype == torch.bool:
            return (layout.members & values).sum(1)
        return torch.where(layout.members, values, 0).sum(1)
    if values.dtype == torch.bool:
        values = values.long()
    if values.dim() == 2 and values.is_floating_point():
        return segment_weighted_sum(None, values, layout)
    # Summed in float32: in bfloat16 a sum of ones would stop at 256.
    wide = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
    out = wide.new_zeros(layout.batch_size, *values.shape[1:])
    return out.index_add(0, layout.sequence, wide).to(values.dtype)


def segment_weighted_sum(weight: Tensor | None, values: Tensor, layout: Ragged) -> Tensor:
    """Sum of ``weight * values`` over each sequence, ``(T,), (T, D) -> (B, D)``.

    A weight of None is all ones.  The sum takes one pass over the values in a fixed order, without
    a copy of the products.
    """
    if isinstance(layout, Traced):
        members = layout.members
        part = members.to(values.dtype) if weight is None else torch.where(members, weight, 0)
        return part @ values
    return F.embedding_bag(layout.rows, values, layout.first, mode="sum", per_sample_weights=weight)


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
    if isinstance(layout, Traced):
        # Padding has the lowest score and is behind all tokens, so it ranks last.
        lowest = -torch.inf if scores.is_floating_point() else torch.iinfo(scores.dtype).min
        order = pad(scores, layout, lowest).argsort(dim=1, descending=True, stable=True)
        places = torch.arange(layout.max_length, device=scores.device).expand_as(order)
        return unpad(torch.empty_like(order).scatter(1, order, places), layout)
    order = scores.argsort(descending=True, stable=True)
    if layout.batch_size > 1:
        order = order[layout.sequence[order].argsort(stable=True)]
    rank = torch.empty_like(order)
    rank[order] = layout.position
    return rank


def segment_topk(scores: Tensor, count: Tensor, layout: Ragged) -> Tensor:
    """Mask of the ``count`` (B,) tokens with the highest scores per sequence, shape (T,), bool."""
    return segment_rank(scores, layout) < count[layout.sequence]


def select(
    keep: Tensor, layout: Ragged, sizes: tuple[int, ...] | None = None
) -> tuple[Tensor, Ragged]:
    """Rows where ``keep`` (T,) is true, shape (K,), int64, and the layout of these rows.

    The new lengths cost one host synchronisation.  If they are given as ``sizes``, there is none,
    and all shapes are static.
    """
    if isinstance(layout, Traced):
        return layout.select(keep)
    if sizes is None and keep.device.type == "cpu":
        rows = keep.nonzero().squeeze(1)
        starts = torch.searchsorted(rows, layout.cu_seqlens)
        return rows, Ragged(starts, tuple(end - start for start, end in pairwise(starts.tolist())))
    counts = segment_count(keep, layout)
    sizes = tuple(counts.tolist()) if sizes is None else sizes
    rows = keep.nonzero_static(size=sum(sizes)).squeeze(1)
    return rows, Ragged(F.pad(counts.cumsum(0), (1, 0)), sizes)


def pad(values: Tensor, layout: Ragged, fill: float = 0.0) -> Tensor:
    """Padded copy, ``(T, ...) -> (B, max_length, ...)``; a view if the lengths are equal."""
    if isinstance(layout, Traced):
        inside = layout.inside.view(*layout.inside.shape, *[1] * (values.dim() - 1))
        return torch.where(inside, pad_any(values, layout), fill)
    shape = (layout.batch_size, layout.max_length, *values.shape[1:])
    if layout.uniform:
        return values.view(shape)
    rows = layout.sequence * layout.max_length + layout.position
    flat = values.new_full((shape[0] * shape[1], *shape[2:]), fill)
    return flat.index_copy(0, rows, values).view(shape)


def pad_any(values: Tensor, layout: Ragged) -> Tensor:
    """`pad` with any finite numbers in the padding, if ``values`` are finite."""
    if isinstance(layout, Traced):
        return values[layout.grid]
    return pad(values, layout)


def unpad(padded: Tensor, layout: Ragged) -> Tensor:
    """The inverse of `pad`, ``(B, max_length, ...) -> (T, ...)``."""
    flat = padded.reshape(-1, *padded.shape[2:])
    if layout.uniform:
        return flat
    return flat.index_select(0, layout.sequence * layout.max_length + layout.position)


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

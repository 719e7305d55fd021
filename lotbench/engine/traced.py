"""The layout of a ragged batch in a graph that is exported.

The graph must hold for every batch, so lengths and indices are tensors of the graph, and no size
is a Python number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from lotbench.ragged import Ragged, cached_property, unpad

T = TypeVar("T")


class Traced(Ragged):
    """A layout of which no size is known: ``total`` and ``max_length`` are symbols of the exporter.

    ``max_length`` may be more than the longest sequence.
    """

    # Padding repeats a key of its own text, so its probability is below rounding.  With -inf the
    # softmax of ONNX Runtime ends in subnormal numbers, and takes four times as long.
    absent = -50.0

    without: tuple[Traced, Tensor, Tensor] | None = None
    """Set by `append`: the layout before, the added rows, and where they are present."""

    def __init__(self, lengths: Tensor, sequence: Tensor, total: int, max_length: int) -> None:
        vars(self).update(lengths=lengths, sequence=sequence, total=total, max_length=max_length)

    @staticmethod
    def of_mask(mask: Tensor) -> tuple[Tensor, Traced]:
        """Rows of the true entries in the flattened mask ``(B, S)``, shape (T,), and the layout."""
        width, present = mask.shape[1], mask.nonzero()
        sequence = present[:, 0]
        rows = sequence * width + present[:, 1]
        return rows, Traced(mask.long().sum(1), sequence, rows.shape[0], width)

    @cached_property
    def cu_seqlens(self) -> Tensor:
        return F.pad(self.lengths.cumsum(0), (1, 0))

    @cached_property
    def first(self) -> Tensor:
        return self.lengths.cumsum(0) - self.lengths

    @property
    def sizes(self) -> tuple[int, ...]:
        raise NotImplementedError(
            "layout.sizes is unknown in an exported graph; use layout.lengths, a tensor, or "
            "layout.known_sizes, which is then None"
        )

    @property
    def known_sizes(self) -> None:
        return None

    @property
    def uniform(self) -> bool:
        return False  # never known before the graph runs

    @property
    def batch_size(self) -> int:
        return self.lengths.shape[0]

    @cached_property
    def grid(self) -> Tensor:
        """Row of the token at each place of a padded batch, shape (B, max_length).

        Padding repeats the last token of its text; see `absent`.
        """
        places = torch.arange(self.max_length, device=self.lengths.device)
        last = (self.first + self.lengths - 1).clamp(min=0)
        return torch.minimum(self.first.unsqueeze(1) + places, last.unsqueeze(1))

    @cached_property
    def members(self) -> Tensor:
        """True where a token belongs to a sequence, (B, T), bool: quadratic in the batch size."""
        ids = torch.arange(self.batch_size, device=self.lengths.device)
        return ids.unsqueeze(1) == self.sequence

    def to(self, device: torch.device | str) -> Traced:
        raise NotImplementedError("an exported graph stays on its device")

    def sum(self, values: Tensor) -> Tensor:
        if values.dim() > 1:
            return super().sum(values)
        if values.dtype == torch.bool:  # the rows of a text stand together
            before = F.pad(values.long().cumsum(0), (1, 0))
            return before[self.first + self.lengths] - before[self.first]
        return torch.where(self.members, values, 0).sum(1)

    def weighted_sum(self, weight: Tensor | None, values: Tensor) -> Tensor:
        if weight is None:
            return self.members.to(values.dtype) @ values
        return torch.where(self.members, weight, 0) @ values

    def group_sums(self, weight: Tensor, values: Tensor, groups: Tensor, at: Tensor) -> Tensor:
        total = torch.zeros_like(values).index_add(0, groups, weight.unsqueeze(1) * values)
        return total.index_select(0, at)

    def rank(self, scores: Tensor) -> Tensor:
        order = self._with_lowest(scores).argsort(dim=1, descending=True, stable=True)
        places = torch.arange(self.max_length, device=scores.device).expand_as(order)
        return unpad(places.scatter(1, order, places), self)

    def topk(self, scores: Tensor, count: Tensor) -> Tensor:
        # Only as many scores are sorted as are kept of any text.  Not of none, which OpenVINO
        # refuses.
        most = count.long().clamp(min=1, max=self.max_length).max().item()
        torch._check(most <= self.max_length)
        # In a graph, unlike in PyTorch, the earlier of equal scores comes first.
        best = self._with_lowest(scores).topk(cast(int, most), dim=1).indices
        chosen = torch.arange(most, device=scores.device) < count.unsqueeze(1)
        return unpad(torch.zeros_like(self.inside).scatter(1, best, chosen), self)

    def _with_lowest(self, scores: Tensor) -> Tensor:
        """The scores padded with the lowest, so that padding, behind all tokens, ranks last."""
        lowest = -torch.inf if scores.is_floating_point() else torch.iinfo(scores.dtype).min
        return self.pad(scores, lowest)

    def select(self, keep: Tensor, sizes: tuple[int, ...] | Tensor | None) -> tuple[Tensor, Traced]:
        rows = self._once("kept", keep, lambda: keep.nonzero().squeeze(1))
        if not isinstance(sizes, Tensor):
            return rows, self._selected(rows, self.sum(keep))
        # Of the same sizes the layout is the same, whichever tokens are kept.  An empty text has
        # none to keep.
        layout = self._once(
            "selected", sizes, lambda: self._selected(rows, torch.minimum(sizes, self.lengths))
        )
        torch._check(rows.shape[0] == layout.total)
        return rows, layout

    def _selected(self, rows: Tensor, lengths: Tensor) -> Traced:
        """The layout of some rows, given how many of each text they are."""
        sequence, longest = self.sequence.index_select(0, rows), lengths.max().item()
        # Not int(longest), which would ask the exporter for its value.
        return Traced(lengths, sequence, rows.shape[0], cast(int, longest))

    def share(self, share: float | Tensor) -> Tensor:
        return self._once("part", share, lambda: Ragged.share(self, share))

    def share_sizes(self, share: float) -> Tensor:
        return self.share(share)

    def pad(self, values: Tensor, fill: float = 0.0) -> Tensor:
        inside = self.inside.view(*self.inside.shape, *[1] * (values.dim() - 1))
        return torch.where(inside, self.pad_any(values), fill)

    def pad_any(self, values: Tensor) -> Tensor:
        return values[self.grid]

    def below(self, other: Ragged) -> Tensor:
        return self._once("fewer", other, lambda: self.lengths < other.lengths)

    def append(
        self, values: Tensor, extra: Tensor, present: Sequence[bool] | Tensor
    ) -> tuple[Tensor, Traced]:
        """See `Ragged.append`; the new rows are behind all others, whether present or not."""
        layout = self._once("longer", present, lambda: self._appended(present))
        return torch.cat([values, extra]), layout

    def _appended(self, present: Sequence[bool] | Tensor) -> Traced:
        assert isinstance(present, Tensor)
        added = self.total + torch.arange(self.batch_size, device=self.lengths.device)
        added = torch.where(present, added, self.first)  # else padding: a key of its own text
        layout = self._with(added, present)
        vars(layout)["without"] = self, added, present
        return layout

    def _with(self, added: Tensor, present: Tensor) -> Traced:
        """The layout with the row ``added`` behind the others of each text that is ``present``."""
        layout = Traced(
            self.lengths + present, self.sequence, self.total + self.batch_size, self.max_length + 1
        )
        vars(layout).update(
            first=self.first,
            grid=torch.cat([self.grid, added.unsqueeze(1)], 1),
            inside=torch.cat([self.inside, present.unsqueeze(1)], 1),
        )
        return layout

    @cached_property
    def parts(self) -> list[tuple[Tensor, Traced]]:
        """The texts in two groups, the longest fourth in the second, each with its layout.

        A group may be empty.  The rows of its layout are those of the batch.
        """
        order, size = self.lengths.argsort(stable=True), self.batch_size
        cuts = pairwise([0, 3 * size // 4, size])
        return [(texts := order[start:end], self._part(texts)) for start, end in cuts]

    def _part(self, texts: Tensor) -> Traced:
        """The layout of some texts."""
        if self.without:
            whole, added, present = self.without
            return whole._part(texts)._with(added[texts], present[texts])
        for known, part in vars(self).get("parts", ()):
            if known is texts:
                return part
        lengths = self.lengths[texts]
        # With a zero, since the largest of no number is an error.
        longest = cast(int, F.pad(lengths, (0, 1)).max().item())
        layout = Traced(lengths, self.sequence, self.total, longest)
        vars(layout)["first"] = self.first[texts]
        return layout

    def parts_with(self, keys: Traced) -> list[tuple[Traced, Traced]]:
        """The layouts of `parts`, and those of the keys of the same texts."""
        if keys is self:
            return [(part, part) for _, part in self.parts]
        return self._once(
            "pairs", keys, lambda: [(part, keys._part(texts)) for texts, part in self.parts]
        )

    def places_of_heads(self, heads: int) -> Tensor:
        """Row of each head at each place of a padded batch, shape (B, heads, max_length).

        The heads of a token are rows of their own, one after another.
        """

        def places() -> Tensor:
            head = torch.arange(heads, device=self.lengths.device)
            return self.grid.unsqueeze(1) * heads + head.unsqueeze(1)

        return self._once("places", heads, places)

    def joined(self, heads: int) -> Tensor:
        """Where each head of each token is in the padded `parts`, which stand end to end.

        Shape (T, heads).  A part is of shape (texts, heads, max_length).
        """
        return self._once(f"ends of {heads}", heads, lambda: self._joined(heads))

    def _joined(self, heads: int) -> Tensor:
        starts, start = [], 0
        for texts, part in self.parts:
            count, width = texts.shape[0] * heads, part.max_length
            starts.append(start + torch.arange(count, device=texts.device) * width)
            start += count * width
        order = torch.cat([texts for texts, _ in self.parts])
        first = torch.cat(starts).unflatten(0, (-1, heads))
        first = torch.empty_like(first).index_copy(0, order, first)
        return first.index_select(0, self.sequence) + self.position.unsqueeze(1)

    def _once(self, name: str, source: Any, compute: Callable[[], T]) -> T:
        """The value of ``compute``, computed again only if ``source`` is another object."""
        last = vars(self).get(name)
        if last is None or last[0] is not source:
            last = vars(self)[name] = source, compute()
        return last[1]

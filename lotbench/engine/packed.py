"""The packed mode: only the tokens that the method keeps are computed.

The tokens of a layer are gathered before it, and their new states are written back after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lotbench.engine.run import EncoderRun
from lotbench.ragged import Ragged, select
from lotbench.reducer import Decision, Drop, Leap, Merge, Outputs, Tokens


@dataclass(frozen=True)
class Last:
    """Rows and states after a layer with a leap, for a next layer that keeps the same tokens."""

    keep: Tensor
    """The mask (T,) of the decision."""
    at: Tensor
    """Rows (K,) of the kept tokens among those shown."""
    kept: Tokens
    """The kept tokens after the layer."""
    base: Tensor
    """States (T, D) of the tokens shown; only those of the leaping tokens are of use."""


class PackedRun(EncoderRun):
    """A forward pass that computes only what the method keeps."""

    soft = False

    def __post_init__(self) -> None:
        super().__post_init__()
        # Rows that the last layer computed; None if it computed all.
        self.computed: Tensor | None = self.all_rows[:0]
        # In a graph: the last states that were written, and what into where.
        self.written: tuple[Tensor, Tensor, Tensor, Tensor] | None = None

    def outputs(self) -> Outputs:
        """Outputs of the whole pass."""
        tokens, behind = self.tokens(), None
        if self.backbone.reads_all and self.computed is not None:
            behind = torch.ones_like(tokens.rows, dtype=torch.bool)
            if self.reducer.active_layers:  # OpenVINO cannot fill no rows at all
                behind = behind.index_fill(0, self.computed, 0)
        return self.finish(tokens, behind)

    def tokens(self) -> Tokens:
        """The tokens after the last layer."""
        tokens, last = self.entry(), None
        for index in self.layers():
            tokens, last = self.layer(index, tokens, last)
        return tokens

    def entry(self) -> Tokens:
        """The tokens that enter the first layer; what nothing reads is not embedded."""
        batch, layout = self.batch, self.batch.layout
        # In training every token is embedded, and first, so that a seed draws the same dropout
        # whatever is decided.
        hidden = self.embed() if self.backbone.training else None
        early = self.decide_early()
        read = early is None or self.is_read(early)
        if hidden is None and read:
            hidden = self.embed()
        if hidden is not None:
            tokens = Tokens(hidden, layout, self.all_rows, batch)
            if early is None or (read and isinstance(early, Leap)):
                self.held = early
                return tokens
            if isinstance(early, Drop):
                self.keep_last_states(early, tokens)
        assert early is not None, "else everything is embedded"
        at, layout = select(early.keep, layout, getattr(early, "sizes", None))
        hidden = self.embed(at) if hidden is None else hidden.index_select(0, at)
        if not read:
            self.trace.embedded = layout.lengths
        tokens = Tokens(hidden, layout, at, batch)
        self.check_left(-1, "before_embedding", tokens)
        return tokens

    def layer(self, index: int, tokens: Tokens, last: Last | None) -> tuple[Tokens, Last | None]:
        """The tokens after a layer, given those before it, and the `Last` that it leaves."""
        if self.keep_inputs:
            self.inputs.append(tokens.hidden)
        layer, shown = self.backbone.layers[index], tokens.layout
        outer = self.decide("before_layer", index, tokens)

        # carried: the tokens that reach the next layer; chosen: the carried tokens that this layer
        # computes; at: rows of the chosen within the carried, None if all are chosen.
        carried, at, context, seen = tokens, None, None, None
        leapt: Sequence[bool] | Tensor = ()
        if last is not None and not (isinstance(outer, Leap) and last.keep is outer.keep):
            last = None
        if isinstance(outer, Drop | Merge):
            self.keep_last_states(outer, tokens)
            _, carried = self.gather(tokens, outer)
            self.check_left(index, "before_layer", carried)
        chosen = carried
        if isinstance(outer, Leap):
            at, chosen = (last.at, last.kept) if last else self.gather(carried, outer)
            if outer.keys is not None:
                seen = self.gather_keys(carried, outer)
            if outer.context is not None:
                context = outer.context
                leapt = chosen.layout.below(shown)

        weight = self.merging.key_weight(seen or chosen)
        attended, received, keys = self.attention(layer, chosen, context, leapt, weight, seen=seen)
        inner = self.decide("after_attention", index, attended, received)
        if inner is None:
            forward, computed = attended, layer.feed_forward(attended.hidden)
        else:
            stay, forward = self.gather(attended, inner)
            computed = layer.feed_forward(forward.hidden)
            self.keep_last_states(inner, attended)
            carried, at = self.remove(carried, at, inner, stay, forward)
            self.check_left(index, "after_attention", carried)

        counts = shown.lengths, chosen.layout.lengths, keys.lengths, forward.layout.lengths
        self.count(chosen.rows, *counts)
        hidden, left, self.computed = computed, None, at
        if at is not None:
            computed = computed.to(carried.hidden.dtype)
            # What removes tokens within the layer has renumbered the carried ones.
            base = last.base if last and inner is None else carried.hidden
            hidden = self.write(computed, at, base)
            if isinstance(outer, Leap) and inner is None:
                kept = Tokens(computed, chosen.layout, chosen.rows, self.batch)
                left = Last(outer.keep, at, kept, base)
        # After a drop or merge within the layer, the earlier decision does not fit what is left.
        previous = outer if isinstance(outer, Leap) and inner is None else None
        return Tokens(hidden, carried.layout, carried.rows, self.batch, previous), left

    def check_left(self, index: int, point: str, tokens: Tokens) -> None:
        """Refuses a drop of all tokens of a text."""
        sizes = tokens.layout.known_sizes or ()
        if 0 in sizes:
            raise ValueError(
                f"{self.named(index, point)}: drops every token of text {sizes.index(0)}; keep its "
                "first, which the classifier reads"
            )

    def gather(self, tokens: Tokens, decision: Decision) -> tuple[Tensor, Tokens]:
        """Rows (K,) of the kept tokens among the given ones, and the kept tokens, merged or not."""
        if isinstance(decision, Merge):
            return self.merging.merge(tokens, decision)
        sizes = decision.sizes if isinstance(decision, Leap) else None
        at, layout = select(decision.keep, tokens.layout, sizes)
        rows = at if tokens.rows is self.all_rows else tokens.rows[at]
        return at, Tokens(tokens.hidden.index_select(0, at), layout, rows, self.batch)

    def gather_keys(self, tokens: Tokens, decision: Leap) -> Tokens:
        """The tokens that the layer sees; the kept come first."""
        order = (tokens.layout.sequence * 2 + (~decision.keep).long()).argsort(stable=True)
        at, layout = select(decision.seen[order], tokens.layout, decision.key_sizes)
        rows = order[at]
        return Tokens(tokens.hidden.index_select(0, rows), layout, tokens.rows[rows], self.batch)

    def remove(
        self, carried: Tokens, at: Tensor | None, decision: Decision, stay: Tensor, forward: Tokens
    ) -> tuple[Tokens, Tensor | None]:
        """The carried tokens after a drop or merge in a layer, and the rows of ``forward`` there.

        The decision is on the computed tokens, which are rows ``at`` of the carried; None is all.
        ``forward`` has the tokens that it keeps, which are rows ``stay`` of the computed.
        """
        if at is None:
            return forward, None
        keep = torch.ones_like(carried.rows, dtype=torch.bool).index_copy(0, at, decision.keep)
        _, remaining = self.gather(carried, Drop(keep))
        new_rows = keep.cumsum(0) - 1
        return remaining, new_rows[at[stay]]

    def write(self, computed: Tensor, at: Tensor, hidden: Tensor) -> Tensor:
        """The carried states with the computed ones at rows ``at``, in place where that is safe."""
        # A graph that is exported has all but the last write of a decision removed.
        exported = self.batch.layout.known_sizes is None
        if torch.is_grad_enabled() or self.keep_inputs or exported:
            states = hidden.index_copy(0, at, computed)
            self.written = (states, computed, at, hidden) if exported else None
            return states
        return hidden.index_copy_(0, at, computed)

    def first_states(self, hidden: Tensor, layout: Ragged) -> Tensor:
        # In a graph a write copies all states.  If the first alone are read, nothing is written.
        if self.written is None or self.written[0] is not hidden:
            return super().first_states(hidden, layout)
        _, computed, at, before = self.written
        order = torch.arange(at.shape[0], device=at.device)
        place = torch.full_like(layout.rows, -1).index_copy(0, at, order)[layout.first]
        return torch.where(
            place.unsqueeze(1) < 0, before[layout.first], computed[place.clamp(min=0)]
        )

"""The reference mode: every token is computed; decisions weight keys and blend states.

This mode defines what a decision means.  Gradients flow through the weights of decisions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lotbench.engine.run import EncoderRun
from lotbench.ragged import segment_count, select
from lotbench.reducer import Decision, Drop, Leap, Merge, Outputs, Received, Tokens


@dataclass(frozen=True)
class States:
    """All tokens of the batch between two layers."""

    hidden: Tensor
    """Shape (T, D)."""
    present: Tensor
    """Shape (T,), bool: False for dropped and absorbed tokens."""
    previous: Decision | None = None
    """The decision before the previous layer, while it still fits the tokens present."""


class ReferenceRun(EncoderRun):
    """A forward pass that computes every token of every layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.all_present = torch.ones_like(self.all_rows, dtype=torch.bool)
        # Share of each token that the last layer computed; None if it computed all.
        self.computed: Tensor | None = ~self.all_present

    def outputs(self) -> Outputs:
        """Outputs of the whole pass."""
        states = self.entry()
        for index in self.layers():
            states = self.layer(index, states)
        tokens, behind = self.shown(states.hidden, states.present), None
        if self.backbone.reads_all and self.computed is not None:
            share = self.computed[tokens.rows]
            behind = ~share if share.dtype == torch.bool else 1 - share
        return self.finish(tokens, behind)

    def entry(self) -> States:
        """The states that enter the first layer of this pass."""
        hidden, present = self.embed(), self.all_present
        early = self.decide_early()
        if early is not None and not self.is_read(early):
            self.trace.embedded = segment_count(early.keep, self.batch.layout)
        if isinstance(early, Drop):
            tokens = Tokens(hidden, self.batch.layout, self.all_rows, self.batch)
            self.keep_last_states(early, tokens)
            hidden, present, _ = self.drop(early, self.all_rows, hidden, present)
        elif early is not None and not self.is_read(early):
            present = early.keep  # what leaps over all layers, unread, is gone
        else:
            self.held = early
        return States(hidden, present)

    def layer(self, index: int, states: States) -> States:
        """The states after a layer, given the states before it."""
        if self.keep_inputs:
            self.inputs.append(states.hidden)
        layer, whole = self.backbone.layers[index], self.batch.layout
        hidden, present = states.hidden, states.present
        tokens = self.shown(hidden, present, states.previous)
        outer = self.decide("before_layer", index, tokens)

        # compute: the tokens that this layer computes; blend: the weight of their new states, bool
        # if it is hard; seen: the tokens that are its keys.
        outer_factor = blend = context = None
        leapt: list[bool] = []
        if isinstance(outer, Drop):
            self.keep_last_states(outer, tokens)
            hidden, present, outer_factor = self.drop(outer, tokens.rows, hidden, present)
        elif isinstance(outer, Merge):
            hidden, present = self.absorb(outer, tokens, hidden, present)
        compute = seen = present
        if isinstance(outer, Leap):
            compute = seen = self.scatter(outer.keep, tokens.rows)
            blend = compute
            if outer.weight is not None:
                blend = self.scatter(outer.weight.to(hidden.dtype), tokens.rows)
            if outer.keys is not None:
                seen = self.scatter(outer.seen, tokens.rows)
            if outer.context is not None:
                context = outer.context
                leapt = (segment_count(compute, whole) < tokens.layout.lengths).tolist()

        weight = (seen if blend is None else blend).to(hidden.dtype)
        if isinstance(outer, Leap) and outer.keys is not None:
            weight = weight.masked_fill(self.scatter(outer.keys, tokens.rows), 1.0)
        if isinstance(outer, Drop) and outer.as_key and outer_factor is not None:
            weight, outer_factor = weight * outer_factor.squeeze(1), None
        every = Tokens(hidden, whole, self.all_rows, self.batch)
        sizes = self.merging.key_weight(every)
        weight = weight if sizes is None else weight * sizes
        every, received, keys = self.attention(layer, every, context, leapt, weight, compute)
        x = every.hidden
        attended = self.shown(x, compute)
        if every.keys is not None:
            attended = replace(attended, keys=every.keys[attended.rows])
        if received is not None:
            received = Received(received.mean[attended.rows], received.own[attended.rows])
        inner = self.decide("after_attention", index, attended, received)

        inner_factor = None
        if isinstance(inner, Drop):
            self.keep_last_states(inner, attended)
            x, present, inner_factor = self.drop(inner, attended.rows, x, present)
        elif isinstance(inner, Merge):
            x, present = self.absorb(inner, attended, x, present)
        y = layer.feed_forward(x)
        for factor in (outer_factor, inner_factor):
            if factor is not None:
                y = y * factor
        self.computed = blend
        if blend is not None:
            share = blend.unsqueeze(1)
            hard = share.dtype == torch.bool
            y = torch.where(share, y, hidden) if hard else share * y + (1 - share) * hidden

        queries = segment_count(compute, whole)
        counted = queries if seen is compute else segment_count(seen, whole)
        contexts = keys.lengths - whole.lengths
        forward = compute if inner is None else self.scatter(inner.keep, attended.rows)
        feeding = segment_count(forward, whole)
        self.count(attended.rows, tokens.layout.lengths, queries, counted + contexts, feeding)
        # After a drop or merge within the layer, the earlier decision does not fit what is left.
        soft = isinstance(outer, Drop) and outer.weight is not None and present is states.present
        fits = (isinstance(outer, Leap) or soft) and inner is None
        return States(y, present, outer if fits else None)

    def shown(self, hidden: Tensor, mask: Tensor, previous: Decision | None = None) -> Tokens:
        """The tokens of a mask (T,), gathered; a method sees only these."""
        if mask is self.all_present:
            return Tokens(hidden, self.batch.layout, self.all_rows, self.batch, previous)
        rows, layout = select(mask, self.batch.layout)
        return Tokens(hidden[rows], layout, rows, self.batch, previous)

    def scatter(self, values: Tensor, rows: Tensor) -> Tensor:
        """The values of the tokens at ``rows``, zero for all others, shape (T,)."""
        if rows is self.all_rows:
            return values
        return values.new_zeros(self.batch.layout.total).index_copy(0, rows, values)

    def drop(
        self, decision: Drop, rows: Tensor, hidden: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """States and presence after a drop, and the factor (T, 1) on keys or output, if any."""
        removed = rows[~decision.keep]
        if removed.numel():
            present = present.index_fill(0, removed, False)
        if decision.weight is None:
            return hidden, present, None
        ones = torch.ones_like(hidden[:, 0])
        factor = ones.index_copy(0, rows, decision.weight.to(hidden.dtype)).unsqueeze(1)
        if decision.as_key or decision.at_output:
            return hidden, present, factor
        return hidden * factor, present, None

    def absorb(
        self, decision: Merge, tokens: Tokens, hidden: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor]:
        """States and presence, each of all tokens, after some of them have merged."""
        _, merged = self.merging.merge(tokens, decision)
        present = present.index_copy(0, tokens.rows, decision.keep)
        return hidden.index_copy(0, merged.rows, merged.hidden), present

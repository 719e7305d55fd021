"""The two modes of a forward pass: `Packed` and `Reference` (see `lotbench.engine.encoder`).

Queries, keys and values are three products.  One product of the three weights was tried on a CPU:
within a model, where weights come from memory, a pass took 2% to 8% longer with 13 to 208 rows,
and 1% less with 816.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lotbench.batch import Batch
from lotbench.engine.adapters import Layer
from lotbench.engine.attention import append_context, attend, attend_and_receive
from lotbench.ragged import Ragged, segment_count, select
from lotbench.reducer import (
    Decision,
    Drop,
    Event,
    Leap,
    Outputs,
    Received,
    TokenReducer,
    Tokens,
    Trace,
    malformed,
)

if TYPE_CHECKING:
    from lotbench.engine.encoder import ReducedEncoder


@dataclass(frozen=True)
class Prefix:
    """States ``hidden`` (T, D) of all tokens of a batch at the entry of ``layer``."""

    layer: int
    hidden: Tensor

    def repeat(self, times: int) -> Prefix:
        """The prefix of ``batch.repeat(times)``."""
        return Prefix(self.layer, self.hidden.repeat(times, 1))


@dataclass
class Run:
    """State of one forward pass; the parts that both modes share."""

    encoder: ReducedEncoder
    reducer: TokenReducer
    batch: Batch
    keep_inputs: bool
    prefix: Prefix | None

    def __post_init__(self) -> None:
        batch = self.batch
        self.trace = Trace()
        self.inputs: list[Tensor] = []
        if self.prefix is None:
            self.hidden = self.encoder.backbone.embed(
                batch.input_ids, batch.token_type_ids, batch.layout
            )
        else:
            self.hidden = self.prefix.hidden.clone()  # the packed path writes in place
        self.wants_received = "received_attention" in self.reducer.needs
        self.previous: Decision | None = None
        self.all_rows = torch.arange(batch.layout.total, device=self.hidden.device)
        self.restored: list[tuple[Tensor, Tensor]] = []

    def decide(self, index: int, point: str, tokens: Tokens, received: Received | None = None):
        """The method's decision, written to the trace."""
        if point == "before_layer":
            decision = self.reducer.before_layer(index, tokens)
        else:
            decision = self.reducer.after_attention(index, tokens, received)
        if decision is not None:
            complaint = malformed(decision, tokens)
            if complaint:
                name = getattr(self.reducer, "name", type(self.reducer).__name__)
                raise ValueError(f"method {name!r}: {point} of layer {index}: {complaint}")
            self.trace.events.append(Event(index, point, decision, tokens.layout, tokens.rows))
        return decision

    def project(
        self,
        layer: Layer,
        x: Tensor,
        layout: Ragged,
        context: Tensor | None,
        present: Sequence[bool],
    ) -> tuple[Tensor, Tensor, Tensor, Ragged]:
        """Queries of the tokens, keys and values with the contexts', and the keys' layout."""
        heads, source, keys = self.encoder.heads, x, layout
        if context is not None:
            source, keys = append_context(x, context.to(x.dtype), layout, present)
        return heads(layer.query(x)), heads(layer.key(source)), heads(layer.value(source)), keys

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        layout: Ragged,
        keys: Ragged,
        weights: Tensor | None = None,
    ) -> tuple[Tensor, Received | None]:
        """Attention output, and what each token receives where the method asks for it."""
        if self.wants_received:
            return attend_and_receive(query, key, value, layout, keys, weights)
        return attend(query, key, value, layout, keys, weights), None

    def count(self, shown: Tensor, queries: Tensor, keys: Tensor, feed_forward: Tensor) -> None:
        trace = self.trace
        trace.shown.append(shown)
        trace.queries.append(queries)
        trace.keys.append(keys)
        trace.feed_forward.append(feed_forward)

    def finish(self, hidden: Tensor, layout: Ragged, rows: Tensor, first: Tensor) -> Outputs:
        logits = self.encoder.backbone.classify(first)
        if self.restored:
            everything = hidden.new_zeros(self.batch.layout.total, hidden.shape[1])
            for at, state in [*self.restored, (rows, hidden)]:
                everything = everything.index_copy(0, at, state.to(everything.dtype))
            hidden, layout, rows = everything, self.batch.layout, self.all_rows
        return Outputs(logits, hidden, layout, rows, self.trace, tuple(self.inputs))


class Packed(Run):
    """Unselected tokens are gone: rows are gathered before a layer and put back after it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.layout, self.rows = self.batch.layout, self.all_rows

    def layer(self, index: int, layer: Layer) -> None:
        if self.keep_inputs:
            self.inputs.append(self.hidden)
        tokens = Tokens(self.hidden, self.layout, self.rows, self.batch, self.previous)
        shown = self.layout.lengths
        decision = self.decide(index, "before_layer", tokens)
        _refuse_soft(decision)
        self.previous = decision if isinstance(decision, Leap) else None
        if isinstance(decision, Drop):
            self.remove(decision)

        # x: the tokens this layer computes; at: their rows in self.hidden, None for all of them.
        x, layout, at, context, present = self.hidden, self.layout, None, None, []
        if isinstance(decision, Leap):
            at, layout = select(decision.keep, self.layout, decision.sizes)
            x, context = self.hidden.index_select(0, at), decision.context
            if context is not None:
                sizes = zip(layout.sizes, self.layout.sizes, strict=True)
                present = [kept < shown for kept, shown in sizes]
        query, key, value, keys = self.project(layer, x, layout, context, present)
        heads, received = self.attend(query, key, value, layout, keys)
        x = layer.attention_output(heads.flatten(1), x)
        decision = self.decide(
            index, "after_attention", Tokens(x, layout, self.owner(at), self.batch), received
        )
        _refuse_soft(decision)
        if decision is None:
            x, forward = layer.feed_forward(x), layout
        else:
            stay, forward = select(decision.keep, layout)
            computed = layer.feed_forward(x.index_select(0, stay))
            if isinstance(decision, Leap):
                x = x.index_copy(0, stay, computed.to(x.dtype))
            else:
                self.leave(decision, x, at, stay, forward)
                x, at = computed, self.where
        self.count(shown, layout.lengths, keys.lengths, forward.lengths)
        self.put_back(x, at)

    def owner(self, at: Tensor | None) -> Tensor:
        """Rows in the batch of the tokens at these rows of the carried states; None for all."""
        if at is None:
            return self.rows
        return at if self.rows is self.all_rows else self.rows[at]

    def put_back(self, x: Tensor, at: Tensor | None) -> None:
        """Write computed rows into the carried states."""
        if at is None:
            self.hidden = x
        elif torch.is_grad_enabled() or self.keep_inputs:
            self.hidden = self.hidden.index_copy(0, at, x.to(self.hidden.dtype))
        else:
            self.hidden.index_copy_(0, at, x.to(self.hidden.dtype))

    def remove(self, decision: Drop) -> None:
        """Carry out a removal before the layer."""
        if decision.restore:
            gone = (~decision.keep).nonzero().squeeze(1)
            self.restored.append((self.rows[gone], self.hidden[gone]))
        stay, self.layout = select(decision.keep, self.layout)
        self.hidden, self.rows = self.hidden.index_select(0, stay), self.rows[stay]

    def leave(
        self, decision: Drop, x: Tensor, at: Tensor | None, stay: Tensor, forward: Ragged
    ) -> None:
        """Carry out a removal between attention and feed-forward.

        Sets ``where``: rows of the staying tokens in the new carried states, None for all.
        """
        self.previous = None
        if decision.restore:
            gone = (~decision.keep).nonzero().squeeze(1)
            self.restored.append((self.owner(at)[gone], x[gone]))
        if at is None:  # all that is carried was computed, and what stays comes from the layer
            self.rows, self.layout, self.where = self.owner(stay), forward, None
            return
        keep = torch.ones_like(self.rows, dtype=torch.bool).index_copy(0, at, decision.keep)
        kept, self.layout = select(keep, self.layout)
        self.hidden, self.rows = self.hidden.index_select(0, kept), self.rows[kept]
        new_place = keep.to(torch.int64).cumsum(0) - 1
        self.where = new_place[at[stay]]

    def outputs(self) -> Outputs:
        first = self.hidden[self.layout.first]
        return self.finish(self.hidden, self.layout, self.rows, first)


class Reference(Run):
    """Every token is computed; decisions weigh keys and blend states."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.present = torch.ones_like(self.all_rows, dtype=torch.bool)
        self.thinned = False

    def shown(self, mask: Tensor, hidden: Tensor, previous: Decision | None = None) -> Tokens:
        """What the method may see: the rows of ``mask``, gathered."""
        if not self.thinned and mask is self.present:
            return Tokens(hidden, self.batch.layout, self.all_rows, self.batch, previous)
        rows, layout = select(mask, self.batch.layout)
        return Tokens(hidden[rows], layout, rows, self.batch, previous)

    def spread(self, values: Tensor, rows: Tensor) -> Tensor:
        """Values of the shown tokens on all tokens, zero elsewhere."""
        if rows is self.all_rows:
            return values
        return values.new_zeros(self.batch.layout.total).index_copy(0, rows, values)

    def layer(self, index: int, layer: Layer) -> None:
        if self.keep_inputs:
            self.inputs.append(self.hidden)
        whole = self.batch.layout
        tokens = self.shown(self.present, self.hidden, self.previous)
        decision = self.decide(index, "before_layer", tokens)
        self.previous = decision if isinstance(decision, Leap) else None
        at_output: list[Tensor] = []
        if isinstance(decision, Drop):
            self.drop(decision, tokens.rows, at_output)
        compute, blend = self.present, None
        context, present = None, []
        if isinstance(decision, Leap):
            compute = self.spread(decision.keep, tokens.rows)
            blend = _weight(decision, self.spread, tokens.rows, self.hidden.dtype)
            if decision.context is not None:
                context = decision.context
                present = (segment_count(compute, whole) < tokens.layout.lengths).tolist()
        key_weight = (compute if blend is None else blend).to(self.hidden.dtype)

        query, key, value, keys = self.project(layer, self.hidden, whole, context, present)
        weights = key_weight
        if context is not None:
            ones = key_weight.new_ones(whole.batch_size)
            weights, _ = append_context(key_weight, ones, whole, present)
        heads, everyone = self.attend(query, key, value, whole, keys, weights)
        x = layer.attention_output(heads.flatten(1), self.hidden)

        inner = self.shown(compute, x)
        received = None
        if everyone is not None:
            received = Received(everyone.mean[inner.rows], everyone.own[inner.rows])
        decision = self.decide(index, "after_attention", inner, received)
        forward, inner_blend = compute, None
        if decision is not None:
            forward = self.spread(decision.keep, inner.rows)
        if isinstance(decision, Leap):
            inner_blend = _weight(decision, self.spread, inner.rows, x.dtype)
        elif isinstance(decision, Drop):
            x = self.drop(decision, inner.rows, at_output, x)
        y = layer.feed_forward(x)
        for factor in at_output:
            y = y * factor.unsqueeze(1)
        if inner_blend is not None:
            y = _blend(inner_blend, y, x)
        self.hidden = y if blend is None else _blend(blend, y, self.hidden)

        queries = segment_count(compute, whole)
        self.count(
            tokens.layout.lengths,
            queries,
            queries + (keys.lengths - whole.lengths),
            segment_count(forward, whole),
        )

    def drop(
        self, decision: Drop, rows: Tensor, at_output: list[Tensor], x: Tensor | None = None
    ) -> Tensor | None:
        """Carry out a removal on the carried states, or on ``x`` within the layer."""
        states = self.hidden if x is None else x
        self.previous = None
        gone = rows[~decision.keep]
        if decision.restore:
            self.restored.append((gone, states[gone]))
        if gone.numel():
            self.present = self.present.index_fill(0, gone, False)
            self.thinned = True
        if decision.weight is not None:
            factor = torch.ones_like(states[:, 0]).index_copy(
                0, rows, decision.weight.to(states.dtype)
            )
            if decision.at_output:
                at_output.append(factor)
            else:
                states = states * factor.unsqueeze(1)
        if x is None:
            self.hidden = states
        return states

    def outputs(self) -> Outputs:
        whole = self.batch.layout
        rows, layout = select(self.present, whole) if self.thinned else (self.all_rows, whole)
        return self.finish(self.hidden[rows], layout, rows, self.hidden[whole.first])


def _refuse_soft(decision: Decision | None) -> None:
    if decision is not None and decision.weight is not None:
        raise ValueError("a soft decision (weight given) needs mode='reference'")


def _weight(decision: Leap, spread, rows: Tensor, dtype: torch.dtype) -> Tensor:
    """The decision's weight on all tokens; bool where it is hard."""
    if decision.weight is None:
        return spread(decision.keep, rows)
    return spread(decision.weight.to(dtype), rows)


def _blend(weight: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """``weight * new + (1 - weight) * old`` per token; a bool weight selects."""
    weight = weight.unsqueeze(1)
    if weight.dtype == torch.bool:
        return torch.where(weight, new, old)
    return weight * new + (1 - weight) * old

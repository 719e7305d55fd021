"""One forward pass: the part that both modes share.

`lotbench.engine.packed` and `lotbench.engine.reference` define how a layer is computed.

Queries, keys and values are three matrix products.  One product of the joined weights was measured
on a CPU, within a model, where weights come from memory.  A pass took 2% to 8% longer with 13 to
208 rows, and 1% less time with 816.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from lotbench.batch import Batch
from lotbench.decision import malformed, misgrouped
from lotbench.engine.adapter import Layer
from lotbench.engine.attention import Heads
from lotbench.engine.backbone import Backbone
from lotbench.engine.grouped import attend_in_groups
from lotbench.engine.merging import Merging
from lotbench.engine.positions import Places
from lotbench.engine.traced import Traced
from lotbench.ragged import Ragged, pad, segment_mean, segment_sum, segment_weighted_sum, select
from lotbench.reducer import (
    Decision,
    Drop,
    Event,
    Leap,
    Merge,
    Outputs,
    Prefix,
    Received,
    TokenReducer,
    Tokens,
    Trace,
)


@dataclass
class EncoderRun:
    """One forward pass of a batch; it records the trace, layer inputs and restored states."""

    soft: ClassVar[bool] = True
    """True if decisions may have a weight."""

    backbone: Backbone
    reducer: TokenReducer
    """Makes the decisions."""
    batch: Batch
    keep_inputs: bool = False
    """Record the hidden states that enter each layer."""
    prefix: Prefix | None = None
    """Start from these states instead of the embeddings."""
    protect: int | None = None
    """Token id that ends the first text of a pair, whose tokens stay; see `ReducedEncoder`."""

    def __post_init__(self) -> None:
        self.trace = Trace()
        self.inputs: list[Tensor] = []
        self.restored: list[tuple[Tensor, Tensor]] = []  # rows in the batch, last states
        self.lossy = False  # True if a decision may have removed tokens without restoring them
        self.wants_received = "received_attention" in self.reducer.needs
        self.wants_keys = "keys" in self.reducer.needs
        self.all_rows = self.batch.layout.rows
        self.protected = None if self.protect is None else first_text(self.batch, self.protect)
        self.last_keep: Tensor | None = None  # of the last decision, with the protected tokens
        self.held: Leap | None = None  # a leap over all layers, decided before the embedding
        self.last_places: tuple[Any, ...] = ()
        self.merging = Merging(self.batch)

    def layers(self) -> range:
        """Indices of the layers that this pass runs."""
        first = 0 if self.prefix is None else self.prefix.layer
        return range(first, self.reducer.active_layers)

    def embed(self, at: Tensor | None = None) -> Tensor:
        """Embeddings (K, D) of the tokens at rows ``at`` (K,), or of all.

        A pass with a prefix starts from the states there.
        """
        batch = self.batch
        if self.prefix is None:
            return self.backbone.embed(batch.input_ids, batch.token_type_ids, batch.layout, at)
        return self.prefix.hidden.clone()  # the packed path writes in place

    def decide_early(self) -> Leap | Drop | None:
        """The method's decision before the embedding, checked and recorded."""
        batch, layout = self.batch, self.batch.layout
        self.trace.lengths = self.trace.embedded = layout.lengths
        if self.prefix is not None:
            return None
        decision = self.reducer.before_embedding(batch, self.backbone.words)
        decision = self.checked(decision, "before_embedding", -1, layout, self.all_rows)
        assert not isinstance(decision, Merge), "it is malformed here"
        if decision is not None and not self.is_read(decision):
            self.lossy = True
        return decision

    def is_read(self, decision: Leap | Drop) -> bool:
        """True if something reads the embeddings of the tokens that an early decision leaves out.

        With a weight the gradient reaches what a soft decision leaves out.
        """
        if decision.weight is not None:
            return True
        if isinstance(decision, Drop):
            return decision.restore
        if self.backbone.spans:
            return True
        pooling = self.backbone.pooling
        return decision.keys is not None or (pooling is not None and pooling.kind == "mean")

    def decide(
        self, point: str, index: int, tokens: Tokens, *received: Received | None
    ) -> Decision | None:
        """The method's decision before a layer or after its attention, checked and recorded.

        A leap that holds in all layers stands for the decision before each.  ``point`` is
        "before_layer" or "after_attention"; only the latter is given ``received``.
        """
        if self.held is not None and point == "before_layer":
            return self.held_on(tokens.rows)
        if self.protected is not None:
            tokens = replace(tokens, protected=self.protected[tokens.rows])
        decision = getattr(self.reducer, point)(index, tokens, *received)
        width = self.backbone.width
        return self.checked(decision, point, index, tokens.layout, tokens.rows, width)

    def held_on(self, rows: Tensor) -> Leap | None:
        """The leap over all layers, on the tokens that are left."""
        leap = self.held
        if leap is None or rows is self.all_rows:
            return leap
        keys = None if leap.keys is None else leap.keys[rows]
        weight = None if leap.weight is None else leap.weight[rows]
        return Leap(leap.keep[rows], weight, keys=keys)

    def checked(
        self,
        decision: Decision | None,
        point: str,
        index: int,
        layout: Ragged,
        rows: Tensor,
        width: int | None = None,
    ) -> Decision | None:
        """The decision if it is well formed, with the protected tokens kept; it is recorded."""
        if decision is None:
            return None
        fault = malformed(decision, layout, width)
        late = isinstance(decision, Leap) or getattr(decision, "as_key", False)
        if not fault and point == "after_attention" and late:
            what = "a Leap" if isinstance(decision, Leap) else "as_key"
            fault = f"{what} is given, but the layer has already attended"
        if not fault and decision.weight is not None and not self.soft:
            fault = "a weight is given, but only stages with soft=True, run by mode='reference', "
            fault += "have weights"
        # Not in a graph, nor on a GPU, which would have to be waited for.
        cheap = layout.known_sizes is not None and rows.is_cpu
        if not fault and isinstance(decision, Merge) and cheap:
            fault = misgrouped(decision.groups, layout)
            if fault is None and bool((layout.is_first & ~decision.keep).any()):
                fault = "a first token merges into another"
        if fault:
            raise ValueError(f"{self.named(index, point)}: {fault}")
        if self.protected is not None:
            decision = self.keep_protected(decision, self.protected[rows])
        self.lossy = self.lossy or (isinstance(decision, Drop) and not decision.restore)
        self.trace.events.append(Event(index, point, decision, layout, rows))
        return decision

    def keep_protected(self, decision: Decision, protected: Tensor) -> Decision:
        """The decision that also keeps the protected tokens."""
        if isinstance(decision, Merge):
            rows = torch.arange(protected.shape[0], device=protected.device)
            return replace(decision, groups=torch.where(protected, rows, decision.groups))
        # A reused decision is returned unchanged, so that the packed mode sees that it is the same.
        if decision.keep is self.last_keep and decision.weight is None:
            return decision
        self.last_keep, weight = decision.keep | protected, decision.weight
        weight = None if weight is None else weight.masked_fill(protected, 1.0)
        if isinstance(decision, Leap):  # its sizes are those of fewer tokens
            decision = replace(decision, sizes=None, key_sizes=None)
        return replace(decision, keep=self.last_keep, weight=weight)

    def named(self, index: int, point: str) -> str:
        """The method and one of its decisions, for a message."""
        name = getattr(self.reducer, "name", type(self.reducer).__name__)
        return f"method {name!r}: {point}" + (f" of layer {index}" if index >= 0 else "")

    def attention(
        self,
        layer: Layer,
        tokens: Tokens,
        context: Tensor | None = None,
        present: Sequence[bool] | Tensor = (),
        weight: Tensor | None = None,
        asking: Tensor | None = None,
        seen: Tokens | None = None,
    ) -> tuple[Tokens, Received | None, Ragged]:
        """The tokens after a layer's attention, what each received, and the layout of the keys.

        The states are those after output and residual.  What tokens received is None unless the
        method needs it.  The layer computes ``tokens``.  Its keys are the tokens ``seen``, in each
        sequence those of ``tokens`` first (None is ``tokens`` itself), with a ``weight`` (S,) each,
        and the ``context`` (B, D) of the sequences where ``present`` (B bool) is true, which weighs
        1.  Only the attention of the tokens ``asking`` (T,) counts as received; None is all.
        """
        hidden, layout, seen = tokens.hidden, tokens.layout, tokens if seen is None else seen
        source, keys = seen.hidden, seen.layout
        if context is not None:
            source, keys = keys.append(source, context.to(hidden.dtype), present)
            if weight is not None:
                weight, _ = seen.layout.append(weight, weight.new_ones(len(present)), present)
        backbone = self.backbone
        query = backbone.split_heads(layer.query(hidden))
        key = backbone.split_heads(layer.key(source))
        value = backbone.split_heads(layer.value(source))
        received = pairs = mean_keys = None
        if self.wants_keys:
            mean_keys = key.mean(1)
            # The keys of a text begin with those of its queries.
            rows = keys.first[layout.sequence] + layout.position
            mean_keys = mean_keys if keys is layout else mean_keys.index_select(0, rows)
        if layer.position is not None:
            places = self.places(tokens, seen, keys, present)
            query, key, pairs = layer.position(query, key, places)
        if isinstance(layout, Traced):
            whole = Heads(query, key, value, layout, keys, weight, pairs)
            heads, received = attend_in_groups(whole, self.wants_received, asking)
        elif self.wants_received:
            heads, received = backbone.attend_and_receive(
                query, key, value, layout, keys, weight, pairs, asking
            )
        else:
            heads = backbone.attend(query, key, value, layout, keys, weight, pairs)
        states = layer.attention_output(heads.flatten(1), hidden)
        return Tokens(states, layout, tokens.rows, self.batch, keys=mean_keys), received, keys

    def places(
        self, tokens: Tokens, seen: Tokens, keys: Ragged, present: Sequence[bool] | Tensor
    ) -> Places:
        """Where the queries and keys of a layer stand; the last places if they are the same.

        A context stands for tokens from all over its text, so its place is the middle.
        """
        added, whole = keys is not seen.layout, self.batch.layout
        if self.last_places:
            places, rows, seen_rows, *rest = self.last_places
            same = rows is tokens.rows and seen_rows is seen.rows
            if same and rest == [added, keys.known_sizes]:
                return places
        query = tokens.position
        key = query if seen.rows is tokens.rows else seen.position
        if added:
            key, _ = seen.layout.append(key, whole.lengths // 2, present)
        places = Places(query, key, whole.max_length if whole.known_sizes else None)
        self.last_places = places, tokens.rows, seen.rows, added, keys.known_sizes
        return places

    def count(
        self, rows: Tensor, shown: Tensor, queries: Tensor, keys: Tensor, feed_forward: Tensor
    ) -> None:
        """Add a layer's computed rows (K,) and token counts, each of shape (B,), to the trace."""
        self.trace.computed.append(rows)
        self.trace.shown.append(shown)
        self.trace.queries.append(queries)
        self.trace.keys.append(keys)
        self.trace.feed_forward.append(feed_forward)

    def keep_last_states(self, decision: Decision, tokens: Tokens) -> None:
        """Record the states of the tokens that a drop removes, if it restores them."""
        if isinstance(decision, Drop) and decision.restore:
            removed = (~decision.keep).nonzero().squeeze(1)
            self.restored.append((tokens.rows[removed], tokens.hidden[removed]))

    def finish(self, tokens: Tokens, behind: Tensor | None) -> Outputs:
        """The outputs, given the remaining tokens.

        ``behind`` (T,) is 1 or true for those that the last layer did not compute, and between 0
        and 1 where a soft decision blends both; None if it computed all.
        """
        if self.restored:
            tokens, behind = self.with_restored(tokens, behind)
        if self.restored or self.backbone.reads_all:
            tokens, behind = self.merging.spread(tokens, behind)
        if not self.reducer.active_layers and not self.backbone.spans:
            # Without a layer the first token knows nothing of its text, so a summary stands there.
            at, layout = select(tokens.layout.is_first, tokens.layout)
            summary = self.reducer.summary(tokens)
            tokens = Tokens(summary, layout, tokens.rows[at], self.batch)
            behind = None if behind is None else behind[at]
        hidden, layout, rows = tokens.hidden, tokens.layout, tokens.rows
        pooling, trace = self.backbone.pooling, self.trace
        last, hidden = hidden, self.backbone.last_norm(hidden)
        if pooling is not None:
            logits = pooling(hidden, layout, behind)
            trace.mapped = behind is not None
        elif self.backbone.spans:
            logits, trace.read = self.span_logits(hidden, rows), layout.lengths
        elif self.backbone.mean_head:
            logits = self.backbone.classify(mean_of_computed(hidden, layout, behind))
        else:
            first = self.backbone.last_norm(self.first_states(last, layout))
            logits = self.backbone.classify(first)
        return Outputs(logits, hidden, layout, rows, trace, behind, tuple(self.inputs))

    def span_logits(self, hidden: Tensor, rows: Tensor) -> Tensor:
        """Start and end logits (B, 2, L) of the tokens at ``rows`` (K,), with states (K, D).

        L is the longest text.  They are -inf for padding, for tokens that are gone, and for those
        which are not of a second text.
        """
        batch, logits = self.batch, self.backbone.classify(hidden)
        answers = (batch.text_of_token > 0) & ~batch.is_separator
        every = logits.new_full((batch.layout.total, 2), -torch.inf)
        every = every.index_copy(0, rows, logits).masked_fill(~answers.unsqueeze(1), -torch.inf)
        return pad(every, batch.layout, -torch.inf).transpose(1, 2)

    def with_restored(self, tokens: Tokens, behind: Tensor | None) -> tuple[Tokens, Tensor]:
        """The remaining and the restored tokens, and their ``behind``; see `finish`."""
        rows, hidden, layout = tokens.rows, tokens.hidden, self.batch.layout
        states = hidden.new_zeros(layout.total, hidden.shape[1])
        for at, last in [*self.restored, (rows, hidden)]:
            states = states.index_copy(0, at, last.to(states.dtype))
        left = torch.zeros_like(rows, dtype=torch.bool) if behind is None else behind
        behind = left.new_ones(layout.total).index_copy(0, rows, left)
        if not self.lossy:
            return Tokens(states, layout, self.all_rows, self.batch), behind
        present = torch.zeros_like(self.all_rows, dtype=torch.bool)
        for at in (rows, *(at for at, _ in self.restored)):
            present = present.index_fill(0, at, True)
        rows, layout = select(present, layout)
        return Tokens(states[rows], layout, rows, self.batch), behind[rows]

    def first_states(self, hidden: Tensor, layout: Ragged) -> Tensor:
        """States (B, D) of the first token of each text."""
        return hidden[layout.first]


def mean_of_computed(hidden: Tensor, layout: Ragged, behind: Tensor | None) -> Tensor:
    """Mean of each text's states (B, D) over the tokens that the last layer computed.

    Of a text without such tokens it is the mean over all that are there.
    """
    if behind is None:
        return segment_mean(hidden, layout)
    weight = 1 - behind.to(hidden.dtype)
    count = segment_sum(weight, layout).unsqueeze(1)
    total = segment_weighted_sum(weight, hidden, layout)
    mean = total / torch.where(count > 0, count, 1)
    return torch.where(count > 0, mean, segment_mean(hidden, layout))


def first_text(batch: Batch, separator: int) -> Tensor:
    """The tokens of each text up to its first ``separator``, shape (T,), bool."""
    layout, ends = batch.layout, (batch.input_ids == separator).long()
    before = ends.cumsum(0) - ends  # separators before each token, over the whole batch
    return before == before[layout.first][layout.sequence]

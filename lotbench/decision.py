"""The tokens that a method is shown, the decision that it returns, and the record of a pass.

Part of the contract: methods import these names from `lotbench.reducer`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from lotbench.batch import Batch
from lotbench.ragged import Ragged, cached_property

Aux = dict[str, Any]
"""What a method's loss needs, by names that the method chooses; it finds them in the `Trace`."""


@dataclass(frozen=True)
class Received:
    """Attention that each present token receives, mean over heads.

    Attributes
    ----------
    mean : Tensor, shape (T,)
        Mean over the present query tokens of the sequence.
    own : Tensor, shape (T,)
        Attention that a token gives itself (the diagonal), mean over heads.
    """

    mean: Tensor
    own: Tensor


@dataclass(frozen=True)
class Leap:
    """Tokens with ``keep=False`` skip the layer unchanged and are candidates again at the next.

    Attributes
    ----------
    keep : Tensor, shape (T,), bool
    weight : Tensor, shape (T,), or None
        Differentiable form of ``keep`` for soft stages: the state becomes
        ``weight * layer(h) + (1 - weight) * h``, and ``weight`` is also the key's weight.
    keys : Tensor, shape (T,), bool, or None
        Tokens that the layer sees as keys even if they leap: their present states give keys and
        values.  For a kept token it changes the key's weight alone, which is then 1 at any
        ``weight``.
    context : Tensor, shape (B, D), or None
        A token that is only a key and value, in sequences where at least one token leaps.
    aux : Aux
    sizes : tuple of B int, or None
        Number of tokens kept in each sequence, if the method knows it without reading ``keep``.
        Packing then does not wait for the device, and its shapes are static.  In a graph that is
        exported it is a tensor (B,); layers that are given the same tensor share one layout.
    key_sizes : tuple of B int, or None
        With ``keys``, the number of tokens `seen` in each sequence, for the same purpose.
    """

    keep: Tensor
    weight: Tensor | None = None
    context: Tensor | None = None
    aux: Aux = field(default_factory=dict)
    sizes: tuple[int, ...] | Tensor | None = None
    keys: Tensor | None = None
    key_sizes: tuple[int, ...] | None = None

    @property
    def seen(self) -> Tensor:
        """The tokens that are keys of the layer, kept or not, shape (T,), bool."""
        return self.keep if self.keys is None else self.keep | self.keys


@dataclass(frozen=True)
class Drop:
    """Tokens with ``keep=False`` are removed for good.

    Attributes
    ----------
    keep : Tensor, shape (T,), bool
    weight : Tensor, shape (T,), or None
        For soft stages: a factor on each token's state.
    as_key : bool
        ``weight``, between 0 and 1, is the weight of the token as a key of this layer alone, and
        leaves its state as it is.  Only before a layer.
    at_output : bool
        Apply ``weight`` to the layer's output.  False applies it to the present state.
    restore : bool
        Put the last states of dropped tokens into the output (token-level tasks).
    aux : Aux
    """

    keep: Tensor
    weight: Tensor | None = None
    as_key: bool = False
    at_output: bool = False
    restore: bool = False
    aux: Aux = field(default_factory=dict)


@dataclass(frozen=True)
class Merge:
    """The tokens of a group become one, whose state is the mean of theirs, weighted by size.

    The size of a token is the number of tokens of the text that it stands for.  The engine carries
    sizes from layer to layer.  The others of a group are gone, like dropped tokens.  Where the
    output has all tokens, they have the final state of the token that stands for them.  A protected
    token is not absorbed: it stays, and the rest of its group merges without it.

    Attributes
    ----------
    groups : Tensor, shape (T,), int64
        For each token shown, the row of the token that stands for its group, 0 to T - 1.  That
        token has its own row, and keeps its row and position in the text.  A group is within one
        text, and the first token of a text always has its own row.
    proportional : bool
        Keys weigh by their size from here on, until another merge says otherwise.
    aux : Aux
    """

    groups: Tensor
    proportional: bool = True
    aux: Aux = field(default_factory=dict)
    weight: ClassVar[None] = None  # a merge is hard

    @cached_property
    def keep(self) -> Tensor:
        """The tokens that are not absorbed, shape (T,), bool."""
        return self.groups == torch.arange(self.groups.shape[0], device=self.groups.device)


Decision = Leap | Drop | Merge


def malformed(decision: Any, layout: Ragged, width: int | None) -> str | None:
    """The first fault in types and shapes of a decision on these tokens; None if there is none.

    ``width`` is that of their states; None if they have none yet.
    """
    if not isinstance(decision, Decision):
        return f"returned {type(decision).__name__}; a Leap, a Drop, a Merge or None is needed"
    shown = layout.total
    if isinstance(decision, Merge):
        if width is None:
            return "returned a Merge, but no token has a state yet; merge before or within a layer"
        return _misfit("groups", decision.groups, "(T,)", (shown,), "int64")
    if width is None and getattr(decision, "context", None) is not None:
        return "context is given, but no token has a state yet"
    placed = [name for name in ("as_key", "at_output") if getattr(decision, name, False)]
    if width is None and placed:
        return f"{placed[0]} is given, but before the embedding there is no layer"
    if len(placed) > 1:
        return "as_key and at_output are both given; the weight acts in one place"
    leap = decision if isinstance(decision, Leap) else None
    wanted = {
        "keep": (decision.keep, "(T,)", (shown,), "bool"),
        "weight": (decision.weight, "(T,)", (shown,), "floating"),
        "keys": (leap and leap.keys, "(T,)", (shown,), "bool"),
        "context": (leap and leap.context, "(B, D)", (layout.batch_size, width), "floating"),
    }
    for name, (value, letters, shape, kind) in wanted.items():
        if value is None and name != "keep":
            continue
        fault = _misfit(name, value, letters, shape, kind)
        if fault:
            return fault
    return None


def _misfit(name: str, value: Any, letters: str, shape: tuple, kind: str) -> str | None:
    """The fault in the type or shape of a tensor; None if there is none."""
    if not isinstance(value, Tensor):
        return f"{name} is {type(value).__name__}, not a tensor"
    exact = {"bool": torch.bool, "int64": torch.int64}.get(kind)
    fits = value.is_floating_point() if exact is None else value.dtype == exact
    if value.shape != shape or not fits:
        return (
            f"{name} has shape {tuple(value.shape)} and dtype {value.dtype}; "
            f"{letters} = {shape} and {kind} are needed"
        )
    return None


def misgrouped(groups: Tensor, layout: Ragged) -> str | None:
    """The first fault in the groups (T,) of a merge; None if there is none."""
    for wrong, says in (
        (lambda: (groups < 0) | (groups >= layout.total), f"but rows end at {layout.total - 1}"),
        (lambda: layout.sequence[groups] != layout.sequence, "which is of another text"),
        (lambda: groups[groups] != groups, "which itself merges into another"),
    ):
        at = wrong().nonzero().squeeze(1)
        if at.numel():
            row = int(at[0])
            return (
                f"groups has a wrong row for {at.numel()} tokens: row {row} of text "
                f"{int(layout.sequence[row])} merges into row {int(groups[row])}, {says}"
            )
    return None


@dataclass(frozen=True)
class Tokens:
    """The tokens that a method decides on: all that are present.

    Attributes
    ----------
    hidden : Tensor, shape (T, D)
        Valid during the call only: without gradients the packed path overwrites it later.  Clone
        what goes into ``aux``.
    layout : Ragged
    rows : Tensor, shape (T,), int64
        Row of each token in the whole batch; an index into ``batch.input_ids`` and
        ``batch.saliency``.
    batch : Batch
    previous : Decision or None
        The decision before the previous layer, while it still fits these tokens: a `Leap`, or a
        soft `Drop` that keeps every token.
    protected : Tensor, shape (T,), bool, or None
        Tokens that the engine keeps whatever is decided: those of the first text of a pair.
    keys : Tensor, shape (T, D / H), or None
        After attention: each token's key in that attention, before positions are applied, mean over
        heads, if the method ``needs`` "keys".
    """

    hidden: Tensor
    layout: Ragged
    rows: Tensor
    batch: Batch
    previous: Decision | None = None
    protected: Tensor | None = None
    keys: Tensor | None = None

    @property
    def position(self) -> Tensor:
        """Position of each token in its whole sequence, shape (T,), int64."""
        return self.batch.layout.position[self.rows]


@dataclass(frozen=True)
class Event:
    """One decision and the tokens that it is about.

    ``layout`` and ``rows`` describe the tokens shown (see `Tokens`).
    """

    layer: int
    point: str  # "before_embedding" (of layer -1), "before_layer" or "after_attention"
    decision: Decision
    layout: Ragged
    rows: Tensor


@dataclass
class Trace:
    """The tokens that the packed path computes, per layer and sequence.

    Attributes
    ----------
    shown, queries, keys, feed_forward : list of Tensor, each (B,), int64
        Per layer: tokens shown to the method before the layer, tokens computed, keys (tokens
        computed, tokens seen while they leap, and context), tokens in the feed-forward.
    computed : list of Tensor, each (K,), int64
        Per layer: rows in the batch of the tokens computed.
    events : list of Event
    lengths, embedded : Tensor, shape (B,), int64
        Tokens of each text, and those that are embedded.
    mapped : bool
        True if the pooling maps tokens that the last layer did not compute.
    read : Tensor, shape (B,), int64, or 1
        States of each text that the head reads.
    """

    shown: list[Tensor] = field(default_factory=list)
    queries: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    feed_forward: list[Tensor] = field(default_factory=list)
    computed: list[Tensor] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    lengths: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    embedded: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    mapped: bool = False
    read: Tensor | int = 1

    def decisions(self, point: str = "before_layer") -> list[Event]:
        """The events at one point, by layer."""
        return [event for event in self.events if event.point == point]


@dataclass(frozen=True)
class Prefix:
    """The states ``hidden`` (T, D) of all tokens of a batch that enter ``layer``."""

    layer: int
    hidden: Tensor

    def repeat(self, times: int) -> Prefix:
        """The prefix of ``batch.repeat(times)``."""
        return Prefix(self.layer, self.hidden.repeat(times, 1))


@dataclass(frozen=True)
class Outputs:
    """The result of a forward pass.

    Attributes
    ----------
    logits : Tensor, shape (B, C)
        Of an embedding model the sentence vectors, shape (B, D).  Of spans the start and end logits
        of each token, shape (B, 2, L), -inf for those that are no answer.
    hidden : Tensor, shape (K, D)
        Final states of the tokens that are present at the end or restored.  Where the output is of
        all tokens, those that were absorbed have the state of the token that stands for them.
    layout : Ragged
        Layout of ``hidden``.
    rows : Tensor, shape (K,), int64
        Row of each of these tokens in the batch.
    trace : Trace
    behind : Tensor, shape (K,), or None
        1 for tokens that the last layer did not compute, between 0 and 1 where a soft decision
        blends both; None if it computed all.
    inputs : tuple of Tensor
        The hidden states that enter each layer; empty unless asked for.
    """

    logits: Tensor
    hidden: Tensor
    layout: Ragged
    rows: Tensor
    trace: Trace
    behind: Tensor | None = None
    inputs: tuple[Tensor, ...] = ()

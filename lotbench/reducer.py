"""The interface between a token-reduction method and the engine.

A method is a `TokenReducer`.  Before a layer, or between its attention and its feed-forward, it
sees the tokens that are present and returns a `Decision`.  The engine applies the decision.
A method keeps no per-batch state.  It puts what its loss needs into ``Decision.aux``; the loss
finds it in the `Trace`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from lotbench.batch import Batch
from lotbench.errors import InputError
from lotbench.ragged import Ragged
from lotbench.validation import Report, report_at, validate


class Params(BaseModel):
    """Base class of every method's hyper-parameters: frozen; unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
    context : Tensor, shape (B, D), or None
        A token that is only a key and value, in sequences where at least one token leaps.
    aux : dict
        What the method's loss needs; the loss finds it in the Trace.
    sizes : tuple of B int, or None
        Number of tokens kept in each sequence, if the method knows it without reading ``keep``.
        Packing then does not wait for the device, and its shapes are static.
    """

    keep: Tensor
    weight: Tensor | None = None
    context: Tensor | None = None
    aux: dict[str, Any] = field(default_factory=dict)
    sizes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Drop:
    """Tokens with ``keep=False`` are removed for good.

    Attributes
    ----------
    keep : Tensor, shape (T,), bool
    weight : Tensor, shape (T,), or None
        For soft stages: a factor on each token's state.
    at_output : bool
        Apply ``weight`` to the layer's output.  False applies it to the present state.
    restore : bool
        Put the last states of dropped tokens into the output (token-level tasks).
    aux : dict
        What the method's loss needs; the loss finds it in the Trace.
    """

    keep: Tensor
    weight: Tensor | None = None
    at_output: bool = False
    restore: bool = False
    aux: dict[str, Any] = field(default_factory=dict)


Decision = Leap | Drop


def malformed(decision: Any, tokens: Tokens) -> str | None:
    """What is wrong with the types and shapes of a decision on these tokens; None if nothing."""
    if not isinstance(decision, Leap | Drop):
        return f"returned {type(decision).__name__}; a Leap, a Drop or None is needed"
    shown, width = tokens.hidden.shape
    context = decision.context if isinstance(decision, Leap) else None
    wanted = {
        "keep": (decision.keep, "(T,)", (shown,), "bool"),
        "weight": (decision.weight, "(T,)", (shown,), "floating"),
        "context": (context, "(B, D)", (tokens.layout.batch_size, width), "floating"),
    }
    for name, (value, letters, shape, kind) in wanted.items():
        if value is None and name != "keep":
            continue
        if not isinstance(value, Tensor):
            return f"{name} is {type(value).__name__}, not a tensor"
        fits = value.dtype == torch.bool if kind == "bool" else value.is_floating_point()
        if value.shape != shape or not fits:
            return (
                f"{name} has shape {tuple(value.shape)} and dtype {value.dtype}; "
                f"{letters} = {shape} and {kind} are needed"
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
        The decision before the previous layer, while it still fits these tokens.
    """

    hidden: Tensor
    layout: Ragged
    rows: Tensor
    batch: Batch
    previous: Decision | None = None

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
    point: str  # "before_layer" or "after_attention"
    decision: Decision
    layout: Ragged
    rows: Tensor


@dataclass
class Trace:
    """What the packed path computes, per layer and sequence.

    Attributes
    ----------
    shown, queries, keys, feed_forward : list of Tensor, each (B,), int64
        Per layer: tokens shown to the method before the layer, tokens computed, keys (tokens and
        context), tokens in the feed-forward.
    events : list of Event
    """

    shown: list[Tensor] = field(default_factory=list)
    queries: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    feed_forward: list[Tensor] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def decisions(self, point: str = "before_layer") -> list[Event]:
        """The events at one point, by layer."""
        return [event for event in self.events if event.point == point]


@dataclass(frozen=True)
class Outputs:
    """The result of a forward pass.

    Attributes
    ----------
    logits : Tensor, shape (B, C)
    hidden : Tensor, shape (K, D)
        Final states of the tokens that are present at the end or restored.
    layout : Ragged
        Layout of ``hidden``.
    rows : Tensor, shape (K,), int64
        Row of each of these tokens in the batch.
    trace : Trace
    inputs : tuple of Tensor
        The hidden states that enter each layer; empty unless asked for.
    """

    logits: Tensor
    hidden: Tensor
    layout: Ragged
    rows: Tensor
    trace: Trace
    inputs: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Stage:
    """One stage of a training recipe.

    Attributes
    ----------
    name : str
    share : float
        Share of the trial's optimisation steps; the shares of a recipe sum to 1.
    soft : bool
        True: decisions act as weights and every token is computed (``reference``), so gradients
        reach the decisions.  False: only kept tokens are computed (``packed``).
    learning_rates : dict of str to float
        Learning rates of the reducer's parameters by name prefix.  All other parameters use the
        trial's rate.
    frozen : tuple of str
        "backbone", "reducer", or name prefixes of the reducer's parameters.
    """

    name: str
    share: float = 1.0
    soft: bool = False
    learning_rates: dict[str, float] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """What a training step receives: its stage, the progress in it, and a seeded generator."""

    stage: Stage
    progress: float  # 0 at the stage's first step, towards 1 at its last
    generator: torch.Generator


class TokenReducer(nn.Module):
    """Base class of every method; the defaults keep every token.

    Parameters
    ----------
    params : Params
        An instance of the class's own `Params`.
    n_layers, width : int
        Layers L and hidden width D of the backbone.
    """

    Params: ClassVar[type[Params]] = Params
    name: ClassVar[str]
    """Name in sweep files and results."""
    source: ClassVar[str] = ""
    """Authors, venue and year."""
    version: ClassVar[int] = 1
    """Part of every trial id; raise it when results change."""
    padded: ClassVar[bool] = False
    """True if it is timed as the untouched Hugging Face model on padded batches."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """What it uses: received_attention, saliency, attention_saliency, teacher_logits."""
    budget_name: ClassVar[str | None] = None
    """Name of the attribute that is the budget; None for a method without one."""

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__()
        self.params = params
        self.n_layers = n_layers
        self.width = width
        self.active_layers = n_layers  # a method may use only the first layers of the backbone
        self.stage: Stage | None = None

    @property
    def budget(self) -> float:
        """The post-hoc budget, which moves a trained model along its curve.

        Raises
        ------
        InputError
            If the method has none, or the new value fails `check_budget`.
        """
        return getattr(self, self._budget_attribute())

    @budget.setter
    def budget(self, value: float) -> None:
        name = self._budget_attribute()
        self.check_budget(self.params, value, report_at(name))
        setattr(self, name, value)

    @contextmanager
    def at_budget(self, value: float | None) -> Iterator[None]:
        """Sets the budget inside the block; None changes nothing.

        Raises
        ------
        InputError
            As for `budget`.
        """
        if value is None:
            yield
            return
        name = self._budget_attribute()
        before = getattr(self, name)
        self.budget = value
        try:
            yield
        finally:
            setattr(self, name, before)

    @classmethod
    def check_budget(cls, params: Params, value: float, report: Report) -> None:
        """Refuse a budget that is not valid as a hyper-parameter.

        Parameters
        ----------
        params : Params
            The hyper-parameters.  If the budget is not one of their fields, every finite number
            is valid.
        value : float
        report : Report
            Adds the place of the value to the message.

        Raises
        ------
        InputError
            If it is not a finite number, or out of range.
        """
        if not isinstance(value, Real) or isinstance(value, bool) or not _is_finite(value):
            raise InputError(report((), f"a finite number is needed (given: {value!r:.60})"))
        if cls.budget_name in cls.Params.model_fields:
            values = params.model_dump(by_alias=True) | {cls.budget_name: value}
            validate(cls.Params, values, lambda _, message: report((), message))

    def _budget_attribute(self) -> str:
        if self.budget_name is None:
            raise InputError(f"method {getattr(self, 'name', '')!r} has no budget after training")
        return self.budget_name

    def stages(self) -> list[Stage]:
        """The training recipe; one hard stage by default."""
        return [Stage("fine-tune")]

    def start_stage(self, stage: Stage) -> None:
        """Called when a stage begins, before its optimiser exists; change behaviour here.

        To freeze parameters, name them in ``stage.frozen``.
        """
        self.stage = stage

    def before_layer(self, layer: int, tokens: Tokens) -> Decision | None:
        """Decision on the tokens that the layer computes; None keeps all."""
        return None

    def after_attention(self, layer: int, tokens: Tokens, received: Received) -> Decision | None:
        """Decision between attention and feed-forward; None keeps all.

        ``received`` is None unless ``needs`` has "received_attention".
        """
        return None

    def loss(self, outputs: Outputs, batch: Batch, trace: Trace) -> dict[str, Tensor]:
        """Weighted loss terms by name; the trainer adds the task loss."""
        return {}

    def training_step(self, encoder: nn.Module, batch: Batch, step: Step) -> dict | None:
        """All loss terms of a step; None lets the trainer run the encoder and `loss`."""
        return None

    def after_step(self) -> None:
        """Called after each optimiser step, without gradients; clip parameters here."""

    def overhead_flops(self, layer: int, n_tokens: Tensor) -> Tensor | float:
        """FLOPs (2 x multiply-adds) of the method at a layer, given ``n_tokens`` (B,) shown."""
        return 0.0


def _is_finite(number: Real) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer too large for a float
        return False


def task_loss(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy of ``(B, C)`` logits if labels (B,) are int, mean squared error if float.

    ``reduction="none"`` gives one loss per example, shape (B,).
    """
    if labels.is_floating_point():
        return nn.functional.mse_loss(logits.squeeze(-1).float(), labels, reduction=reduction)
    return nn.functional.cross_entropy(logits.float(), labels, reduction=reduction)


def distillation_loss(logits: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence of ``(B, C)`` logits from the teacher's, in float32, mean over examples.

    With a single logit (regression), it is the mean squared distance.
    """
    if logits.shape[1] == 1:
        return nn.functional.mse_loss(logits.float(), teacher.float())
    student, teacher = logits.float().log_softmax(-1), teacher.float().log_softmax(-1)
    return nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)

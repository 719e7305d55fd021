"""The contract between a token-reduction method and the engine.

A method is a `TokenReducer`.  Before a layer, or between its attention and its feed-forward,
it is shown the tokens that are present and returns a `Decision`; the engine carries it out.
A method holds no per-batch state: what its loss needs later travels in ``Decision.aux`` and
comes back in the `Trace`.
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
    """Base of every method's hyper-parameters: frozen, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Received:
    """Attention that each present token receives, averaged over heads.

    Attributes
    ----------
    mean : Tensor, shape (T,)
        Mean over the present query tokens of the sequence.
    own : Tensor, shape (T,)
        The part a token gives itself (the diagonal), mean over heads.
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
        Differentiable stand-in for ``keep`` in soft stages: the state becomes
        ``weight * layer(h) + (1 - weight) * h`` and the key weighs ``weight``.
    context : Tensor, shape (B, D), or None
        A key/value-only token, seen in the sequences where at least one token leaps.
    aux : dict
        Whatever the method's loss needs; comes back in the Trace.
    sizes : tuple of B int, or None
        Tokens kept of each sequence, where the method knows without asking ``keep``: packing
        then waits for nothing, and its shapes are static.
    """

    keep: Tensor
    weight: Tensor | None = None
    context: Tensor | None = None
    aux: dict[str, Any] = field(default_factory=dict)
    sizes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Drop:
    """Tokens with ``keep=False`` never return.

    Attributes
    ----------
    keep : Tensor, shape (T,), bool
    weight : Tensor, shape (T,), or None
        Soft stages: the factor on each token's state, at once or at the layer's end.
    at_output : bool
        Apply ``weight`` to the layer's output instead of at once.
    restore : bool
        Hand the last state of dropped tokens to the output (token-level tasks).
    aux : dict
    """

    keep: Tensor
    weight: Tensor | None = None
    at_output: bool = False
    restore: bool = False
    aux: dict[str, Any] = field(default_factory=dict)


Decision = Leap | Drop


def malformed(decision: Any, tokens: Tokens) -> str | None:
    """What is wrong with the form of a decision about these tokens; None if nothing."""
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
    """The tokens a method decides about: those present, never others.

    Attributes
    ----------
    hidden : Tensor, shape (T, D)
        Valid during the call: without gradients the packed path overwrites it later, so clone
        what goes into ``aux``.
    layout : Ragged
    rows : Tensor, shape (T,), int64
        Row of each token in the batch as it was embedded (indexes ``batch.input_ids``,
        ``batch.saliency``).
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
        """Each token's place in the sequence as it was embedded, shape (T,), int64."""
        return self.batch.layout.position[self.rows]


@dataclass(frozen=True)
class Event:
    """One decision with the tokens it was about.

    ``layout`` and ``rows`` describe the tokens shown (see `Tokens`).
    """

    layer: int
    point: str  # "before_layer" or "after_attention"
    decision: Decision
    layout: Ragged
    rows: Tensor


@dataclass
class Trace:
    """What was computed, per layer and sequence; every count is what the packed path computes.

    Attributes
    ----------
    shown, queries, keys, feed_forward : list of Tensor, each (B,), int64
        Per layer: tokens shown to the method before the layer, tokens computed, keys (tokens and
        context) that are projected and seen, tokens in the feed-forward.
    events : list of Event
    """

    shown: list[Tensor] = field(default_factory=list)
    queries: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    feed_forward: list[Tensor] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def decisions(self, point: str = "before_layer") -> list[Event]:
        """The events at one point, in layer order."""
        return [event for event in self.events if event.point == point]


@dataclass(frozen=True)
class Outputs:
    """What the encoder returns.

    Attributes
    ----------
    logits : Tensor, shape (B, C)
    hidden : Tensor, shape (K, D)
        Final states of the tokens that are present at the end (or restored).
    layout : Ragged
        Layout of ``hidden``.
    rows : Tensor, shape (K,), int64
        Row of each of these tokens in the batch.
    trace : Trace
    inputs : tuple of Tensor
        The hidden states that entered each layer, where they were asked for.
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
        True: decisions act as weights and every token is computed (``reference``), so that
        gradients reach the decisions.  False: unselected tokens are gone (``packed``).
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
    """What a training step is told: its stage, the progress in it, and a seeded generator."""

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
    source: ClassVar[str] = ""
    version: ClassVar[int] = 1
    padded: ClassVar[bool] = False
    """Timed as the untouched Hugging Face model on padded batches (the dense reference)."""
    needs: ClassVar[frozenset[str]] = frozenset()
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
        """The post-hoc budget: set it to move a trained model along its curve.

        Raises
        ------
        InputError
            If the method has none, or could not be trained with such a value.
        """
        return getattr(self, self._own_budget())

    @budget.setter
    def budget(self, value: float) -> None:
        name = self._own_budget()
        self.check_budget(self.params, value, report_at(name))
        setattr(self, name, value)

    @contextmanager
    def at_budget(self, value: float | None) -> Iterator[None]:
        """Inside, the budget has this value; None leaves it as it is."""
        if value is None:
            yield
            return
        name = self._own_budget()
        before = getattr(self, name)
        self.budget = value
        try:
            yield
        finally:
            setattr(self, name, before)

    @classmethod
    def check_budget(cls, params: Params, value: float, report: Report) -> None:
        """Refuse a budget that the method could not be trained with.

        Parameters
        ----------
        params : Params
            The other hyper-parameters.  Where no field of theirs is the budget, any finite number
            is taken.
        value : float
        report : Report
            Writes the message, with the place of the value.

        Raises
        ------
        InputError
            If it is no finite number, or out of range.
        """
        if not isinstance(value, Real) or isinstance(value, bool) or not _is_finite(value):
            raise InputError(report((), f"a finite number is needed (given: {value!r:.60})"))
        if cls.budget_name in cls.Params.model_fields:
            values = params.model_dump(by_alias=True) | {cls.budget_name: value}
            validate(cls.Params, values, lambda _, message: report((), message))

    def _own_budget(self) -> str:
        if self.budget_name is None:
            raise InputError(f"method {getattr(self, 'name', '')!r} has no budget after training")
        return self.budget_name

    def stages(self) -> list[Stage]:
        """The training recipe; one hard stage by default."""
        return [Stage("fine-tune")]

    def start_stage(self, stage: Stage) -> None:
        """Called when a stage begins, before its optimiser is made; switch behaviour here.

        To freeze parameters, name them in ``stage.frozen``.
        """
        self.stage = stage

    def before_layer(self, layer: int, tokens: Tokens) -> Decision | None:
        """Decide which tokens layer ``layer`` computes."""
        return None

    def after_attention(self, layer: int, tokens: Tokens, received: Received) -> Decision | None:
        """Decide between attention and feed-forward.

        ``received`` is given where ``needs`` has "received_attention", else None.
        """
        return None

    def loss(self, outputs: Outputs, batch: Batch, trace: Trace) -> dict[str, Tensor]:
        """Weighted loss terms by name; the trainer adds the task loss."""
        return {}

    def training_step(self, encoder: nn.Module, batch: Batch, step: Step) -> dict | None:
        """Loss terms of a step of the method's own; None for forward, then `loss`."""
        return None

    def after_step(self) -> None:
        """Called after each optimiser step, without gradients; project parameters here."""

    def overhead_flops(self, layer: int, n_tokens: Tensor) -> Tensor | float:
        """FLOPs (2 x multiply-adds) the method adds at a layer, for ``n_tokens`` (B,) shown."""
        return 0.0


def _is_finite(number: Real) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number beyond every float
        return False


def task_loss(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy of ``(B, C)`` logits for int labels, mean squared error for float ones.

    ``reduction="none"`` gives one loss per example, shape (B,).
    """
    if labels.is_floating_point():
        return nn.functional.mse_loss(logits.squeeze(-1).float(), labels, reduction=reduction)
    return nn.functional.cross_entropy(logits.float(), labels, reduction=reduction)


def distillation_loss(logits: Tensor, teacher: Tensor) -> Tensor:
    """Divergence of ``(B, C)`` logits from the teacher's, in float32, mean over the examples.

    The mean squared distance for a single logit (regression).
    """
    if logits.shape[1] == 1:
        return nn.functional.mse_loss(logits.float(), teacher.float())
    student, teacher = logits.float().log_softmax(-1), teacher.float().log_softmax(-1)
    return nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)

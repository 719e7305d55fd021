"""The interface between a token-reduction method and the engine.

A method is a `TokenReducer`.  Before the embedding, before a layer, or between its attention and
its feed-forward, it sees the tokens that are present and returns a `Decision`.  The engine applies
the decision.  A method keeps no per-batch state.  It puts what its loss needs into
``Decision.aux``; the loss finds it in the `Trace`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar, Literal, Protocol

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from lotbench.batch import Batch
from lotbench.decision import (
    Decision,
    Drop,
    Event,
    Leap,
    Merge,
    Outputs,
    Prefix,
    Received,
    Tokens,
    Trace,
)
from lotbench.errors import InputError
from lotbench.losses import distillation_loss, task_loss
from lotbench.ragged import segment_mean
from lotbench.store.rows import Look
from lotbench.validation import Wording, report_at, strict_numbers, validate

__all__ = [
    "Decision",
    "Drop",
    "Encoder",
    "Event",
    "Leap",
    "Look",
    "Merge",
    "Outputs",
    "Params",
    "Prefix",
    "Received",
    "Stage",
    "Step",
    "TokenReducer",
    "Tokens",
    "Trace",
]


class Params(BaseModel):
    """Base class of every method's hyper-parameters.

    They are frozen, unknown names are errors, and numbers and booleans are not made of other
    types: ``top_p: true`` and ``top_p: "0.5"`` are errors.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        # Not `strict` for the whole model, which would refuse a list where a tuple is declared.
        return strict_numbers(handler(source))


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
    """The input of a training step: its stage, the progress in it, and a seeded generator.

    ``distillation`` is the weight of the teacher's logits, the same for all methods.
    """

    stage: Stage
    progress: float  # 0 at the stage's first step, towards 1 at its last
    generator: torch.Generator
    distillation: float = 0.0

    def objective(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The loss terms that every method trains on: ``task``, and ``distillation`` if it is on.

        ``task`` is the mean over the examples that have a label.

        The trainer adds them to `TokenReducer.loss`; a ``training_step`` of its own calls this.
        ``logits`` are of shape (B, C), sentence vectors (B, D), or logits of spans (B, 2, L).
        """
        if batch.unlabelled is None:
            terms = {"task": task_loss(logits, batch.labels)}
        else:
            known = ~batch.unlabelled
            losses = task_loss(logits, batch.labels, reduction="none")
            terms = {"task": (losses * known).sum() / known.sum().clamp(min=1)}
        if self.distillation:
            assert batch.teacher_logits is not None, "the trainer adds them"
            divergence = distillation_loss(logits, batch.teacher_logits)
            terms["distillation"] = self.distillation * divergence
        return terms


class Encoder(Protocol):
    """The reduced encoder as a training step sees it (`lotbench.engine.encoder`)."""

    def __call__(
        self,
        batch: Batch,
        mode: Literal["packed", "reference"] = "packed",
        *,
        reducer: TokenReducer | None = None,
        prefix: Prefix | None = None,
    ) -> Outputs:
        """Outputs of a batch, where ``reducer`` decides and from a ``prefix`` if given."""
        ...

    def prefix(self, batch: Batch, layer: int) -> Prefix:
        """The states that enter ``layer`` when the layers before it compute every token."""
        ...

    def train(self, mode: bool = True) -> Any: ...


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
    """Class of ``params``: that of the annotation ``params: ...`` if a method has one."""
    name: str
    """Name in sweep files and results."""
    source: ClassVar[str] = ""
    """Authors, venue and year."""
    version: ClassVar[int] = 1
    """Part of every trial id; raise it when results change."""
    look: ClassVar[Look | None] = None
    """How tables and figures show it; None: under its name, in a colour of their choice."""
    padded: ClassVar[bool] = False
    """True if it is timed as the untouched Hugging Face model on padded batches."""
    needs: frozenset[str] = frozenset()
    """What it uses: received_attention, keys, saliency, attention_saliency, teacher_logits."""
    budget_name: ClassVar[str | None] = None
    """Name of the attribute that is the budget; None for a method without one."""
    budget_range: ClassVar[tuple[float, float] | None] = None
    """The budgets among which ``targets`` are searched; from 0 to 1, or both ends positive."""

    def __init_subclass__(cls) -> None:
        declared = inspect.get_annotations(cls).get("params")
        if declared is not None and "Params" not in vars(cls):
            if isinstance(declared, str):
                declared = getattr(sys.modules[cls.__module__], declared)
            type.__setattr__(cls, "Params", declared)
        if "name" in vars(cls) and not {"look", "look_with"} & vars(cls).keys():
            # Another method than the one that it derives from, so it is shown as another.
            cls.look, cls.look_with = None, vars(TokenReducer)["look_with"]

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
    def budget(self, value: Any) -> None:
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
    def check_budget(cls, params: Params, value: Any, report: Wording) -> None:
        """Refuse a budget that is not valid as a hyper-parameter.

        ``value`` is what a file or a caller gives; ``report`` adds its place to the message.
        If the budget is not a field of the parameters, every finite number is valid, but for a
        method with a ``budget_range`` none below 0.

        Raises
        ------
        InputError
            If it is not a finite number, or out of range.
        """
        number: Any = value if isinstance(value, Real) and not isinstance(value, bool) else None
        if number is None or not abs(number) < 2**63:
            raise InputError(report((), f"a finite number is needed (given: {value!r:.60})"))
        if cls.budget_name in cls.Params.model_fields:
            values = params.model_dump(by_alias=True) | {cls.budget_name: value}
            validate(cls.Params, values, lambda _, message: report((), message))
        elif cls.budget_range is not None and value < 0:
            low, high = cls.budget_range
            message = f"0 or more is needed; its range is {low:g} to {high:g} (given: {value!r})"
            raise InputError(report((), message))

    @classmethod
    def look_with(cls, params: Params, n_layers: int) -> Look:
        """The look with these parameters; override it to tell variants of a method apart.

        Every row of a result stores it, so that a report needs no method.
        """
        return cls.look or Look(label=cls.name)

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

    @property
    def in_soft_stage(self) -> bool:
        """True while a stage with ``soft=True`` trains."""
        return self.training and self.stage is not None and self.stage.soft

    def before_training(self, batches: Iterable[Batch], words: Tensor) -> None:
        """Called once before the first stage, to count what the training texts have.

        Parameters
        ----------
        batches : iterable of Batch
            The training texts, each once, with what the method ``needs``, on the device.
        words : Tensor, shape (V, E)
            The backbone's table of word embeddings.  No gradients are recorded.
        """

    def after_training(self, words: Tensor) -> None:
        """Called once after the last stage, with the trained ``words`` (V, E), without gradients.

        Write tables for `before_embedding` here, into buffers.
        """

    def search(self, score: Callable[[], tuple[float, float]], generator: torch.Generator) -> None:
        """Called once after `after_training`, to choose among states of the trained model.

        Put what is chosen into buffers.

        Parameters
        ----------
        score : callable
            Returns the main score, the higher the better, and the FLOPs of a text, of the model as
            it is now, on texts of the selection split.
        generator : torch.Generator
            Seeded by the trial, on the CPU.
        """

    def before_embedding(self, batch: Batch, words: Tensor) -> Decision | None:
        """Decision from ids, token types and places alone; None keeps all.

        A token that is left out is not embedded, unless something reads its embedding: a pooling,
        the ``keys`` of a leap, or ``restore``.  A leap holds in all layers, and `before_layer` is
        then not called.

        Parameters
        ----------
        batch : Batch
            Of T tokens; ``keep`` has the shape (T,).
        words : Tensor, shape (V, E)
            The backbone's table of word embeddings.
        """
        return None

    def before_layer(self, layer: int, tokens: Tokens) -> Decision | None:
        """Decision on the tokens that the layer computes; None keeps all."""
        return None

    def after_attention(
        self, layer: int, tokens: Tokens, received: Received | None
    ) -> Decision | None:
        """Decision between attention and feed-forward; None keeps all.

        ``received`` is None unless ``needs`` has "received_attention", and ``tokens.keys`` is None
        unless it has "keys".
        """
        return None

    def summary(self, tokens: Tokens) -> Tensor:
        """What the head or the pooling reads of each text if no layer runs, shape (B, D).

        The mean of the embeddings by default.
        """
        return segment_mean(tokens.hidden, tokens.layout)

    def loss(self, outputs: Outputs, batch: Batch, trace: Trace) -> dict[str, Tensor]:
        """Weighted loss terms by name; the trainer adds task loss and distillation."""
        return {}

    def training_step(self, encoder: Encoder, batch: Batch, step: Step) -> dict | None:
        """All loss terms of a step; None lets the trainer run the encoder and `loss`."""
        return None

    def after_step(self) -> None:
        """Called after each optimiser step, without gradients; clip parameters here."""

    def overhead_flops(self, layer: int, n_tokens: Tensor) -> Tensor | float:
        """FLOPs (2 x multiply-adds) of the method at a layer, given ``n_tokens`` (B,) shown.

        Layer -1 is `before_embedding`, or `summary` if no layer runs.
        """
        return 0.0

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As of a module; what is empty takes the saved size, since tables know theirs late."""
        for name, table in (*self.named_parameters(), *self.named_buffers()):
            if name in state_dict and not table.numel():
                table.data = table.new_empty(state_dict[name].shape)
        return super().load_state_dict(state_dict, *args, **kwargs)

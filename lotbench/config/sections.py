"""Sweep and trial configuration: strict, frozen, and hashed into trial ids."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from lotbench.config.values import (
    DISTINCT,
    SOME,
    Backends,
    Blocks,
    Columns,
    Device,
    Length,
    Metrics,
    NonEmpty,
    Parameters,
    Positive,
    Section,
    Seed,
    Share,
    Slug,
    Targets,
    empty_if_none,
    is_none,
    is_whole,
    listed,
)

MAX_MINUTES = 24 * 60.0  # of a trial where a file gives none
LEAST_EPOCHS = 1e-3


class LimitConfig(Section):
    """The maximum number of rows of each split, drawn at random; ``None`` takes all.

    ``selection`` rows are taken out of the ``train`` rows; by default a tenth of them.  Of the
    others, those after the first ``labelled`` are read without their labels.
    """

    train: Positive | None = None
    # Left out of records and ids if not given, so older ids stay.
    selection: Positive | None = Field(default=None, exclude_if=is_none)
    labelled: Positive | None = Field(default=None, exclude_if=is_none)
    validation: Positive | None = None


class TaskConfig(Section):
    """The data of one task.

    Without a ``source`` the task is the built-in one of this name.  Otherwise ``source`` is a
    local folder, the id of a hub dataset with its configuration in ``subset``, or a built-in task.
    `lotbench.kinds.kind.Kind.keys` says which kinds have the keys below ``metrics``.
    """

    source: NonEmpty | None = None
    subset: NonEmpty | None = None
    limit: LimitConfig = LimitConfig()
    max_length: Length = 128
    text: Annotated[Columns | None, BeforeValidator(listed)] = None
    label: NonEmpty | None = None
    metrics: Metrics | None = None
    regression: bool | None = None
    # Left out of records and ids if not given, so older ids stay.
    kind: Literal["embedding", "ranking", "span"] | None = Field(default=None, exclude_if=is_none)
    query: NonEmpty | None = Field(default=None, exclude_if=is_none)
    group: NonEmpty | None = Field(default=None, exclude_if=is_none)
    pooling: Literal["mean", "cls"] | None = Field(default=None, exclude_if=is_none)
    reduce: Literal["documents", "both"] = Field(
        default="documents", exclude_if=lambda texts: texts == "documents"
    )
    protect: Literal["first"] | None = Field(default=None, exclude_if=is_none)
    evidence: NonEmpty | None = Field(default=None, exclude_if=is_none)
    windows: bool = Field(default=False, exclude_if=lambda given: not given)

    @model_validator(mode="after")
    def _label_is_no_text(self) -> Self:
        if (label := self.label or "label") in (self.text or ()):
            raise ValueError(f"text: column {label!r} is the label; choose another text column")
        return self


class EvaluateConfig(Section):
    """How models are scored: ``max_length`` cuts the texts instead of the task's."""

    max_length: Length


WARM_UP, CLIP = 0.06, 1.0
"""Share of a stage's steps in which its rate rises; the largest norm of a gradient."""
# No file can change them, but every configuration, and so every id, is written with these keys.
FIXED = {"warmup": WARM_UP, "clip": CLIP, "init": "teacher"}


class FitConfig(Section):
    """How a model is trained: a teacher, or the model of a trial."""

    epochs: float = Field(default=3.0, ge=LEAST_EPOCHS, le=10_000)
    learning_rate: float = Field(default=5e-5, gt=0, le=1)
    batch_size: Positive = 32
    weight_decay: float = Field(default=0.01, ge=0, le=10)
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {name: own for name, own in data.items() if name not in FIXED or own != FIXED[name]}

    @model_serializer(mode="wrap")
    def _write(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return fields(self) | FIXED


class TrainConfig(FitConfig):
    """How the models of trials are trained; every method of a sweep gets the same.

    ``distillation`` is the weight of the divergence from the teacher's logits.  With
    ``steps: total``, the stages of a method share the steps of the epochs; with ``final``, its last
    stage gets as many, and the stages before it come on top.  With ``budgets: sampled``, each hard
    step draws the budget of the method.  With ``epochs: 0`` the models have the teacher's weights.
    A trial that takes more than ``max_minutes`` is ended and has failed.
    """

    epochs: float = Field(default=3.0, ge=0, le=10_000)
    distillation: float = Field(default=1.0, ge=0, le=1000)
    steps: Literal["total", "final"] = "total"
    # Left out of records and ids if fixed, so older ids stay.
    budgets: Literal["fixed", "sampled"] = Field(default="fixed", exclude_if=lambda b: b == "fixed")
    # In no trial id, since it changes no result; nor in records, if it is not given.
    max_minutes: float = Field(
        default=MAX_MINUTES, gt=0, le=100_000, exclude_if=lambda minutes: minutes == MAX_MINUTES
    )

    @model_validator(mode="after")
    def _something_is_trained(self) -> Self:
        if 0 < self.epochs < LEAST_EPOCHS:
            raise ValueError(f"epochs must be 0, or at least {LEAST_EPOCHS:g}")
        return self


class TeacherConfig(FitConfig):
    """How the teacher is fine-tuned.

    A ``model`` is a fine-tuned model that is the teacher as it is, and the backbone of all trials.
    """

    model: NonEmpty | None = Field(default=None, exclude_if=is_none)

    @model_validator(mode="after")
    def _model_is_not_trained(self) -> Self:
        for name, field in type(self).model_fields.items():
            if self.model and name != "model" and getattr(self, name) != field.default:
                raise ValueError(f"model: it is taken as it is, without training; remove {name!r}")
        return self

    @classmethod
    def like(cls, train: TrainConfig, given: TeacherConfig | None) -> TeacherConfig:
        """The settings of ``train`` (if it trains nothing, the default epochs), or those given."""
        if given and given.model:
            return given
        shared = {name: getattr(train, name) for name in FitConfig.model_fields}
        shared["epochs"] = train.epochs or FitConfig.model_fields["epochs"].default
        names = given.model_fields_set if given else ()
        return cls(**shared | {name: getattr(given, name) for name in names})


class MeasureConfig(Section):
    """The settings of the timing passes; every combination is measured.

    ``targets`` are those of the trials' targets that are timed; by default all are.  The default
    ``backends`` are those of `lotbench.backends.chosen`.  With ``queries`` a call of a ranking has
    passages of one query, as many as the batch size; else texts of about the same length.
    """

    batch_sizes: Annotated[list[Positive], SOME, DISTINCT] = Field(default=[1, 32])
    threads: list[Positive | Literal["all"]] = Field(default=[1], min_length=1)
    devices: list[Device] = Field(default=["cpu"], min_length=1)
    backends: Backends | None = None
    targets: Targets | None = None
    examples: int = Field(default=64, ge=1, le=1_000_000)
    queries: bool = False
    rounds: int = Field(default=12, ge=1, le=100_000)
    min_seconds: float = Field(default=1.0, ge=0, le=3600)


class SearchConfig(Section):
    """How the settings of every method are searched: so many trials for each.

    ``quasirandom`` takes points of a scrambled Sobol sequence, ``random`` independent ones; both
    depend on nothing but the sweep's seed, the task, the method and the trial's number.  ``optuna``
    asks Optuna's TPE, which learns from the trials before.

    Its trials train on a ``share`` of the training texts, and confirmations on all of them.
    """

    algorithm: Literal["quasirandom", "random", "optuna"] = "quasirandom"
    trials: int = Field(ge=1, le=1000)
    # Left out of records if whole, so that older files are unchanged.
    share: Share = Field(default=1.0, exclude_if=is_whole)


class ConfirmConfig(Section):
    """The ``best`` settings of every search are trained again with these seeds, for reports."""

    seeds: Annotated[list[Seed], SOME, DISTINCT] = Field(default=[0, 1, 2])
    best: int = Field(default=1, ge=1, le=100)


SEARCH_SEED = 10  # where a file gives none: not among the usual seeds of confirmations


class Taught(Section):
    """What a sweep and a trial file say of backbone and teacher."""

    backbone: NonEmpty
    layers: Positive | None = None
    data_root: NonEmpty | None = None
    train: TrainConfig = TrainConfig()
    teacher: TeacherConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _backbone_of_teacher(cls, data: Any) -> Any:
        """A model that is the teacher is the backbone, too."""
        teacher = data.get("teacher") if isinstance(data, dict) else None
        if isinstance(teacher, dict) and "model" in teacher:
            return {"backbone": teacher["model"], **data}
        return data

    @model_validator(mode="after")
    def _teacher_is_backbone(self) -> Self:
        if self.teacher and self.teacher.model:
            if self.backbone != self.teacher.model:
                raise ValueError("backbone: teacher.model is the backbone; remove `backbone`")
            if self.layers:
                raise ValueError("layers: teacher.model is taken as it is; remove `layers`")
        return self


class SweepConfig(Taught):
    """A whole sweep: tasks x seeds x methods x grids, or a search and its confirmation."""

    name: Slug
    # Not in stored sweeps that have none, so that older files are unchanged.
    suite: Positive | None = Field(default=None, exclude_if=is_none)
    tasks: dict[Slug, Annotated[TaskConfig, BeforeValidator(empty_if_none)]] = Field(min_length=1)
    seeds: Annotated[list[Seed], SOME, DISTINCT] | None = None
    search: SearchConfig | None = Field(default=None, exclude_if=is_none)
    confirm: ConfirmConfig | None = Field(default=None, exclude_if=is_none)
    evaluate: EvaluateConfig | None = Field(default=None, exclude_if=is_none)
    methods: dict[Slug, Blocks] = Field(min_length=1)
    targets: Targets | None = None
    measure: MeasureConfig | None = None
    compare: NonEmpty | None = Field(default=None, exclude_if=is_none)
    plugins: list[NonEmpty] = Field([])

    @property
    def trained_seeds(self) -> list[int]:
        """The seeds of the trials; of a search the one that it is run with."""
        return self.seeds or [0 if self.search is None else SEARCH_SEED]

    @property
    def confirmation(self) -> ConfirmConfig:
        """How choices are confirmed; of use with a search."""
        return self.confirm or ConfirmConfig()

    def search_fault(self) -> tuple[tuple[str, ...], str] | None:
        """Why the search cannot be, after the key path; None if it can, or there is none."""
        if self.search is None:
            needed = "it needs a `search`, whose choices it trains again"
            return (("confirm",), needed) if self.confirm is not None else None
        if self.targets is None:
            return ("search",), "it needs `targets`, up to which areas are compared"
        seed, *others = self.trained_seeds
        if others:
            return ("seeds",), "a search has one seed; those of reports are confirm.seeds"
        if seed in self.confirmation.seeds:
            message = f"{seed} is the seed of the search, whose winner looks better than it is; "
            return ("confirm", "seeds"), f"{message}confirm with others"
        return None

    @property
    def confirmed_trials(self) -> int:
        """The most trials that confirm one search; none without a search."""
        return len(self.confirmation.seeds) * self.confirmation.best if self.search else 0


class TrialConfig(Section):
    """One trial: one method with fixed parameters on one task with one seed."""

    backbone: NonEmpty
    layers: Positive | None = None
    data_root: NonEmpty | None = None
    task: Slug
    data: TaskConfig = TaskConfig()
    seed: Seed = 0
    train: TrainConfig = TrainConfig()
    teacher: TeacherConfig
    evaluate: EvaluateConfig | None = Field(default=None, exclude_if=is_none)
    method: Slug
    params: Parameters = Field({})
    targets: Targets | None = Field(default=None, exclude_if=is_none)
    plugins: list[NonEmpty] = Field([])
    # Of the training texts.  Left out of records and ids if whole, so older ids stay.
    share: Share = Field(default=1.0, exclude_if=is_whole)
    # In the row of the trial, not in its configuration, so that it changes no id.
    suite: Positive | None = Field(default=None, exclude=True)

    @classmethod
    def of(cls, given: Any, **own: Any) -> TrialConfig:
        """The trial of a sweep or trial file, with values of its own."""
        names = ("backbone", "layers", "data_root", "train", "evaluate", "targets", "plugins")
        shared = {name: getattr(given, name) for name in names}
        teacher = TeacherConfig.like(given.train, given.teacher)
        return cls(**shared, teacher=teacher, **own)

    @property
    def scored_length(self) -> int:
        """Tokens after which the texts of validation and selection, and of users, are cut."""
        return self.evaluate.max_length if self.evaluate else self.data.max_length

    def trial_id(self, version: int) -> str:
        """The id of the trial: task, method, seed and a hash of the configuration.

        The hash covers everything in the configuration that changes the result, and the ``version``
        of the method's class.  It does not cover the contents of data files.
        """
        free = {"plugins": True, "train": {"max_minutes"}}
        content = {**self.model_dump(exclude=free), "version": version}
        return f"{self.task}-{self.method}-s{self.seed}-{digest(content)[:10]}"

    def teacher_key(self) -> str:
        """A hash of the part of the configuration that the fine-tuned teacher depends on."""
        # `init` is of the models of trials alone.
        fields = {"backbone", "layers", "data_root", "task", "data", "seed", "teacher", "share"}
        content = self.model_dump(include=fields)
        content["teacher"].pop("init")
        return digest(content)[:16]


def digest(content: dict[str, Any]) -> str:
    """A hash of a configuration; 1 and 1.0 give the same."""
    text = json.dumps(_canonical(content), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """The value with 1.0 replaced by 1, so that both give the same trial id."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value

"""The row of a trial, field by field: its configuration, training, teacher, data and scores.

A field with a default may be absent.
Unless a field says otherwise, times are seconds and FLOPs are floating-point operations, two per
multiply-add.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from lotbench.config.spaces import KINDS, is_space, space_of
from lotbench.config.tasks import kind_by
from lotbench.kinds.kind import Kind
from lotbench.scoring.metrics import CLASSIFICATION, MEANS, METRICS, classes_of
from lotbench.scoring.predictions import DIGITS, check_answers
from lotbench.store.record import (
    Count,
    FileName,
    Flops,
    Json,
    Machine,
    Number,
    Ratio,
    Record,
    Score,
    Seconds,
    Share,
    Stored,
    StoredBudget,
)


class Failure(Record):
    """Why a trial failed."""

    kind: str | None = None
    """Class of the exception, or ``non-finite loss`` or ``bad input``."""
    message: str | None = None
    """What the exception says, with the place in the method's file."""
    traceback: str | None = None
    """Python's traceback of an exception inside the method."""
    step: Count | None = None
    """Optimisation step of a loss that is not finite."""
    term: str | None = None
    """Name of the loss term that is not finite."""


class StageRecord(Record):
    """One stage of training; most methods have one."""

    name: str | None = None
    steps: Count | None = None
    """Optimisation steps."""
    losses: dict[str, Number | None] | None = None
    """Mean of each loss term over the last quarter of the stage, by name."""


class DrawnBudgets(Record):
    """The budgets that were drawn in training; see `lotbench.trial.budgets`."""

    largest: Ratio | None = None
    """Speed-ups were drawn for up to this one."""
    steps: Count | None = None
    """Steps at a drawn budget; 0 if it moves nothing in training."""
    speedups: list[Ratio] | None = None
    """FLOPs speed-ups of their batches: least, quartiles and largest."""


class Training(Record):
    """What a training run did."""

    steps: Count | None = None
    """Optimisation steps."""
    examples: Count | None = None
    """Examples seen, counted once per epoch."""
    seconds: Seconds | None = None
    """Wall-clock time."""
    precision: str | None = None
    """Number format of the forward and backward pass: ``fp32`` or ``bf16``."""
    threads: Count | None = None
    """CPU threads of PyTorch."""
    device: str | None = None
    """``cpu`` or ``cuda``."""
    stages: list[StageRecord] | None = None
    """The stages in order."""
    budgets: DrawnBudgets | None = None
    """Null if budgets were not drawn, or the method has none that could be."""


class Teacher(Record):
    """The dense model that a trial starts from."""

    key: str | None = None
    """Hash of the configuration that the teacher depends on."""
    training: Training | None = None
    """How it was trained."""
    metrics: dict[str, dict[str, Score | None]] | None = None
    """Scores by split and metric; see `Evaluation`."""
    predictions: dict[str, str | list[Number]] | None = None
    """Prediction for each text by split; null in older rows; see `lotbench.scoring.predictions`."""


class Data(Record):
    """The data that a trial was trained and scored on."""

    fingerprint: str | None = None
    """Hash of texts, tokens and labels of all splits."""
    train: Count | None = None
    """Examples trained on, without the selection split."""
    labels: dict[str, str | list[Number]] | None = None
    """Labels of the validation and the selection split, or the scores of their pairs; see
    `lotbench.scoring.predictions`.  Null if all metrics are means."""
    classes: list[str | int] | None = None
    """Names of the classes, by label; absent for all but classification."""
    train_rows: Count | None = None
    """Rows of the training file."""
    validation_rows: Count | None = None
    """Rows of the validation file."""
    removed_also_in_validation: Count | None = None
    """Training rows removed because their text is also in the validation split."""
    removed_repeated: Count | None = None
    """Training rows removed because an earlier row has the same text."""
    repeated_with_another_label: Count | None = None
    """How many of the repeated rows have another label than the first."""
    validation_repeated: Count | None = None
    """Validation rows with the same text as an earlier row; they are kept."""
    train_groups_left_out: Count | None = None
    """Groups of a ranking's training file without two different rows, or without a relevant one."""
    validation_groups_left_out: Count | None = None
    """The same of the validation file."""
    train_answers_left_out: Count | None = None
    """Rows of the training file whose answer does not stand at its start; absent but for spans."""
    validation_answers_left_out: Count | None = None
    """The same of the validation file."""
    train_answers_cut: Count | None = None
    """Training rows without their answer after the cut, which are left out."""
    selection_answers_cut: Count | None = None
    """The same of the selection split, where they count as wrong."""
    validation_answers_cut: Count | None = None
    """The same of the validation split, where they count as wrong."""
    validation_with_evidence: Count | None = None
    """Validation texts with evidence before the cut; absent of a task without evidence."""


class Searched(Record):
    """The place of a trial in a search: which setting it tries, or which choice it confirms.

    All trials of one search have the same ``key``: a method with some fixed parameters on a
    task, whose other parameters are searched.
    """

    part: Literal["search", "confirmation", "superseded"]
    """``search`` trains a setting to choose from; ``confirmation`` trains a chosen one with another
    seed, for reports; ``superseded`` is what the sweep no longer has, or no longer chooses."""
    key: FileName
    """Hash of the search: its default trial, the space and the algorithm."""
    algorithm: Literal["quasirandom", "random", "optuna"]
    index: Count
    """Number of the setting in its search; 0 is the method's default setting."""
    space: dict[str, Json]
    """What is searched: ``{"top_p": {"uniform": [0.2, 0.9]}}``; empty if there is one setting."""
    end: Ratio
    """The largest target, up to which the area counts."""
    area: Number | None = None
    """The objective of a search trial: the area under its selection curve, in points times
    doublings of speed; see `lotbench.scoring.area`.  Null for a failed trial or a confirmation."""
    chosen: str | None = None
    """In a confirmation, the id of the search trial whose setting it confirms."""

    @field_validator("space")
    @classmethod
    def _is_of_spaces(cls, space: dict[str, Json]) -> dict[str, Json]:
        for name, own in space.items():
            if not is_space(own):
                raise ValueError(f"{name}: write one of {', '.join(KINDS)}")
            space_of(own)
        return space


class Evaluation(Record):
    """One trained model at one budget on one split."""

    budget: StoredBudget
    split: Literal["validation", "selection"]
    """``validation`` (for reports) or ``selection`` (to choose a model)."""
    target: Ratio | None = None
    """The FLOPs speed-up that the budget was searched for, on the selection split."""
    examples: Count
    """Texts of the split; pairs of scored pairs, groups of a ranking."""
    metrics: dict[str, Score | None]
    """Scores by metric, from 0 to 1, correlations from -1 to 1; null where undefined."""
    flops: Flops
    """FLOPs per text without padding, mean over the split."""
    dense_flops: Flops
    """FLOPs per text of the dense model."""
    flops_speedup: Ratio
    """Dense FLOPs over FLOPs, both summed over the split."""
    keep_ratio: list[Share] = Field(min_length=1)
    """Tokens computed over all tokens, per layer; shape (layers,)."""
    key_ratio: list[Share]
    """Tokens that serve as keys over all tokens, per layer; shape (layers,)."""
    ffn_ratio: list[Share]
    """Tokens in the feed-forward over all tokens, per layer; shape (layers,)."""
    evidence_kept: Share | None = None
    """Evidence tokens computed over all evidence tokens, mean over the layers, then over the texts
    that have any; null if none has."""
    predictions: str | list[Number]
    """Prediction for each text of the split, in order; see `lotbench.scoring.predictions`.

    Of a metric that is a mean, what it is the mean of: the value of each text, query or group."""
    spans: list[int] | None = None
    """Start and end of each predicted answer in the characters of the second text, one after the
    other, -1 without an answer; absent but for spans."""
    answers: dict[str, str | list[Number]] | None = None
    """The same for other metrics, by metric; null if all are made of ``predictions``."""

    def made_of(self, metric: str) -> str | list[Number]:
        """What a metric is made of."""
        return (self.answers or {}).get(metric, self.predictions)


class Look(Record):
    """How tables and figures show a method, as the method itself says."""

    label: Annotated[str, Field(min_length=1)]
    """The written name; variants of a method that are told apart have one each."""
    colour: Annotated[str, Field(pattern="^#[0-9A-Fa-f]{6}$")] | None = None
    """Null: one from a hash of the label, unlike those of the other methods of a figure."""
    marker: Literal["o", "s", "^", "v", "<", ">", "D", "d", "P", "X", "*", "p", "h", "H", "8"] = "o"
    """As matplotlib names it; without a colour it comes from the hash, too."""
    role: Literal["main", "method", "control", "dense"] = "method"
    """Legends and tables begin with ``main``, which a front page highlights, and end with dense."""
    order: Count = 100
    """Place among the methods of its role; methods with equal places are in order of their labels.
    """
    published: bool = False
    """A ``main`` method with the settings of its paper; a front page shows it beside the best."""


class Unreached(Record):
    """A FLOPs speed-up that was asked for, and that no budget of the trained model gives."""

    target: Ratio
    nearest: Ratio
    """The nearest FLOPs speed-up that a budget gives, on the selection split."""


class Trial(Stored):
    """One method on one task with one seed, trained and scored."""

    FOLDER: ClassVar[str] = "trials"
    ID: ClassVar[str] = "trial_id"

    trial_id: str
    """Task, method, seed and a hash of the configuration."""
    status: Literal["done", "failed"]
    error: Failure | None = None
    """Null if the trial is done."""
    task: FileName
    method: str
    version: Count | None = None
    """Version of the method."""
    suite: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    """Version of the suite whose sweep it is of; absent of other sweeps."""
    look: Look | None = None
    """Null in a failed row."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    backbone: str
    """Hub id or folder of the pretrained model."""
    params: Json
    """The method's hyper-parameters, defaults filled in."""
    config: Json
    """The configuration of the trial; enough to run it again."""
    created: str
    """Start of the trial, ISO 8601, UTC."""
    machine: Machine
    versions: dict[str, str]
    """Versions of Python and of the packages that can move a number."""
    git_commit: str | None = None
    """Commit of LoTBench, with ``-dirty`` for local changes; null outside a clone."""
    metric: str | None = None
    """The main metric of the task; required if the trial is done."""
    teacher: Teacher | None = None
    data: Data | None = None
    training: Training | None = None
    evaluations: list[Evaluation] = Field(default_factory=list)
    """Each budget on the validation and the selection split; required if the trial is done."""
    unreached: list[Unreached] | None = None
    """The targets without an evaluation; null if the sweep has no targets."""
    search: Searched | None = None
    """Its place in a search; null if its sweep lists settings."""
    seconds: Seconds | None = None
    """Wall-clock time of training, scoring and saving; null in older and in failed rows."""
    model: Annotated[str, Field(pattern=r"^models/[A-Za-z0-9][^/\x00]*$")] | None = None
    """Folder of the trained model, relative to the store."""

    @property
    def reported(self) -> bool:
        """False for the trials of a search, and for what its sweep no longer has or chooses.

        Reports, advice and timing are of the others: the winner of a search looks better than it
        is.
        """
        return self.search is None or self.search.part == "confirmation"

    @property
    def kind(self) -> Kind:
        """The kind of its task."""
        data: Any = self.config.get("data", {})
        return kind_by(data.get("source") or self.task, data.get("kind"), data.get("regression"))

    @property
    def floor(self) -> float:
        """How many points below the reference an area is counted from."""
        return self.kind.floor(self.metric)

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        scored = self.metric is not None and "evaluations" in self.model_fields_set
        if self.status == "done" and not scored:
            raise ValueError("a finished trial needs metric and evaluations")
        if self.metric is not None and self.metric not in METRICS:
            raise ValueError(f"metric is {self.metric!r:.60}, not one of {', '.join(METRICS)}")
        for name in ("params", "data"):
            if not isinstance(self.config.get(name, {}), dict):
                raise ValueError(f"config.{name} is not an object")
        return self

    @model_validator(mode="after")
    def _answers_fit(self) -> Self:
        """Refuses answers that their metric does not have, or of other texts than the first."""
        metrics = {self.metric, *(name for own in self.evaluations for name in own.metrics)}
        known = len((self.data and self.data.classes) or DIGITS)
        classes = None if metrics.isdisjoint(CLASSIFICATION) else known
        first = {}
        for split, labels in ((self.data and self.data.labels) or {}).items():
            check_answers(f"data.labels.{split}", labels, classes)
            first[split, None] = "the labels", len(labels)
        for name, metric, split, stored in self._answered():
            if metric in MEANS:
                check_answers(name, stored, classes_of(metric, known))
                expected, count = first.setdefault((split, metric), (name, len(stored)))
            elif (split, None) in first:
                check_answers(name, stored, classes)
                expected, count = first[split, None]
            else:
                raise ValueError(f"data.labels has none of the {split} split")
            if len(stored) != count:
                raise ValueError(f"{name} has {len(stored)} values, not {count} as {expected}")
        return self

    def _answered(self) -> Iterator[tuple[str, str | None, str, str | list]]:
        """Key path, metric, split and value of all answers."""
        for place, own in enumerate(self.evaluations):
            path = f"evaluations.{place}"
            yield f"{path}.predictions", self.metric, own.split, own.predictions
            for metric, stored in (own.answers or {}).items():
                if metric not in METRICS:
                    raise ValueError(f"{path}.answers.{metric}: not a metric")
                yield f"{path}.answers.{metric}", metric, own.split, stored
            for metric in own.metrics:
                alone = self.metric in MEANS or metric in MEANS
                if alone and metric not in (self.metric, *(own.answers or {})):
                    raise ValueError(f"{path}.answers has no {metric}")
        for split, stored in ((self.teacher and self.teacher.predictions) or {}).items():
            yield f"teacher.predictions.{split}", self.metric, split, stored


class SweepRecord(Record):
    """The resolved sweep file of a store; older ones have other keys."""

    tasks: dict[str, Json]
    """Where the data of each task is, by its name."""


def without_limit(config: dict[str, Any]) -> dict[str, Any]:
    """A trial's configuration without its time limit, which changes no result."""
    train = config.get("train")
    if not isinstance(train, dict):
        return config
    return config | {"train": {key: own for key, own in train.items() if key != "max_minutes"}}

"""Parts of a record: machine, failure, training, teacher and data."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from lotbench.config.spaces import KINDS, is_space, space_of
from lotbench.store.record import Count, FileName, Json, Number, Ratio, Record, Score, Seconds


class Machine(Record):
    """The machine that computed a record."""

    cpu: str | None = None
    """Marketing name of the processor."""
    cpu_id: str | None = None
    """Family, model and stepping, since in clouds many processors share one marketing name."""
    cores: Count | None = None
    """Cores that the process may use."""
    memory_gib: Number | None = None
    """Memory of the machine or container, in GiB."""
    gpus: list[dict[str, str]] | None = None
    """Name, memory and driver of each GPU."""
    os: str | None = None
    """Operating system and kernel."""
    arch: str | None = None
    """Instruction set, such as ``x86_64``."""
    libc: str | None = None
    """C library and its version."""


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
    """The budgets that were drawn in training; see `lotbench.study.budgets`."""

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
    """Prediction for each text by split; null in older rows; see `lotbench.store.predictions`."""


class Data(Record):
    """The data that a trial was trained and scored on."""

    fingerprint: str | None = None
    """Hash of texts, tokens and labels of all splits."""
    train: Count | None = None
    """Examples trained on, without the selection split."""
    labels: dict[str, str | list[Number]] | None = None
    """Labels of the validation and the selection split, or the scores of their pairs; see
    `lotbench.store.predictions`.  Null if all metrics are means."""
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
    doublings of speed; see `lotbench.area`.  Null for a failed trial and in a confirmation."""
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

"""The records of a store: `Trial`, `TimingPass` and `Map`, field by field.

A field with a default may be absent.
Unless a field says otherwise, times are seconds and FLOPs are floating-point operations, two per
multiply-add.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from lotbench import backends
from lotbench.area import FLOOR, FLOOR_OF_VECTORS
from lotbench.metrics import CLASSIFICATION, MEANS, METRICS, classes_of
from lotbench.store.parts import Data, Failure, Machine, Searched, Teacher, Training
from lotbench.store.predictions import DIGITS, check_answers
from lotbench.store.record import (
    Count,
    FileName,
    Flops,
    Json,
    Number,
    Ratio,
    Record,
    Score,
    Seconds,
    Share,
    StoredBudget,
)
from lotbench.store.timing_parts import (
    Contender,
    Group,
    Interval,
    NoiseFloor,
    Pair,
    References,
    TimingSetting,
    Unable,
)


class Stored(Record):
    """A record with a file of its own, ``<folder>/<id>.json``."""

    FOLDER: ClassVar[str]
    ID: ClassVar[str]
    """Name of the field with the file's name."""

    @property
    def id(self) -> str:
        """The name of the file, without ``.json``."""
        return getattr(self, self.ID)


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
    predictions: str | list[Number]
    """Prediction for each text of the split, in order; see `lotbench.store.predictions`.

    Of a metric that is a mean, what it is the mean of: the value of each text, query or group."""
    answers: dict[str, str | list[Number]] | None = None
    """The same for other metrics, by metric; null if all are made of ``predictions``."""

    def made_of(self, metric: str) -> str | list[Number]:
        """What a metric is made of."""
        return (self.answers or {}).get(metric, self.predictions)


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
    """Version of the method; null in older rows."""
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
    def floor(self) -> float:
        """How many points below the reference an area is counted from.

        Vectors and rankings lose more than classes before they are of no use.
        """
        data: Any = self.config.get("data", {})
        vectors = self.metric in MEANS or data.get("kind") == "embedding"
        return FLOOR_OF_VECTORS if vectors else FLOOR

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


class Conditions(NamedTuple):
    """The conditions that must be equal for two passes to be comparable."""

    device_name: str | None
    cpu_id: str | None
    torch: str | None
    transformers: str | None
    picked: tuple[int, int] | None
    protocol: int
    engine: int
    backends: tuple[str, ...]
    """``x best`` depends on the backends of the pass."""
    runtimes: tuple[str | None, ...]
    """Versions of the packages that these backends, and the tokenisers, need."""


class TimingPass(Stored):
    """A timing pass over the stored models of one task, in one setting at one batch size."""

    FOLDER: ClassVar[str] = "timings"
    ID: ClassVar[str] = "pass_id"

    pass_id: str
    """Time, task and setting."""
    created: str
    """End of the pass, ISO 8601, UTC."""
    machine: Machine
    versions: dict[str, str]
    """As in `Trial`."""
    git_commit: str | None = None
    """As in `Trial`."""
    allocator: dict[str, str] | None = None
    """Variables of the C library's memory allocator that were set."""
    task: FileName
    protocol: Count
    """Version of the rules of measurement."""
    engine: Count
    """Version of the packed code; versions differ in speed."""
    setting: TimingSetting
    dense_model: str | None = None
    """Trial id of the dense model, or the key of its teacher."""
    metric: str | None = None
    """The main metric, which ``scores`` are in."""
    fastest: dict[str, str]
    """By backend, the faster dense model that holds its score: the reference of ``x same``."""
    best: FileName | None = None
    """The backend whose fastest dense model is the reference of ``x best``."""
    noise_floor: NoiseFloor | None = None
    call: References | None = None
    """The same three of the whole calls; null in passes before protocol 3."""
    groups: list[Group]
    contenders: list[Contender]
    unable: list[Unable] | None = None
    """Models that a backend cannot run."""
    slower: list[Pair] | None = None
    """Models in backends that a screening found too slow to be the model's fastest."""

    @property
    def call_or_encoder(self) -> References | TimingPass:
        """The references that reports are about; see `Contender.call_or_encoder`."""
        return self.call or self

    @property
    def conditions(self) -> Conditions:
        """The conditions of this pass; passes with equal conditions are comparable."""
        picked = self.setting.picked
        return Conditions(
            self.setting.device_name,
            self.machine.cpu_id,
            self.versions.get("torch"),
            self.versions.get("transformers"),
            picked and (picked.examples, picked.run),
            self.protocol,
            self.engine,
            tuple(self.setting.backends),
            backends.runtimes(self.setting.backends, self.versions),
        )


class MapSetting(Record):
    """Where and how a break-even map was timed."""

    device: FileName
    """``cpu``, or a GPU such as ``cuda:0``."""
    device_name: str
    """Marketing name of the processor or GPU."""
    threads: Annotated[int, Field(ge=1)]
    """CPU threads of PyTorch."""
    dtype: FileName
    """Number format of weights and activations: ``fp32`` or ``bf16``."""
    rounds: Count | None = None
    """Most rounds of a cell."""
    seed: Count | None = None
    """Seed of the random tokens and choices."""
    attention: str | None = None
    """Attention kernel of the padded dense model."""
    router_width: Count
    """Hidden width of the routers, which run although the choice of tokens is fixed."""

    @property
    def label(self) -> str:
        """The setting as part of a file name, such as ``cpu-1t-fp32``."""
        return f"{self.device}-{self.threads}t-{self.dtype}".replace(":", "")


class MapBackbone(Record):
    """The backbone of a break-even map."""

    name: str
    """Hub id or folder."""
    layers: Count
    width: Count


class KeepSpeedup(Interval):
    """Speed-up over the fastest dense model at one keep ratio."""

    keep: Share
    """Share of the tokens that every layer computes."""


class Cell(Record):
    """One text length at one batch size."""

    length: Count
    """Tokens of each text."""
    batch_size: Count
    """Texts of the batch."""
    rounds: Count
    """Rounds that were timed."""
    fastest_dense: str | None = None
    """Name of the dense model that speed-ups are measured against."""
    speedups: list[KeepSpeedup] = Field(min_length=1)
    """One per keep ratio."""
    samples: dict[str, list[Seconds]] | None = None
    """Seconds of each round, by dense model or keep ratio; each of shape (rounds,)."""


class Map(Stored):
    """A break-even map: the speed-up by text length, batch size and keep ratio."""

    FOLDER: ClassVar[str] = "maps"
    ID: ClassVar[str] = "map_id"

    map_id: str
    """Time and setting."""
    created: str
    """End of the measurement, ISO 8601, UTC."""
    machine: Machine
    versions: dict[str, str]
    """As in `Trial`."""
    git_commit: str | None = None
    """As in `Trial`."""
    allocator: dict[str, str] | None = None
    """Variables of the C library's memory allocator that were set."""
    setting: MapSetting
    backbone: MapBackbone
    cells: list[Cell] = Field(min_length=1)

    @model_validator(mode="after")
    def _same_keeps(self) -> Self:
        if len({tuple(each.keep for each in cell.speedups) for cell in self.cells}) > 1:
            raise ValueError("the cells have different keep ratios")
        return self


def without_limit(config: dict[str, Any]) -> dict[str, Any]:
    """A trial's configuration without its time limit, which changes no result."""
    train = config.get("train")
    if not isinstance(train, dict):
        return config
    return config | {"train": {key: own for key, own in train.items() if key != "max_minutes"}}

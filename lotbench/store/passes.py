"""A timing pass, field by field: its setting, the timed models and their numbers.

A field with a default may be absent.
Unless a field says otherwise, times are seconds and FLOPs are floating-point operations, two per
multiply-add.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from lotbench import backends
from lotbench.store.record import (
    Count,
    FileName,
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

TOLERANCE = 0.005
"""A backend that costs a model no more of its score than this may stand for the model."""


class Interval(Record):
    """A median and its 95% bootstrap interval."""

    median: Ratio
    low: Ratio
    high: Ratio

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        slack = 1 + 1e-9
        if not self.low <= self.median * slack or not self.median <= self.high * slack:
            raise ValueError(f"the median {self.median:.6g} is outside the interval")
        return self


class Speedup(Interval):
    """A speed-up, and whether it can be told from the noise."""

    flagged: bool
    """True if it may be 1: noisy, within the noise floor, or 1 is in the interval."""
    noisy: bool
    """True if the interval is wider than 10% of the median."""


class BackendScore(Record):
    """The score of a timed model in its backend, on one split."""

    score: Score | None
    """The main metric of the task; null where undefined."""
    change: Number | None
    """The score minus that of the same model in ``torch-fp32``."""
    flips: Count | None
    """Texts that the model classifies otherwise than in ``torch-fp32``; null for other tasks."""

    @property
    def held(self) -> bool:
        """True if the score is at most half a point below that in ``torch-fp32``."""
        # Rounding must not decide whether exactly half a point is too much.
        return self.change is not None and self.change >= -TOLERANCE - 1e-9


Scores = dict[Literal["selection", "validation"], BackendScore]
"""Scores by split."""


class CallSeconds(Record):
    """How long one call, which is one batch, takes, or the encoder in it."""

    p50: Seconds
    """Median seconds of a call."""
    p90: Seconds
    """90th percentile."""
    p95: Seconds
    """95th percentile."""
    p99: Seconds
    """99th percentile; close to the maximum unless there are hundreds of calls."""
    calls: Count
    """How many calls were timed."""


class Named(Record):
    """The names of a timed model."""

    name: str
    """Unique in its pass and backend: trial id and budget, or ``dense`` or ``dense-packed``."""
    backend: FileName
    """What runs the model; see `lotbench.backends`."""
    group: Count | None = None
    """Number of the group timed in the same rounds; null for dense models, which are in all."""


class Measures(Record):
    """The times of a model and its speed-ups over dense models timed in the same way."""

    seconds_per_example: Seconds
    """Median seconds of a pass over all batches, per text."""
    samples: list[Seconds] = Field(min_length=1)
    """Seconds of each pass over all batches, process by process; shape (rounds,)."""
    speedup: Interval
    """``x same``: how many times faster than the fastest dense model of the same backend, paired by
    round."""
    speedup_padded: Interval
    """The same against the padded dense model of the same backend."""
    flagged: bool
    """As `Speedup.flagged`, for ``speedup``."""
    noisy: bool
    """As `Speedup.noisy`, for ``speedup``."""
    speedup_best: Speedup | None = None
    """``x best``: how many times faster than the fastest dense model of any backend in the pass
    that holds its score; null if no dense model holds it."""


class CallMeasures(Measures):
    """Those of the whole call, from texts to outputs."""

    call_seconds: CallSeconds


# The order of the bases is that of the fields in a file.
class Contender(Measures, Named):
    """One timed model at one budget, in one backend; the measures are of its encoder alone."""

    scores: Annotated[Scores, Field(min_length=2)]
    """The score in this backend by split."""
    trial_id: str | None = None
    """Null for the dense models."""
    budget: StoredBudget = None
    """See `Evaluation`."""
    call_seconds: CallSeconds | None = None
    """Of the encoder alone."""
    peak_bytes: Count | None = None
    """Peak of tensor memory in a call, in bytes, without weights and inputs; torch only."""
    time_shares: dict[str, Share] | None = None
    """Share of the time by section, such as ``attention``; they sum to 1; torch only."""
    flops_speedup: Ratio | None = None
    """Dense FLOPs over FLOPs on the timed texts alone; null for exported dense."""
    event_samples: list[Number] | None = None
    """On a GPU, seconds of each pass of the encoder by CUDA events; shape (rounds,)."""
    call: CallMeasures | None = None
    """Null in passes before protocol 3."""

    @property
    def call_or_encoder(self) -> CallMeasures | Contender:
        """The measures that reports are about: of the call, or of the encoder in older passes."""
        return self.call or self


class NoiseFloor(Record):
    """The noise of a timing: the dense model against itself."""

    ratio: Number
    """Median deviation of the ratio from 1."""
    low: Ratio | None = None
    """Low end of the ratio's 95% interval."""
    high: Ratio | None = None
    """High end of the ratio's 95% interval."""
    samples: list[Seconds] | None = None
    """Seconds of each pass of the second dense model; shape (rounds,)."""


class References(Record):
    """The dense models that calls are measured against, as in `TimingPass`."""

    fastest: dict[str, str]
    best: FileName | None
    noise_floor: NoiseFloor


class Pair(Record):
    """A stored model at one budget in a backend, or a dense model, that was not timed."""

    trial_id: str
    """Of a dense model its name."""
    budget: StoredBudget
    backend: FileName
    why: str | None = None
    """Why it cannot run; null if it can."""


class Group(Record):
    """Contenders that were timed in the same rounds."""

    rounds: list[Count]
    """Rounds of each process; shape (processes,)."""


class Picked(Record):
    """How the timed texts were picked from the validation split."""

    examples: Count
    """Number of texts requested."""
    run: Count
    """Number of texts of neighbouring length in one run."""
    queries: bool = False
    """True if a run has passages of one query, of any length."""


class TimingSetting(Record):
    """Where and how a pass was timed."""

    device: FileName
    """``cpu``, or a GPU such as ``cuda:0``."""
    device_name: str | None = None
    """Marketing name of the processor or GPU."""
    threads: Annotated[int, Field(ge=1)]
    """CPU threads."""
    backends: list[FileName]
    """The backends that were tried; contenders are in those where a model may be fastest."""
    batch_size: Count
    """Texts per batch."""
    examples: Count | None = None
    """Texts of one pass over all batches."""
    attention: str | None = None
    """Attention kernel of the padded dense model."""
    rounds: Count | None = None
    """Rounds requested, sum over all processes."""
    min_seconds: Number | None = None
    """Least time of the dense model requested, sum over all processes."""
    seed: Count | None = None
    """Seed of the shuffled order, of the bootstrap and of the timed trials."""
    processes: Count | None = None
    """Number of worker processes, which ran in sequence."""
    picked: Picked | None = None

    @property
    def label(self) -> str:
        """The setting in one word, such as ``cpu-1t-b32``."""
        return f"{self.device}-{self.threads}t-b{self.batch_size}"


def conditions(
    setting: tuple[str | None, str | None],
    versions: Mapping[str, str],
    picked: Picked | None,
    rules: tuple[int, int],
    names: Sequence[str],
) -> tuple[object, ...]:
    """What must be equal for two passes to be comparable.

    These are the names of device and processor, the versions of packages that the backends and the
    tokenisers need, the texts, the versions of protocol and engine, and, since ``x best`` depends
    on them, the backends.
    """
    libraries = versions.get("torch"), versions.get("transformers")
    texts = picked and (picked.examples, picked.run, picked.queries)
    return setting, libraries, texts, rules, (*names,), backends.runtimes(names, versions)


class Measured(Stored):
    """A record of times: where and when they were measured."""

    created: str
    """End of the measurement, ISO 8601, UTC."""
    machine: Machine
    versions: dict[str, str]
    """As in `Trial`."""
    git_commit: str | None = None
    """As in `Trial`."""
    allocator: dict[str, str] | None = None
    """Variables of the C library's memory allocator that were set."""

    def content(self) -> dict[str, Any]:
        """The content of the file, which begins with the record's name."""
        return {self.ID: self.id, **super().content()}


class TimingPass(Measured):
    """A timing pass over the stored models of one task, in one setting at one batch size."""

    FOLDER: ClassVar[str] = "timings"
    ID: ClassVar[str] = "pass_id"

    pass_id: str
    """Time, task and setting."""
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
    unable: list[Pair] | None = None
    """Models that a backend cannot run."""
    slower: list[Pair] | None = None
    """Models in backends that a screening found too slow to be the model's fastest."""

    @property
    def call_or_encoder(self) -> References | TimingPass:
        """The references that reports are about; see `Contender.call_or_encoder`."""
        return self.call or self

    @property
    def conditions(self) -> tuple[object, ...]:
        """The `conditions` of this pass; passes with equal ones are comparable."""
        setting = self.setting
        where, rules = (setting.device_name, self.machine.cpu_id), (self.protocol, self.engine)
        return conditions(where, self.versions, setting.picked, rules, setting.backends)

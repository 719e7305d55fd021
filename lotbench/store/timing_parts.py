"""Parts of a timing pass: its setting, its contenders and their numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lotbench.store.record import Name, Number, Ratio, Record, StoredBudget

TOLERANCE = 0.005
"""A backend that costs a model no more of its score than this may stand for the model."""


class Interval(Record):
    """A median and its 95% bootstrap interval."""

    median: Ratio
    low: Ratio
    high: Ratio


class Speedup(Interval):
    """A speed-up, and whether it can be told from the noise."""

    flagged: bool
    """True if it may be 1: noisy, within the noise floor, or 1 is in the interval."""
    noisy: bool
    """True if the interval is wider than 10% of the median."""


class BackendScore(Record):
    """The score of a timed model in its backend, on one split."""

    score: Number | None
    """The main metric of the task; null where undefined."""
    change: Number | None
    """The score minus that of the same model in ``torch-fp32``."""
    flips: int | None
    """Texts that the model classifies otherwise than in ``torch-fp32``; null for a regression."""

    @property
    def held(self) -> bool:
        """True if the score is at most half a point below that in ``torch-fp32``."""
        # Rounding must not decide whether exactly half a point is too much.
        return self.change is not None and self.change >= -TOLERANCE - 1e-9


class CallSeconds(Record):
    """How long one call, which is one batch, takes."""

    p50: Number
    """Median seconds of a call."""
    p90: Number
    """90th percentile."""
    p95: Number | None = None
    """95th percentile."""
    p99: Number
    """99th percentile; close to the maximum unless there are hundreds of calls."""
    calls: int
    """How many calls were timed."""


class Contender(Record):
    """One timed model at one budget, in one backend."""

    name: str
    """Unique in its pass and backend: trial id and budget, or ``dense`` or ``dense-packed``."""
    backend: Name | None = None
    """What runs the model (`lotbench.backends`); null in older passes: torch in `Setting.dtype`."""
    group: int | None = None
    """Number of the group timed in the same rounds; null for dense models, which are in all."""
    seconds_per_example: Ratio | None = None
    """Median seconds of a pass over all batches, per text."""
    samples: list[Number] | None = None
    """Seconds of each pass over all batches, process by process; shape (rounds,)."""
    speedup: Interval
    """``x same``: how many times faster than the fastest dense model of the same backend, paired by
    round."""
    speedup_padded: Interval | None = None
    """The same against the padded dense model of the same backend."""
    flagged: bool | None = None
    """As `Speedup.flagged`, for ``speedup``."""
    noisy: bool | None = None
    """As `Speedup.noisy`, for ``speedup``."""
    speedup_best: Speedup | None = None
    """``x best``: how many times faster than the fastest dense model of any backend in the pass
    that holds its score; null in older passes, and if no dense model holds it."""
    scores: dict[str, BackendScore] | None = None
    """The score in this backend by split: ``selection`` and ``validation``."""
    trial_id: str | None = None
    """Null for the dense models."""
    budget: StoredBudget = None
    """See `Evaluation`."""
    call_seconds: CallSeconds | None = None
    peak_bytes: int | None = None
    """Peak of tensor memory in a call, in bytes, without weights and inputs; torch only."""
    time_shares: dict[str, Number] | None = None
    """Share of the time by section, such as ``attention``; they sum to 1; torch only."""
    flops_speedup: Ratio | None = None
    """Dense FLOPs over FLOPs on the timed texts alone; torch only."""
    event_samples: list[Number] | None = None
    """On a GPU, seconds of each pass by CUDA events; shape (rounds,)."""


class NoiseFloor(Record):
    """The noise of a timing: the dense model against itself."""

    ratio: Number
    """Median deviation of the ratio from 1."""
    low: Number | None = None
    """Low end of the ratio's 95% interval."""
    high: Number | None = None
    """High end of the ratio's 95% interval."""
    samples: list[Number] | None = None
    """Seconds of each pass of the second dense model; shape (rounds,)."""


class Unable(Record):
    """A stored model at one budget that a backend cannot run."""

    trial_id: str
    budget: StoredBudget
    backend: Name
    why: str


class Group(Record):
    """Contenders that were timed in the same rounds."""

    rounds: int | list[int]
    """Rounds of each process; shape (processes,).  One number if there was one process."""


class Picked(Record):
    """How the timed texts were picked from the validation split."""

    examples: int
    """Number of texts requested."""
    run: int
    """Number of texts of neighbouring length in one run."""


class Setting(Record):
    """Where and how a pass was timed."""

    device: Name
    """``cpu``, or a GPU such as ``cuda:0``."""
    device_name: str | None = None
    """Marketing name of the processor or GPU."""
    threads: Annotated[int, Field(ge=1)]
    """CPU threads."""
    dtype: Name | None = None
    """In older passes the number format of all models: ``fp32`` or ``bf16``; else null."""
    backends: list[Name] | None = None
    """The backends of the pass; each has dense models.  Null in older passes."""
    batch_size: int
    """Texts per batch."""
    examples: int | None = None
    """Texts of one pass over all batches."""
    attention: str | None = None
    """Attention kernel of the padded dense model."""
    rounds: int | None = None
    """Rounds requested, sum over all processes."""
    min_seconds: Number | None = None
    """Least time of the dense model requested, sum over all processes."""
    seed: int | None = None
    """Seed of the shuffled order, of the bootstrap and of the timed trials."""
    processes: int | None = None
    """Number of worker processes, which ran in sequence."""
    picked: Picked | None = None

    @property
    def label(self) -> str:
        """The setting in one word, such as ``cpu-1t-b32``; older passes end in ``-fp32``."""
        dtype = f"-{self.dtype}" if self.dtype else ""
        return f"{self.device}-{self.threads}t-b{self.batch_size}{dtype}"

"""The messages between a measuring process and its workers, sent as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lotbench.store.record import Budget
from lotbench.store.records import Picked

Samples = dict[str, list[float]]
"""Lists of seconds by contender, each entry for one pass or one call."""


@dataclass(frozen=True)
class DeviceSetting:
    """The device, threads and number format of a worker process."""

    device: str
    threads: int
    dtype: str

    @property
    def parts(self) -> tuple[str, str, str]:
        """The setting as parts of a file name, such as ``cpu``, ``1t``, ``fp32``."""
        return self.device.replace(":", ""), f"{self.threads}t", self.dtype

    def __str__(self) -> str:
        return f"{self.device}, {self.threads} threads, {self.dtype}"


@dataclass(frozen=True)
class Candidate:
    """A stored model at one budget, to be timed; ``folder`` has the model."""

    name: str
    trial_id: str
    folder: str
    budget: Budget = field(default_factory=dict)


@dataclass(frozen=True)
class Example:
    """One tokenised text; ``text_seed`` is for methods that draw at random."""

    input_ids: list[int]
    token_type_ids: list[int]
    text_seed: int = 0


@dataclass(frozen=True)
class PassSpec:
    """A timing pass in one setting.

    Parameters
    ----------
    task : str
    setting : DeviceSetting
    dense : str
        Folder of the fine-tuned dense model, the reference of every speed-up.
    candidates : sequence of Candidate
        Their names must differ.
    examples : sequence of Example
    batch_sizes : sequence of int
    rounds : int
    min_seconds : float
        Least time of the dense model at each batch size.
    seed : int
        Seed of the shuffled order and of the bootstrap.
    picked : Picked, optional
        How the examples were picked.
    process : int
        Number of this worker process; ``rounds`` and ``min_seconds`` are then its share.
    plugins : sequence of str
        Files or modules with the candidates' methods that the worker may import.
    """

    task: str
    setting: DeviceSetting
    dense: str
    candidates: Sequence[Candidate]
    examples: Sequence[Example]
    batch_sizes: Sequence[int] = (1, 32)
    rounds: int = 20
    min_seconds: float = 1.0
    seed: int = 0
    picked: Picked | None = None
    process: int = 0
    plugins: Sequence[str] = ()


@dataclass(frozen=True)
class Observation:
    """Measurements of a contender outside the timed rounds; ``peak_bytes`` is in bytes."""

    peak_bytes: int
    time_shares: dict[str, float]
    flops_speedup: float


@dataclass(frozen=True)
class GroupTimes:
    """One group of contenders at one batch size; every dict is by contender."""

    samples: Samples
    """Seconds of each pass over all calls."""
    calls: Samples
    """Seconds of each call."""
    events: Samples
    """On a GPU, seconds of each pass by CUDA events."""
    observations: dict[str, Observation]
    """Empty except in the first process."""


@dataclass(frozen=True)
class WorkerResult:
    """What one worker measured."""

    device_name: str
    attention: str | None
    groups: dict[int, list[GroupTimes]]
    """By batch size."""
    broken: dict[str, str]
    """The reason why a candidate could not be timed, by name."""


@dataclass(frozen=True)
class MapSpec:
    """A break-even map in one setting; see `lotbench.measure.breakeven.run_maps`."""

    setting: DeviceSetting
    backbone: str
    layers: int | None
    lengths: Sequence[int]
    batch_sizes: Sequence[int]
    keeps: Sequence[float]
    rounds: int
    seed: int

"""The messages between a measuring process and its workers, sent as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lotbench import backends
from lotbench.budget import Budget
from lotbench.store.passes import Pair, Picked, Scores

Samples = dict[str, list[float]]
"""By contender (see `key`), the seconds of each pass over all calls."""
Passes = dict[str, list[list[float]]]
"""By contender, the seconds of each call of each pass."""


def sums(passes: Passes) -> Samples:
    """The seconds of whole passes."""
    return {name: [sum(calls) for calls in own] for name, own in passes.items()}


@dataclass(frozen=True)
class DeviceSetting:
    """The device and threads of a worker process."""

    device: str
    threads: int

    @property
    def parts(self) -> tuple[str, str]:
        """The setting as parts of a file name, such as ``cpu``, ``1t``."""
        return self.device.replace(":", ""), f"{self.threads}t"

    def __str__(self) -> str:
        return f"{self.device}, {self.threads} threads"


def key(name: str, backend: str) -> str:
    """The name of a contender within a pass: ``onnx-int8: dense``."""
    return f"{backend}: {name}"


@dataclass(frozen=True)
class Entry:
    """A stored model at one budget in one backend, to be timed."""

    name: str
    """Unique in its backend."""
    trial_id: str | None
    """None for a dense model that speed-ups are measured against."""
    folder: str
    """Has the model."""
    budget: Budget | None = None
    backend: str = backends.TORCH
    """One of `lotbench.backends.BACKENDS`."""
    graph: str | None = None
    """The file of the exported graph, for a backend that runs one."""
    scores: Scores = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its name within a pass."""
        return key(self.name, self.backend)

    @property
    def held(self) -> bool:
        """True if it holds its score on the selection split; see `BackendScore.held`."""
        return "selection" in self.scores and self.scores["selection"].held

    @property
    def model(self) -> tuple[str, str, str]:
        """Equal for entries that share one loaded model.

        The padded and the packed dense model have the same folder, but do not share one.
        """
        return self.backend, self.folder, self.graph or ("" if self.trial_id else self.name)


class Example(NamedTuple):
    """One text, or pair of texts, and its tokens."""

    input_ids: list[int]
    token_type_ids: list[int]
    text_seed: int = 0
    """For methods that draw at random."""
    text: tuple[str, ...] = ()
    """What is tokenised in a timed call."""


@dataclass(frozen=True)
class PassSpec:
    """A timing pass in one setting.

    The fields from ``backends`` on are for the record; see `lotbench.store.passes.TimingPass`.
    """

    task: str
    setting: DeviceSetting
    dense: Sequence[Entry]
    """The dense models, padded and packed, that speed-ups are measured against; a padded one for
    each backend of the entries.  A screening has none."""
    entries: Sequence[Entry]
    """Their names must differ within a backend."""
    examples: Sequence[Example]
    """In order; a call has the next ones."""
    picked: Picked
    """How the examples were picked."""
    tokenizer: str
    """See `lotbench.engine.loading.load_tokenizer`; it gives the examples' tokens."""
    max_length: int
    """Tokens after which a text is cut."""
    batch_sizes: Sequence[int]
    rounds: int
    """Fewest rounds of all processes."""
    min_seconds: float
    """Least time of the dense model at each batch size, in all processes."""
    seed: int
    """Seed of the shuffled order and of the bootstrap."""
    plugins: Sequence[str]
    """Files or modules with the entries' methods that the worker may import."""
    backends: Sequence[str]
    dense_model: str | None
    metric: str | None
    unable: Sequence[Pair] = ()
    slower: Sequence[Pair] = ()
    process: int = 0
    """Number of the worker process."""

    @property
    def screening(self) -> bool:
        """True if the pass only finds out which contenders are worth its rounds."""
        return not self.dense


@dataclass(frozen=True)
class GroupTimes:
    """One group of contenders at one batch size; every dict is by contender (see `key`)."""

    encoder: Passes
    call: Passes
    """From texts to outputs."""
    events: Passes
    """On a GPU, seconds of the encoder by CUDA events."""
    observations: dict[str, dict[str, Any]]
    """Fields of `Contender` that are measured outside the rounds.

    Empty except in the first process, and without dense in the backends other than torch."""


@dataclass(frozen=True)
class WorkerResult:
    """What one worker measured."""

    attention: str | None
    """The kernel of the dense model."""
    groups: dict[int, list[GroupTimes]]
    """By batch size."""
    broken: dict[str, str]
    """The reason why an entry could not be timed, by its key."""


@dataclass(frozen=True)
class MapSpec:
    """A break-even map in one setting."""

    setting: DeviceSetting
    dtype: str
    """``fp32`` or ``bf16``."""
    backbone: str
    """See `lotbench.engine.config_of_backbone.locate`; pretrained weights suffice."""
    layers: int | None
    """Keep only the first layers; None keeps all."""
    max_rounds: int
    """Of a cell; a long cell gets fewer."""
    lengths: Sequence[int] = (32, 64, 128, 256, 512)
    """Tokens; lengths beyond the backbone's positions are skipped."""
    batch_sizes: Sequence[int] = (1, 8, 32)
    keeps: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9)
    """Shares of the tokens that every layer computes."""
    seed: int = 0

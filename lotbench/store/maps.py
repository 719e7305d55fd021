"""A break-even map, field by field: the speed-up by text length, batch size and keep ratio."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from lotbench.store.passes import Interval, Measured
from lotbench.store.record import Count, FileName, Record, Seconds, Share


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


class Map(Measured):
    """A break-even map: the speed-up by text length, batch size and keep ratio."""

    FOLDER: ClassVar[str] = "maps"
    ID: ClassVar[str] = "map_id"

    map_id: str
    """Time and setting."""
    setting: MapSetting
    backbone: MapBackbone
    cells: list[Cell] = Field(min_length=1)

    @model_validator(mode="after")
    def _same_keeps(self) -> Self:
        if len({tuple(each.keep for each in cell.speedups) for cell in self.cells}) > 1:
            raise ValueError("the cells have different keep ratios")
        return self

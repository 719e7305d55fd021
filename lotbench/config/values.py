"""The base of all sections of a configuration, and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from lotbench.backends import BACKENDS
from lotbench.errors import near_misses
from lotbench.scoring.metrics import METRICS


class Section(BaseModel):
    """One section of a configuration: frozen, without unknown keys or silent conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError(f"names a value twice: {values}")
    return values


def _device(value: str) -> str:
    if re.fullmatch(r"cpu|auto|cuda(:\d+)?", value) is None:
        raise ValueError("a device is cpu, cuda, cuda:<number>, or auto (all there are)")
    return value


def _one_of(kind: str, known: Iterable[str]) -> AfterValidator:
    """Refuses other words, and suggests the nearest ones."""

    def check(value: str) -> str:
        if value not in known:
            raise ValueError(f"no {kind} {value!r}; {near_misses(value, list(known))}")
        return value

    return AfterValidator(check)


def empty_if_none(value: Any) -> Any:
    # `dense:` without a value means the default parameters.
    return {} if value is None else value


def is_none(value: Any) -> bool:
    return value is None


def is_whole(share: float) -> bool:
    return share == 1


def listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


SOME = Field(min_length=1)
DISTINCT = AfterValidator(_distinct)
# Names become parts of --set paths and of file names, which have at most 255 characters.
Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)]
NonEmpty = Annotated[str, Field(min_length=1)]
Length = Annotated[int, Field(ge=8, le=65_536)]
Positive = Annotated[int, Field(ge=1, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(gt=0, le=1)]
# FLOPs speed-ups over dense.
Targets = Annotated[list[Annotated[float, Field(gt=1, le=1000)]], SOME, DISTINCT]
Columns = Annotated[list[NonEmpty], Field(min_length=1, max_length=2), DISTINCT]
Metrics = Annotated[list[Annotated[str, _one_of("metric", METRICS)]], SOME, DISTINCT]
Backends = Annotated[list[Annotated[str, _one_of("backend", BACKENDS)]], SOME, DISTINCT]
Device = Annotated[str, AfterValidator(_device)]
Parameters = dict[str, Any]
Blocks = Annotated[Parameters | Annotated[list[Parameters], SOME], BeforeValidator(empty_if_none)]

"""The base class of all records, and the types of their fields with the ranges they allow."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
)

from lotbench.budget import Budget


# Numbers are `int | float`, since an int stays an int when a file is written again.
def _within(low: float, high: float, slack: float = 0.0) -> AfterValidator:
    """Refuses numbers outside a range, whose ends are allowed, and NaN."""

    def check(value: int | float) -> int | float:
        if not low - slack <= value <= high + slack:
            raise ValueError(f"{value!s:.20} is not within {low:g} and {high:g}")
        return value

    return AfterValidator(check)


def _budget(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if len(value) > 1:
        raise ValueError("more than one budget")
    return next((Budget(*pair) for pair in value.items()), None)


Number = Annotated[int | float, _within(-1e60, 1e60)]
"""Far beyond float32, and so that a square is finite."""
Count = Annotated[int, Field(ge=0, lt=2**63)]
Share = Annotated[int | float, _within(0, 1, slack=1e-9)]
"""From 0 to 1, but for rounding."""
Score = Annotated[int | float, _within(-1, 1, slack=1e-9)]
"""From 0 to 1, correlations from -1, but for rounding."""
Ratio = Annotated[int | float, _within(1e-6, 1e6)]
"""Above zero, since figures have log axes."""
Flops = Annotated[int | float, _within(1, 1e30)]
Seconds = Annotated[int | float, _within(1e-9, 1e9)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9:._-]*$")]
"""Part of a file's name, so nothing that leads out of its folder."""
StoredBudget = Annotated[
    Budget | None,
    BeforeValidator(_budget),
    PlainSerializer(lambda own: {own.name: own.value} if own else {}),
]
"""A budget, in a file ``{"threshold": 0.5}``; ``{}`` if the method has none."""
Json = dict[str, JsonValue]
"""A JSON object with arbitrary keys."""


class Record(BaseModel):
    """A part of a stored file.

    Types are strict: nothing is converted.  Unknown keys are kept, so an older version of LoTBench
    can rewrite a file of a newer version.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    # Pydantic's way to give unknown keys a type, here any JSON of limited depth.
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    def known(self) -> dict[str, Any]:
        """The values of the fields, without the unknown keys."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    def content(self) -> dict[str, Any]:
        """The content of the file, in the order of the fields, without defaults."""
        return self.model_dump(exclude_unset=True)


class Stored(Record):
    """A record with a file of its own, ``<folder>/<id>.json``."""

    FOLDER: ClassVar[str]
    ID: ClassVar[str]
    """Name of the field with the file's name."""

    @property
    def id(self) -> str:
        """The name of the file, without ``.json``."""
        return getattr(self, self.ID)


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

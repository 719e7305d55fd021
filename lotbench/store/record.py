"""The base class of all records; it keeps unknown keys and the order of keys in a file."""

from __future__ import annotations

import reprlib
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ModelWrapValidatorHandler,
    PlainSerializer,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from lotbench.budget import Budget

LARGEST = 1e300


def _ordinary(value: int | float) -> int | float:
    if abs(value) > LARGEST:  # 1e999 in a file is infinite, too
        raise ValueError("a number is beyond 1e300")
    return value


def _above_zero(value: int | float) -> int | float:
    if value <= 0:
        raise ValueError("a ratio is not above zero")
    return value


def _budget(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if len(value) > 1:
        raise ValueError("more than one budget")
    return next((Budget(*pair) for pair in value.items()), None)


Number = Annotated[int | float, AfterValidator(_ordinary)]
"""An int stays an int, so that an old file is the same when it is written again."""
Ratio = Annotated[Number, AfterValidator(_above_zero)]
"""A number above zero: figures have log axes."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9:._-]*$")]
"""Part of a file's name, so nothing that leads out of its folder."""
StoredBudget = Annotated[
    Budget | None,
    BeforeValidator(_budget),
    PlainSerializer(lambda own: {own.name: own.value} if own else {}),
]
"""A budget, in a file ``{"threshold": 0.5}``; ``{}`` if the method has none."""
Json = dict[str, JsonValue]
"""A JSON object with arbitrary keys."""

EXPECTED = {
    "model_type": "an object",
    "dict_type": "an object",
    "list_type": "a list",
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_pattern_mismatch": "a name of letters, digits, dots, hyphens and underscores",
}


class Record(BaseModel):
    """A part of a stored file.

    Types are strict: nothing is converted.  Unknown keys are kept, so an older version of LoTBench
    can rewrite a file of a newer version.
    """

    model_config = ConfigDict(
        extra="allow", strict=True, frozen=True, use_attribute_docstrings=True
    )

    # Pydantic's way to give unknown keys a type, here any JSON of limited depth.
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    _keys: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _remember_keys(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        record = handler(data)
        if isinstance(data, dict):
            record._keys = tuple(data)
        return record

    @model_serializer(mode="wrap")
    def _in_order(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found = handler(self)
        return {key: found[key] for key in dict.fromkeys((*self._keys, *found)) if key in found}

    def __eq__(self, other: object) -> bool:
        """True if both have the same keys and values, in any order."""
        if not isinstance(other, Record) or type(other) is not type(self):
            return False
        return self.content() == other.content()

    def content(self) -> dict[str, Any]:
        """The content of the file: the given keys in order, without defaults."""
        return self.model_dump(exclude_unset=True)


def complaint(error: ValidationError) -> str:
    """What is wrong with a record, in brief: all missing keys, or the first wrong value."""
    faults = error.errors(include_url=False)
    missing = [_path(fault["loc"]) for fault in faults if fault["type"] == "missing"]
    if missing:
        return f"no {', '.join(missing)}"
    fault = faults[0]
    kind = fault["type"]
    if not fault["loc"] and kind == "model_type":
        return "not a JSON object"
    if kind == "recursion_depth_exceeded":
        return "nested too deeply"
    if kind == "value_error":
        where = f"{_path(fault['loc'])}: " if fault["loc"] else ""
        return where + fault["msg"].removeprefix("Value error, ")
    # For a union, pydantic adds the name of the branch to the path.
    if fault["loc"][-1:] == ("int",):
        loc, wanted = fault["loc"][:-1], "a number"
    else:
        loc = fault["loc"]
        wanted = EXPECTED.get(kind, fault["msg"].removeprefix("Input should be "))
    return f"{_path(loc)} is {reprlib.repr(fault['input'])}, not {wanted}"


def _path(loc: tuple[str | int, ...]) -> str:
    return ".".join(map(str, loc))

"""The base class of all records: unknown keys are kept, and a file keeps the order of its keys."""

from __future__ import annotations

import reprlib
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

Number = int | float
"""Not `float` alone, which would turn 1 into 1.0 when an old file is written again."""
Json = dict[str, JsonValue]
"""An object whose keys LoTBench does not fix."""

EXPECTED = {
    "model_type": "an object",
    "dict_type": "an object",
    "list_type": "a list",
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
}


class Record(BaseModel):
    """A part of a stored file.

    Types are strict: nothing is converted.  A key that the class does not know is kept, so files of
    a newer version survive an older one.
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
        """What the file holds: the keys that were given, in their order, without defaults."""
        return self.model_dump(exclude_unset=True)


def complaint(error: ValidationError) -> str:
    """What is wrong with a record, in a few words: missing keys, or the first wrong value."""
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
        return fault["msg"].removeprefix("Value error, ")
    # The branches of a union have their names at the end of the path.
    if fault["loc"][-1:] == ("int",):
        loc, wanted = fault["loc"][:-1], "a number"
    else:
        loc = fault["loc"]
        wanted = EXPECTED.get(kind, fault["msg"].removeprefix("Input should be "))
    return f"{_path(loc)} is {reprlib.repr(fault['input'])}, not {wanted}"


def _path(loc: tuple[str | int, ...]) -> str:
    return ".".join(map(str, loc))

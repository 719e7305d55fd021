"""Faults of validated data in plain words: key path, what is wrong, what would be right."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from lotbench.errors import InputError, near_misses

KeyPath = tuple[str | int, ...]
Wording = Callable[[KeyPath, str], str]
"""Makes a line of a message from a key path and what is wrong there."""

Checked = TypeVar("Checked", bound=BaseModel)

PLAIN = {
    "missing": "required, but missing",
    "invalid_key": "a name must be text",
    "string_pattern_mismatch": "a name has only letters, digits, - and _",
    "model_type": "Input should be a mapping of keys to values",
    "model_attributes_type": "Input should be a mapping of keys to values",
    "dict_type": "Input should be a mapping of keys to values",
}
"""Messages by pydantic's type of error, where its own speak of Python."""

NUMBERS = ("int", "float")
"""Branches of a union, which pydantic adds to a location."""

GRID = "a grid is allowed only among the parameters of a method in a sweep"


def dotted(path: KeyPath) -> str:
    """The key path as a person writes it: ``tasks.imdb.limit``."""
    return ".".join(map(str, path))


def report_at(where: str) -> Wording:
    """A wording with a fixed place before the key path, such as ``methods.lot``."""
    return lambda path, message: f"{dotted((*filter(None, [where]), *path))}: {message}"


def validate(model: type[Checked], data: Any, report: Wording) -> Checked:
    """The data as an instance of the model."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = _faults(model, data, error)
        raise InputError("\n".join(report(*fault) for fault in faults.items())) from None


def first_fault(error: ValidationError) -> str:
    """The first fault of a record with its key path, such as ``seed: required, but missing``."""
    if any(fault["type"] == "recursion_depth_exceeded" for fault in error.errors()):
        return "nested too deeply"
    faults = [
        (tuple(part for part in fault["loc"] if part not in NUMBERS), fault)
        for fault in error.errors(include_url=False)
    ]
    path = faults[0][0]
    message = _message([fault for other, fault in faults if other == path])
    return f"{dotted(path)}: {message}" if path else message


def strict_numbers(schema: Any) -> Any:
    """A schema of pydantic's core in which numbers and booleans are strict, at any depth."""
    if isinstance(schema, list | tuple):
        return type(schema)(map(strict_numbers, schema))
    if not isinstance(schema, dict):
        return schema
    strict = {"strict": True} if schema.get("type") in ("int", "float", "bool") else {}
    kept = ("metadata", "default", "expected")
    inner = {k: v if k in kept else strict_numbers(v) for k, v in schema.items()}
    return inner | strict


def _faults(model: type[BaseModel], data: Any, error: ValidationError) -> dict[KeyPath, str]:
    """The messages by key path.  Branches of a union that fail at one place share a message."""
    by_path: dict[KeyPath, list[Any]] = {}
    for fault in error.errors():
        by_path.setdefault(_key_path(data, fault), []).append(fault)
    messages = {}
    for path, faults in by_path.items():
        inner = (other for other in by_path if other != path and other[: len(path)] == path)
        # A union with a branch of the right kind, whose own fault says more.
        if all(len(fault["loc"]) > len(path) for fault in faults) and any(inner):
            continue
        if faults[0]["type"] == "extra_forbidden":
            known = list(_fields(_model_at(model, path[:-1])))
            messages[path] = f"unknown key; {near_misses(str(path[-1]), known)}"
        else:
            messages[path] = _message(faults)
    return messages


def _key_path(data: Any, fault: Any) -> KeyPath:
    """The key path in the data; pydantic's location also names union branches."""
    path: list[str | int] = []
    last = len(fault["loc"]) - 1
    for i, part in enumerate(fault["loc"]):
        absent = i == last and fault["type"] in ("missing", "invalid_key")
        if isinstance(data, dict) and (part in data or absent):
            data = data.get(part)
        elif isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            continue
        path.append(part)
    return tuple(path)


def _message(faults: list[Any]) -> str:
    """Faults of one place in a line: the message of each union branch, and the given value."""
    kind, value = faults[0]["type"], faults[0]["input"]
    if kind != "value_error" and isinstance(value, dict) and "grid" in value:
        return GRID
    texts = [PLAIN.get(fault["type"], str(fault["msg"])) for fault in faults]
    first, *others = dict.fromkeys(text.replace(" after validation", "") for text in texts)
    first = first.removeprefix("Value error, ")
    message = " or ".join([first, *(text.removeprefix("Input should be ") for text in others)])
    # Of a whole section, the fault has named its key.
    if kind == "missing" or (kind == "value_error" and isinstance(value, dict)):
        return message
    return f"{message} (given: {json.dumps(value, default=str, skipkeys=True)[:60]})"


def _model_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel]:
    for part in path:
        field = _fields(model).get(str(part))
        model = (field and _inner_model(field.annotation)) or model
    return model


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by the names that a file gives them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_inner_model, get_args(annotation))), None)

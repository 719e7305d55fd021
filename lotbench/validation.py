"""Faults of validated data in plain words: key path, what is wrong, what would be right."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from lotbench.errors import InputError, near_misses

KeyPath = tuple[str | int, ...]
Report = Callable[[KeyPath, str], str]
"""Makes a line of a message from a key path and what is wrong there."""

Model = TypeVar("Model", bound=BaseModel)

PLAIN = {
    "missing": "required, but missing",
    "invalid_key": "a name must be text",
    "string_pattern_mismatch": "a name has only letters, digits, - and _",
    "model_type": "a mapping of keys to values is needed",
    "model_attributes_type": "a mapping of keys to values is needed",
    "dict_type": "a mapping of keys to values is needed",
}
"""Messages by pydantic's type of error, where its own speak of Python."""

BOUNDS = {
    "greater_than": "greater than",
    "greater_than_equal": "greater than or equal to",
    "less_than": "less than",
    "less_than_equal": "less than or equal to",
}

GRID = "a grid is allowed only among the parameters of a method"


def dotted(path: KeyPath) -> str:
    """The key path as a person writes it: ``tasks.imdb.limit``."""
    return ".".join(map(str, path))


def report_at(where: str) -> Report:
    """A report with a fixed place before the key path, such as ``methods.lot``."""
    return lambda path, message: f"{dotted((*filter(None, [where]), *path))}: {message}"


def validate(model: type[Model], data: Any, report: Report) -> Model:
    """The data as an instance of the model.

    Raises
    ------
    InputError
        One line for each fault, as ``report`` writes it.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = explain(model, data, error)
        raise InputError("\n".join(report(*fault) for fault in faults.items())) from None


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


def explain(model: type[BaseModel], data: Any, error: ValidationError) -> dict[KeyPath, str]:
    """What is wrong, by key path.  Branches of a union that fail at one place share a message."""
    found: dict[KeyPath, list[Any]] = {}
    for fault in error.errors():
        found.setdefault(_key_path(data, fault), []).append(fault)
    messages = {}
    for path, faults in found.items():
        inner = [other for other in found if len(other) > len(path) and other[: len(path)] == path]
        # The union has a branch of the right kind, whose own fault says more.
        if inner and all(len(fault["loc"]) > len(path) for fault in faults):
            continue
        messages[path] = _message(model, path, faults)
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


def _message(model: type[BaseModel], path: KeyPath, faults: list[Any]) -> str:
    kind, given = faults[0]["type"], faults[0]["input"]
    if kind == "extra_forbidden":
        return f"unknown key; {near_misses(str(path[-1]), _known(model, path[:-1]))}"
    if kind == "missing":
        return PLAIN[kind]
    if isinstance(given, dict) and "grid" in given and kind != "value_error":
        return GRID
    texts = [PLAIN.get(fault["type"]) or _shortened(fault["msg"]) for fault in faults]
    if kind in BOUNDS:
        texts[0] += _other_bounds(model, path, kind)
    first, *others = dict.fromkeys(texts)
    message = " or ".join([first, *(text.removeprefix("Input should be ") for text in others)])
    whole = isinstance(given, dict) and kind == "value_error"
    return message if whole else f"{message} (given: {_as_written(given)})"


def _other_bounds(model: type[BaseModel], path: KeyPath, failed: str) -> str:
    """The bound of a number that it keeps, beside the one that it misses: `` and less than 1``."""
    parts = [part for part in path if isinstance(part, str)]
    field = _fields(_model_at(model, tuple(parts[:-1]))).get(parts[-1]) if parts else None
    if field is None:
        return ""
    found = dict(_bounds_in([*field.metadata, field.annotation]))
    others = [f" and {BOUNDS[kind]} {found[kind]:g}" for kind in found if kind != failed]
    return others[0] if len(others) == 1 else ""


def _bounds_in(parts: Iterable[Any]) -> Iterator[tuple[str, float]]:
    """The bounds in annotations and their metadata, at any depth, by pydantic's type of error."""
    for part in parts:
        for kind, name in zip(BOUNDS, ("gt", "ge", "lt", "le"), strict=True):
            if isinstance(bound := getattr(part, name, None), int | float):
                yield kind, bound
        if not isinstance(part, type):
            yield from _bounds_in([*getattr(part, "metadata", ()), *get_args(part)])


def _shortened(text: str) -> str:
    return text.removeprefix("Value error, ").replace(" after validation", "")


def _as_written(value: Any) -> str:
    try:
        return json.dumps(value, default=str)[:60]
    except (TypeError, ValueError):  # keys that are not text, whole numbers without end
        return type(value).__name__


def _known(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys of the model at a key path, as a file names them."""
    return list(_fields(_model_at(model, path)))


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

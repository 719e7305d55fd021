"""Strict sections of a configuration, and pydantic's complaints in the words of the file."""

from __future__ import annotations

import json
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from lotbench.config.strict_yaml import Document, KeyPath
from lotbench.errors import InputError, near_misses


class Section(BaseModel):
    """One section of a configuration: no unknown keys, no silent conversion, no change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=Section)


def validate(model: type[Model], document: Document) -> Model:
    """The document as an instance of the section class.

    Raises
    ------
    InputError
        One line for each fault: file and line, key path, what is wrong and the mend.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        messages: dict[KeyPath, str] = {}
        for fault in error.errors():
            path = _real_path(document.data, fault["loc"])
            messages.setdefault(path, document.fault(path, _explain(model, path, fault)))
        raise InputError("\n".join(messages.values())) from None


def _real_path(data: Any, loc: tuple[str | int, ...]) -> KeyPath:
    """The key path in the file; pydantic also names union branches and dictionary keys."""
    path: list[str | int] = []
    for i, part in enumerate(loc):
        if isinstance(data, dict) and (part in data or i == len(loc) - 1):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int):
            data = data[part]
        else:
            continue
        if part != "[key]":
            path.append(part)
    return tuple(path)


def _explain(model: type[Section], path: KeyPath, fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        known = list(_section(model, path[:-1]).model_fields)
        return f"unknown key; {near_misses(str(path[-1]), known)}"
    if fault["type"] == "missing":
        return "required, but missing"
    given = fault["input"]
    if isinstance(given, dict) and "grid" in given:
        return "a grid is allowed only among the parameters of a method"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "string_pattern_mismatch":
        message = "a name has only letters, digits, - and _"
    return f"{message} (given: {json.dumps(given, default=str)[:60]})"


def _section(model: type[Section], path: KeyPath) -> type[Section]:
    """The section class that stands at a key path."""
    for part in path:
        field = model.model_fields.get(str(part))
        model = (field and _find_section(field.annotation)) or model
    return model


def _find_section(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(_find_section, get_args(annotation))), None)

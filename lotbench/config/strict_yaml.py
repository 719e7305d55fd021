"""Strict YAML: no duplicate keys, a line number for every key, ``--set`` overrides."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lotbench.errors import InputError, near_misses

KeyPath = tuple[str | int, ...]


@dataclass
class Document:
    """A configuration file: its data, and the place of every key path.

    ``places`` maps a key path to what an error message shows: ``file:line``, or ``--set`` for a
    value from the command line.
    """

    file: str
    data: dict[str, Any]
    places: dict[KeyPath, str] = field(default_factory=dict)

    def fault(self, path: KeyPath, message: str) -> str:
        """The message with file, line and key path before it."""
        known = path
        while known and known not in self.places:
            known = known[:-1]
        place = self.places.get(known, self.file)
        return f"{place}: {dotted(path)}: {message}" if path else f"{place}: {message}"


def dotted(path: KeyPath) -> str:
    """The key path as a person writes it: ``tasks.imdb.limit``."""
    return ".".join(map(str, path))


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Checked while composing: later, merge keys (<<) have put honest repetitions in the node.
        node = super().compose_mapping_node(anchor)
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in first:
                raise InputError(
                    f"{self.name}:{line}: duplicate key {key.value!r} (first on line "
                    f"{first[key.value]}); remove one of them"
                )
            first[key.value] = line
        return node


# YAML 1.1 reads 5e-5 as text; everybody who writes it means a number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def read_yaml(path: str | Path, overrides: Sequence[str] = ()) -> Document:
    """The file as a `Document`, with overrides of the form ``a.b=c`` applied.

    Raises
    ------
    InputError
        Missing or unreadable file, YAML that does not parse, duplicate key, bad override.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"{path}: cannot read the configuration file ({reason})") from error
    document = Document(str(path), {})
    data = _parse(text, str(path), document)
    if not isinstance(data, dict):
        raise InputError(f"{path}: a configuration is a mapping of keys to values; see sweeps/")
    document.data = data
    for override in overrides:
        _apply(document, override)
    return document


def values(overrides: Sequence[str]) -> dict[str, Any]:
    """What overrides alone say, each value read as YAML.

    Raises
    ------
    InputError
        Bad override.
    """
    document = Document("--set", {})
    for override in overrides:
        _apply(document, override)
    return document.data


def _parse(text: str, name: str, document: Document | None = None) -> Any:
    loader = None
    try:
        loader = _Loader(text)
        loader.name = name
        node = loader.get_single_node()
        return None if node is None else _build(loader, node, (), (), document)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(f"{name}{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{name}: not valid YAML: {error}") from error
    finally:
        if loader is not None:
            loader.dispose()


def _build(
    loader: _Loader,
    node: yaml.Node,
    path: KeyPath,
    parents: tuple[yaml.Node, ...],
    document: Document | None,
) -> Any:
    """Plain dicts, lists and scalars; an alias becomes a copy, so overrides change one place."""
    line = f"{loader.name}:{node.start_mark.line + 1}"
    where = f"{line}: {dotted(path)}" if path else line
    if node in parents:
        raise InputError(f"{where}: an alias that contains itself")
    parents = (*parents, node)
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _scalar(loader, key_node, f"{where}: key")
            if not isinstance(key, str):
                raise InputError(f"{where}: key {key!r} is not text; put it in quotes")
            if document is not None:
                place = f"{loader.name}:{key_node.start_mark.line + 1}"
                document.places[(*path, key)] = place
            mapping[key] = _build(loader, value_node, (*path, key), parents, document)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        if document is not None:
            for i, item in enumerate(node.value):
                document.places[(*path, i)] = f"{loader.name}:{item.start_mark.line + 1}"
        return [
            _build(loader, item, (*path, i), parents, document) for i, item in enumerate(node.value)
        ]
    return _scalar(loader, node, where)


def _scalar(loader: _Loader, node: yaml.Node, where: str) -> Any:
    try:
        value = loader.construct_object(node, deep=True)
    except ValueError as error:  # such as the date 2024-13-45
        raise InputError(f"{where}: {node.value!r}: {error}; put it in quotes") from error
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where}: {node.value} is not a finite number")
    if value is not None and not isinstance(value, bool | int | float | str):
        raise InputError(f"{where}: {node.value!r} is a {type(value).__name__}; put it in quotes")
    return value


def _apply(document: Document, override: str) -> None:
    """Set one value; sections in between may be absent, names chosen by the file may not."""
    key, equals, text = override.partition("=")
    keys = key.strip().split(".")
    if not equals or not all(keys):
        raise InputError(f"--set {override}: expected key.path=value, such as train.epochs=2")
    value = _parse(text, f"--set {override}")
    current: Any = document.data
    path: KeyPath = ()
    for part in keys[:-1]:
        step = _step(document, current, path, part, override)
        if isinstance(current, dict) and current.get(step) is None:
            current[step] = {}
        current = current[step]
        path = (*path, step)
    last = _step(document, current, path, keys[-1], override)
    current[last] = value
    path = (*path, last)
    for old in [place for place in document.places if place[: len(path)] == path]:
        del document.places[old]
    document.places[path] = "--set"


def _step(document: Document, current: Any, path: KeyPath, part: str, override: str) -> str | int:
    if isinstance(current, dict):
        if path in (("tasks",), ("methods",)) and part not in current:
            # A misspelt name would quietly become one more task or method.
            raise InputError(
                f"--set {override}: {document.file} has no {dotted((*path, part))}; "
                + near_misses(part, list(current))
            )
        return part
    if isinstance(current, list) and part.isdigit() and int(part) < len(current):
        return int(part)
    if isinstance(current, list):
        raise InputError(
            f"--set {override}: {dotted(path)} is a list of {len(current)}; "
            f"name an entry by its number, such as {dotted((*path, 0))}"
        )
    raise InputError(f"--set {override}: {dotted(path)} is a single value, it has no keys")

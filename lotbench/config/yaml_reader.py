"""Strict YAML: no duplicate keys, plain values only, a line number for every key."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml

from lotbench.config.document import Document
from lotbench.errors import InputError
from lotbench.validation import KeyPath, dotted


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Checked before `flatten_mapping` adds merged keys (<<), which may repeat others.
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


# YAML 1.1 reads 5e-5 as text, but it always means a number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def read_yaml(path: str | Path) -> Document:
    """The file as a `Document`.

    Raises
    ------
    InputError
        If the file cannot be read, is not valid YAML, has a duplicate key, or has a value that is
        not a text, number, boolean, list or mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"{path}: cannot read the configuration file ({reason})") from error
    data, places = parse(text, str(path))
    if not isinstance(data, dict):
        raise InputError(f"{path}: a configuration is a mapping of keys to values; see sweeps/")
    return Document(str(path), data, places)


def parse(text: str, name: str) -> tuple[Any, dict[KeyPath, str]]:
    """The value of a YAML text, and the place of each key path as ``name:line``.

    Raises
    ------
    InputError
        As for `read_yaml`.
    """
    try:
        reader = _Reader(text, name)
        node = reader.loader.get_single_node()
        return (None if node is None else reader.build(node, (), ())), reader.places
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(f"{name}{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{name}: not valid YAML: {error}") from error


class _Reader:
    """Turns the nodes of a YAML text into plain values, and records their lines."""

    def __init__(self, text: str, name: str) -> None:
        self.loader = _Loader(text)
        self.loader.name = name
        self.places: dict[KeyPath, str] = {}

    def build(self, node: yaml.Node, path: KeyPath, parents: tuple[yaml.Node, ...]) -> Any:
        """The node's value; an alias becomes a copy, so that an override changes one place."""
        if node in parents:
            raise InputError(f"{self.where(node, path)}: an alias that contains itself")
        parents = (*parents, node)
        if isinstance(node, yaml.MappingNode):
            self.loader.flatten_mapping(node)
            mapping: dict[str, Any] = {}
            for key_node, value in node.value:
                key = self.scalar(key_node, f"{self.where(node, path)}: key")
                if not isinstance(key, str):
                    where = self.where(node, path)
                    raise InputError(f"{where}: key {key!r} is not text; put it in quotes")
                self.places[(*path, key)] = self.where(key_node)
                mapping[key] = self.build(value, (*path, key), parents)
            return mapping
        if isinstance(node, yaml.SequenceNode):
            items = []
            for i, item in enumerate(node.value):
                self.places[(*path, i)] = self.where(item)
                items.append(self.build(item, (*path, i), parents))
            return items
        return self.scalar(node, self.where(node, path))

    def scalar(self, node: yaml.Node, where: str) -> Any:
        """A text, number, boolean or None."""
        written = node.value if isinstance(node.value, str) else "a list or mapping"
        try:
            value = self.loader.construct_object(node, deep=True)
        except yaml.YAMLError:
            raise
        except Exception as error:  # pyyaml does not catch what Python's constructors raise
            kind = node.tag.rpartition(":")[2]
            raise InputError(
                f"{where}: {written[:60]!r} is not a valid {kind}; put it in quotes"
            ) from error
        if isinstance(value, int | float) and not _is_finite(value):
            raise InputError(f"{where}: {written[:60]} is not a finite number")
        if value is not None and not isinstance(value, bool | int | float | str):
            kind = type(value).__name__
            raise InputError(f"{where}: {written!r} is a {kind}; put it in quotes")
        if isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
            raise InputError(
                f"{where}: {value!r} has a character that is not allowed in text; remove it"
            )
        return value

    def where(self, node: yaml.Node, path: KeyPath = ()) -> str:
        """``name:line`` of a node, followed by its key path if given."""
        place = f"{self.loader.name}:{node.start_mark.line + 1}"
        return f"{place}: {dotted(path)}" if path else place


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer too large for a float
        return False

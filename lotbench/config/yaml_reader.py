"""Strict YAML: no duplicate keys, plain values only, a line number for every key."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml

from lotbench.config.bounds import DEPTH, FILE_BYTES, VALUES, written
from lotbench.config.document import Document
from lotbench.errors import InputError
from lotbench.validation import KeyPath, dotted


class _Loader(yaml.SafeLoader):
    """Composes nodes within the bounds; an alias counts as what it stands for."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.depth = self.count = 0
        self.sizes: dict[int, tuple[int, int]] = {}  # of each node: its values and its depth

    def compose_node(self, parent: Any, index: Any) -> Any:
        line = self.peek_event().start_mark.line + 1
        self.depth, self.count = self.depth + 1, self.count + 1
        self._check(line, self.count, self.depth)
        node = super().compose_node(parent, index)
        self.depth -= 1
        if node is not None and id(node) not in self.sizes:
            # A node that is not finished contains itself, which `_Reader` refuses.
            inner = [self.sizes.get(id(child), (1, 1)) for child in _children(node)]
            size = 1 + sum(count for count, _ in inner)
            self.sizes[id(node)] = size, 1 + max([0, *(depth for _, depth in inner)])
            self._check(line, *self.sizes[id(node)])
        return node

    def _check(self, line: int, count: int, depth: int) -> None:
        if depth > DEPTH:
            raise InputError(
                f"{self.name}:{line}: nested more than {DEPTH} levels deep, aliases included; "
                "write it flatter"
            )
        if count > VALUES:
            raise InputError(
                f"{self.name}:{line}: {written(count)} values or more, aliases written out; "
                f"at most {VALUES:,} are read"
            )

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


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


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
        with Path(path).open("rb") as file:
            content = file.read(FILE_BYTES + 1)
        if len(content) > FILE_BYTES:
            raise InputError(
                f"{path}: larger than {FILE_BYTES:,} bytes, the most that is read of a "
                "configuration; divide it"
            )
        text = content.decode()
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a NUL in the path
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
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError(
            f"{name}:{line}: not valid YAML: the character #x{error.character:04x} is not "
            "allowed; remove it"
        ) from error


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

"""Strict YAML: no duplicate keys, plain values only, a line number for every key."""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar

import yaml
from yaml.constructor import ConstructorError

from lotbench.errors import InputError
from lotbench.validation import KeyPath

TAG = "tag:yaml.org,2002:"
PLAIN = tuple(TAG + name for name in ("null", "bool", "int", "float", "str"))
KEYS = tuple(TAG + name for name in ("str", "merge", "value"))
"""Tags of keys; ``<<`` and ``=`` have their own."""


class _Loader(yaml.SafeLoader):
    """Reads texts, numbers, booleans and null; a date is a text."""

    yaml_implicit_resolvers: ClassVar = {
        sign: [(tag, pattern) for tag, pattern in known if tag != TAG + "timestamp"]
        for sign, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors: ClassVar = {
        tag: build
        for tag, build in yaml.SafeLoader.yaml_constructors.items()
        if tag in (*PLAIN, None)
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Checked before `flatten_mapping` adds merged keys (<<), which may repeat others.
        node = super().compose_mapping_node(anchor)
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in KEYS:
                raise _fault(key, f"key {key.value!r:.60} is not text; put it in quotes")
            if key.value in first:
                before = f"first on line {first[key.value]}"
                raise _fault(key, f"duplicate key {key.value!r} ({before}); remove one of them")
            first[key.value] = key.start_mark.line + 1
        return node


# YAML 1.1 reads 5e-5 as text, but it always means a number.
_Loader.add_implicit_resolver(
    f"{TAG}float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _fault(node: yaml.Node, message: str) -> ConstructorError:
    return ConstructorError(None, None, message, node.start_mark)


def parse(text: str, name: str) -> tuple[Any, dict[KeyPath, str]]:
    """The value of a YAML text, and the place of each key path as ``name:line``."""
    places: dict[KeyPath, str] = {}
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return (None if node is None else _build(loader, node, name, (), places)), places
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        # A character that YAML does not allow has a position instead of a mark.
        line = mark.line if mark else text.count("\n", 0, getattr(error, "position", 0))
        reason = getattr(error, "problem", None) or str(error).split("\n")[0]
        raise InputError(f"{name}:{line + 1}: not valid YAML: {reason}") from error


def _build(
    loader: _Loader, node: yaml.Node, name: str, path: KeyPath, places: dict[KeyPath, str]
) -> Any:
    """The node's value; an alias becomes a copy, so that an override changes one place."""

    def inner(key: str | int, at: yaml.Node, value: yaml.Node) -> Any:
        places[(*path, key)] = f"{name}:{at.start_mark.line + 1}"
        return _build(loader, value, name, (*path, key), places)

    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)
        return {key.value: inner(key.value, key, value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [inner(i, item, item) for i, item in enumerate(node.value)]
    try:
        value = loader.construct_object(node)
        if isinstance(value, int | float) and not math.isfinite(value):
            raise ValueError
        return value
    except (ArithmeticError, LookupError, ValueError) as error:  # `!!int x`, or 400 digits
        kind = node.tag.removeprefix(TAG)
        raise _fault(
            node, f"{node.value[:60]!r} is not a valid {kind}; put a text in quotes"
        ) from error

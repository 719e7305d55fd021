"""Values from the command line: ``--set train.epochs=2``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lotbench.config.document import Document
from lotbench.config.yaml_reader import parse
from lotbench.errors import InputError, near_misses
from lotbench.validation import KeyPath, dotted

NAMED_BY_THE_FILE: tuple[KeyPath, ...] = (("tasks",), ("methods",))
"""Sections where overrides cannot add keys, since a misspelt key would be a new task or method."""

SHOWN = 80
"""Characters of an override that a message repeats."""


def override(document: Document, overrides: Sequence[str]) -> Document:
    """The document, changed in place by overrides of the form ``a.b=c``, each read as YAML.

    Raises
    ------
    InputError
        If an override cannot be parsed, or its key path does not fit the document.
    """
    for text in overrides:
        _apply(document, text)
    return document


def _apply(document: Document, text: str) -> None:
    """Set one value; missing sections on its path are created."""
    name, equals, written = text.partition("=")
    keys = name.strip().split(".")
    text = _shown(text)
    if not equals or not all(keys):
        raise InputError(f"--set {text}: expected key.path=value, such as train.epochs=2")
    value, _ = parse(written, f"--set {text}")
    current: Any = document.data
    path: KeyPath = ()
    for key in keys[:-1]:
        step = _step(document, current, path, key, text)
        if isinstance(current, dict) and current.get(step) is None:
            current[step] = {}
        current = current[step]
        path = (*path, step)
    last = _step(document, current, path, keys[-1], text)
    current[last] = value
    path = (*path, last)
    for old in [place for place in document.places if place[: len(path)] == path]:
        del document.places[old]
    document.places[path] = "--set"


def _step(document: Document, current: Any, path: KeyPath, key: str, text: str) -> str | int:
    """The key or list index that ``key`` stands for at a path."""
    if isinstance(current, dict):
        if path in NAMED_BY_THE_FILE and key not in current:
            raise InputError(
                f"--set {text}: {document.file} has no {dotted((*path, key))}; "
                + near_misses(key, list(current))
            )
        return key
    if not isinstance(current, list):
        raise InputError(f"--set {text}: {dotted(path)} is a single value, it has no keys")
    if key.isdecimal() and int(key) < len(current):
        return int(key)
    raise InputError(
        f"--set {text}: {dotted(path)} is a list of {len(current)}; "
        f"name an entry by its number, such as {dotted((*path, 0))}"
    )


def _shown(text: str) -> str:
    """The override in a message: in one line, cut where it is long."""
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."

"""A configuration file: its data, the line of every key, and overrides from the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lotbench.config.yaml_reader import parse
from lotbench.errors import InputError, near_misses
from lotbench.validation import KeyPath, dotted

FILE_BYTES = 1_000_000
"""The most that is read of a configuration file."""
NAMED_BY_THE_FILE: tuple[KeyPath, ...] = (("tasks",), ("methods",))
"""Sections where overrides cannot add keys, since a misspelt key would be a new task or method."""


@dataclass
class Document:
    """A configuration file."""

    file: str
    """Its path as given; empty for data without a file."""
    data: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, str] = field(default_factory=dict)
    """The origin of each key path, for messages: ``file:line``, or ``--set`` for a value from the
    command line."""

    def fault(self, path: KeyPath, message: str) -> str:
        """The message, preceded by file, line and key path."""
        return ": ".join(filter(None, [self.line(path), dotted(path), message]))

    def line(self, path: KeyPath) -> str:
        """``file:line`` of a key path, or of its nearest parent in the file."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, self.file)

    @contextmanager
    def at(self, path: KeyPath) -> Iterator[None]:
        """Adds file and line to the message of an `InputError` that ends the block."""
        try:
            yield
        except InputError as error:
            raise InputError(": ".join(filter(None, [self.line(path), str(error)]))) from error

    def override(self, texts: Sequence[str]) -> Document:
        """Sets values in place, each given as ``a.b=c`` with ``c`` in YAML; returns the document.

        Missing sections on the way are created.
        """
        for text in texts:
            name, equals, written = text.partition("=")
            keys = name.strip().split(".")
            if not equals or not all(keys):
                message = "expected key.path=value, such as train.epochs=2"
                raise InputError(f"--set {text[:80]!r}: {message}")
            value, _ = parse(written, f"--set {name}")
            self._set(keys, value)
        return self

    def _set(self, keys: Sequence[str], value: Any) -> None:
        current: Any = self.data
        path: KeyPath = ()
        for key in keys:
            path = (*path, self._step(current, path, key))
            if len(path) == len(keys):
                current[path[-1]] = value
            elif isinstance(current, dict) and current.get(key) is None:
                current[key] = {}
            current = current[path[-1]]
        for old in [place for place in self.places if place[: len(path)] == path]:
            del self.places[old]
        self.places[path] = "--set"

    def _step(self, current: Any, path: KeyPath, key: str) -> str | int:
        """The key, or index of a list, that ``key`` stands for at a path."""
        known = list(current) if isinstance(current, dict) else []
        if isinstance(current, list):
            known = [str(i) for i in range(len(current))]
        if key not in known and (path in NAMED_BY_THE_FILE or not isinstance(current, dict)):
            full = dotted((*path, key))
            raise InputError(f"--set: {self.file} has no {full}; {near_misses(key, known)}")
        return int(key) if isinstance(current, list) else key


def read_document(path: str | Path) -> Document:
    """The YAML file as a `Document`."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(FILE_BYTES + 1)
        if len(content) > FILE_BYTES:
            raise ValueError(f"larger than {FILE_BYTES:,} bytes; divide it")
        data, places = parse(content.decode(), str(path))
        if not isinstance(data, dict):
            raise ValueError("a configuration is a mapping of keys to values; see sweeps/")
    except (OSError, ValueError) as error:  # ValueError: also text that is not UTF-8
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read as a configuration: {reason}") from error
    return Document(str(path), data, places)


@dataclass(frozen=True)
class Place:
    """Where a document describes the method of a trial."""

    document: Document
    path: KeyPath
    """Of the method's parameters."""
    chosen: dict[KeyPath, KeyPath] = field(default_factory=dict)
    """For each key path of a grid, relative to ``path``, the keys that lead to the chosen entry,
    such as ``("grid", 1)``."""
    name: KeyPath = ()
    """Of the method's name, relative to ``path``; empty if the last key is the name."""

    def fault(self, path: KeyPath, message: str) -> str:
        """The message, preceded by file, line and key path; ``path`` is relative to the parameters.

        A fault in a whole grid entry is reported at the key of the grid.
        """
        full = self.path
        for depth, part in enumerate(path):
            full = (*full, *self.chosen.get(path[:depth], ()), part)
        return self.document.fault(full, message)

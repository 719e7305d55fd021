"""A configuration file: its data, and the line of every key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lotbench.errors import InputError
from lotbench.validation import KeyPath, dotted


@dataclass
class Document:
    """A configuration file.

    Attributes
    ----------
    file : str
        Its path as given; empty for data without a file.
    data : dict
    places : dict
        The origin of each key path, for messages: ``file:line``, or ``--set`` for a value from the
        command line.
    """

    file: str
    data: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, str] = field(default_factory=dict)

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
        """Adds file and line to the message of an `InputError` from inside the block."""
        try:
            yield
        except InputError as error:
            raise InputError(": ".join(filter(None, [self.line(path), str(error)]))) from error


@dataclass(frozen=True)
class Place:
    """Where a document describes the method of a trial.

    Attributes
    ----------
    document : Document
    path : tuple
        Key path of the method's parameters.
    chosen : dict
        For each key path of a grid, relative to ``path``, the keys that lead to the chosen entry,
        such as ``("grid", 1)``.
    name : tuple
        Key path of the method's name, relative to ``path``; empty if the last key is the name.
    """

    document: Document
    path: KeyPath
    chosen: dict[KeyPath, KeyPath] = field(default_factory=dict)
    name: KeyPath = ()

    def fault(self, path: KeyPath, message: str) -> str:
        """The message, preceded by file, line and key path; ``path`` is relative to the parameters.

        A fault in a whole grid entry is reported at the key of the grid.
        """
        full = self.path
        for depth, part in enumerate(path):
            full = (*full, *self.chosen.get(path[:depth], ()), part)
        return self.document.fault(full, message)

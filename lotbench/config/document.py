"""A configuration file as read: its data, and the line of every key."""

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
        Its path as given; empty for data that no file holds.
    data : dict
    places : dict
        For each key path what a message shows: ``file:line``, or ``--set`` for a value from the
        command line.
    """

    file: str
    data: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, str] = field(default_factory=dict)

    def fault(self, path: KeyPath, message: str) -> str:
        """The message with file, line and key path before it."""
        return ": ".join(filter(None, [self.line(path), dotted(path), message]))

    def line(self, path: KeyPath) -> str:
        """``file:line`` of a key path, or of the nearest one around it that the file has."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, self.file)

    @contextmanager
    def at(self, path: KeyPath) -> Iterator[None]:
        """Puts file and line before the message of an `InputError` that is raised inside."""
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
        For each key path of a grid, below ``path``, the way to the entry that the trial takes,
        such as ``("grid", 1)``.
    name : tuple
        Key path of the method's name below ``path``; empty where the last key is the name.
    """

    document: Document
    path: KeyPath
    chosen: dict[KeyPath, KeyPath] = field(default_factory=dict)
    name: KeyPath = ()

    def fault(self, path: KeyPath, message: str) -> str:
        """The message with file, line and key path before it; ``path`` is below the method's.

        A fault of a grid's whole entry is reported at the key of the grid.
        """
        full = self.path
        for depth, part in enumerate(path):
            full = (*full, *self.chosen.get(path[:depth], ()), part)
        return self.document.fault(full, message)

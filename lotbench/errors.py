"""The errors that users see without a traceback: bad input, and a dead worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

NOTE = 25
"""Level of a log line that is shown once, as a note; the workers of Ray do not print it."""


class InputError(Exception):
    """Bad input from outside (YAML, data, plugin, checkpoint): names the place and the remedy.

    The command line prints the message alone and exits with code 2.
    """


class Faults:
    """The messages of several checks, so that one fault hides no other."""

    def __init__(self) -> None:
        self.messages: dict[str, None] = {}

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keeps the message of an `InputError` that ends the block."""
        try:
            yield
        except InputError as error:
            self.messages |= dict.fromkeys(str(error).splitlines())

    def check(self) -> None:
        """Raises one `InputError` with every message, each once; nothing if there is none."""
        if self.messages:
            raise InputError("\n".join(self.messages))


class PassFailed(RuntimeError):
    """A timing worker or Ray died; the command prints the message and exits with code 1."""


def near_misses(name: str, known: list[str]) -> str:
    """A sentence naming the known words closest to ``name``, or all of them."""
    import difflib

    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(word) for word in close) + "?"
    return "known: " + (", ".join(sorted(known)) or "none")

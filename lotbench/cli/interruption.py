"""Ctrl-C: a command ends with a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Interrupted(Exception):
    """Ctrl-C; the message says what is kept and how to go on."""


@contextmanager
def kept(what: str) -> Iterator[None]:
    """Inside, Ctrl-C ends the command with a sentence, where typer would say nothing."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {what}") from None

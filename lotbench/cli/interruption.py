"""Ctrl-C and SIGTERM: a command ends with a sentence that says what is kept."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupted(Exception):
    """The message says what is kept and how to go on."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
        """The exit code: 130 for Ctrl-C, 143 for SIGTERM."""


@contextmanager
def kept(what: str) -> Iterator[None]:
    """Makes Ctrl-C and SIGTERM end the block with a sentence; typer would say nothing."""
    said, number = "interrupted", signal.SIGINT

    def terminate(*_: object) -> None:
        nonlocal said, number
        said, number = "terminated", signal.SIGTERM
        raise KeyboardInterrupt  # so that both clean up in the same way

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"{said}; {what}", 128 + number) from None
    finally:
        signal.signal(signal.SIGTERM, before)

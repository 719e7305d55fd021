"""News of long work: what runs elsewhere posts how far it is, and someone here reads it out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS = 60.0
"""How often the news are read out; they are posted four times as often, and when work changes."""


class Board:
    """How far each piece of running work is, a line for each."""

    def __init__(self) -> None:
        self.lines: dict[str, str] = {}

    def put(self, name: str, line: str | None) -> None:
        """Post a line, or take it down once the work is done."""
        self.lines.pop(name, None)
        if line is not None:
            self.lines[name] = line

    def read(self) -> list[str]:
        return [f"{name}: {line}" for name, line in self.lines.items()]


@contextmanager
def read_out(
    read: Callable[[], list[str]], say: Callable[[str], None], seconds: float = SECONDS
) -> Iterator[None]:
    """Inside, what ``read`` returns is said from time to time."""
    done = threading.Event()

    def tell() -> None:
        while not done.wait(seconds):
            for line in read():
                say(line)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def posted(
    put: Callable[[str, str | None], object], name: str, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[str, int, int], None]]:
    """A progress function (what, done, total) that posts under a name, taken down afterwards."""
    last, at = "", 0.0

    def post(what: str, done: int, total: int) -> None:
        nonlocal last, at
        if what != last or clock() - at >= SECONDS / 4:
            last, at = what, clock()
            put(name, f"{what}, step {done} of {total}")

    try:
        yield post
    finally:
        put(name, None)

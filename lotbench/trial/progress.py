"""Progress in steps: code that works calls `post`; who shows or limits the work listens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]
"""Called with (what, steps done, steps in all)."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


class TimeUp(Exception):
    """The work took longer than its limit; the message says where it was."""


def post(what: str, done: int, total: int) -> None:
    """Tell the listener, if there is one, that ``done`` of ``total`` steps are done."""
    listener = _listener.get()
    if listener is not None:
        listener(what, done, total)


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Makes `post` call this listener, if any, instead of that outside while the block runs."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Makes the first `post` after so many seconds raise `TimeUp`.

    The listener outside goes on listening.
    """
    outer, end = _listener.get(), time.monotonic() + seconds

    def listener(what: str, done: int, total: int) -> None:
        if outer is not None:
            outer(what, done, total)
        if time.monotonic() > end:
            raise TimeUp(f"{over_limit(seconds)}, in stage {what!r}, step {done} of {total}")

    with listening(listener):
        yield


def over_limit(seconds: float) -> str:
    """``took more than 24 h (train.max_minutes)``."""
    return f"took more than {duration(seconds)} (train.max_minutes)"


def duration(seconds: float) -> str:
    """A time in its largest unit: ``90 s`` or ``24 h``."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds:.3g} s"


def rough(seconds: float) -> str:
    """A time in its largest unit, in two digits or so: ``40 s``, ``12 min`` or ``2.4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def four_digits(score: float | None) -> str:
    """A score in four digits; ``undefined`` if there is none, as a correlation of equal numbers."""
    return "undefined" if score is None else f"{score:.4f}"

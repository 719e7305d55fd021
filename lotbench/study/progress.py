"""Progress in steps: code that works calls `report`, code that shows it uses `listening`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]
"""Called with (what, steps done, steps in all)."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def report(what: str, done: int, total: int) -> None:
    """Tell the listener, if there is one, that ``done`` of ``total`` steps are done."""
    listener = _listener.get()
    if listener is not None:
        listener(what, done, total)


@contextmanager
def following() -> Iterator[Callable[[], str]]:
    """Inside, the last progress is kept too; the function says it: ``stage 'route', step 3 of 9``.

    The listener outside goes on listening.
    """
    outer, last = _listener.get(), "preparation"

    def listener(what: str, done: int, total: int) -> None:
        nonlocal last
        last = f"stage {what!r}, step {done} of {total}"
        if outer is not None:
            outer(what, done, total)

    with listening(listener):
        yield lambda: last


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Inside, `report` calls this listener instead of the one outside."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)

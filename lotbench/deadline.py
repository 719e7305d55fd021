"""A time limit on code that may never return: a method's, or a plugin's import."""

from __future__ import annotations

import ctypes
import faulthandler
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

GRACE_SECONDS = 60.0
"""Time after the limit in which the code can be interrupted, before its process is ended."""


class TimeUp(Exception):
    """The code took longer than its limit; the traceback ends where it was interrupted."""


class _Interrupt(BaseException):
    # Not an Exception, or a method's own `except Exception` would take it.
    pass


@contextmanager
def limited(seconds: float, dump: IO[str] | None = None) -> Iterator[None]:
    """Interrupts the block after so many seconds.

    Python can interrupt a loop, but not a call of C code that does not return.  With ``dump`` the
    process is ended if it is still in the block `GRACE_SECONDS` later; the traceback of its threads
    is then in that file.

    Raises
    ------
    TimeUp
        If the block was interrupted.
    """
    # A type of its own, so that a limit inside another does not take the other's interrupt.
    interrupt = type("Interrupt", (_Interrupt,), {})
    thread, lock = ctypes.c_ulong(threading.get_ident()), threading.Lock()
    ended = sent = False
    send = ctypes.pythonapi.PyThreadState_SetAsyncExc

    def end() -> None:
        nonlocal sent
        with lock:
            if not ended:
                sent = bool(send(thread, ctypes.py_object(interrupt)))

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    if dump is not None:
        faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True, file=dump)
    try:
        yield
    except interrupt as error:
        up = TimeUp(f"took more than {duration(seconds)}")
        raise up.with_traceback(error.__traceback__) from None
    finally:
        with lock:
            ended = True
            if sent:  # and has perhaps not arrived
                send(thread, None)
        timer.cancel()
        if dump is not None:
            faulthandler.cancel_dump_traceback_later()


def duration(seconds: float) -> str:
    """A time as a person says it: ``90 s`` or ``24 h``."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds:.3g} s"

"""Ends a sweep in one sentence when a process of Ray itself dies.

Ray would leave the whole process some time later, with its own log in place of a message.
"""

from __future__ import annotations

import _thread
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lotbench.errors import PassFailed

if TYPE_CHECKING:
    import psutil

NEEDED = ("raylet", "gcs_server")
"""The processes without which no trial can start; Ray works without its others."""
EVERY = 0.5
"""Seconds between two looks."""


@contextmanager
def ray_death_ends_it() -> Iterator[None]:
    """Inside, the death of a process that Ray needs on this machine is a `PassFailed`."""
    import psutil

    children = [(child, child.name()) for child in psutil.Process().children()]
    needed = [(child, name) for child, name in children if name in NEEDED]
    over, dead = threading.Event(), []

    def watch() -> None:
        while not over.wait(EVERY):
            dead.extend(name for child, name in needed if _is_dead(child))
            if dead:
                _thread.interrupt_main()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    except KeyboardInterrupt:
        if not dead:
            raise
        raise PassFailed(
            f"Ray stopped (its {dead[0]} died); finished trials are kept, run it again to go on"
        ) from None
    finally:
        over.set()
        watcher.join()


def _is_dead(process: psutil.Process) -> bool:
    """True for a zombie, too: nobody has asked for its exit code."""
    import psutil

    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True

"""Ends a sweep in one sentence when a process of Ray itself dies.

Ray would end this process some time later, without a word of LoTBench, whatever is done meanwhile:
even an exception would often come too late.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

log = logging.getLogger(__name__)

NEEDED = ("raylet", "gcs_server")
"""The processes without which no trial can start; Ray works without its others."""
EVERY = 0.5
"""Seconds between two looks."""


@contextmanager
def ray_death_ends_it() -> Iterator[None]:
    """Inside, the death of a process that Ray needs on this machine ends this one, with code 1."""
    import psutil

    children = [(child, child.name()) for child in psutil.Process().children()]
    needed = [(child, name) for child, name in children if name in NEEDED]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(EVERY):
            for child, name in needed:
                if _is_dead(child):
                    kept = "finished trials are kept, run it again to go on"
                    log.error("Ray stopped (its %s died); %s", name, kept)
                    os._exit(1)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
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

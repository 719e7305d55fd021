"""Ends a sweep in one sentence when a process of Ray itself dies.

Ray would leave the whole process some time later, with its own log in place of a message.
"""

from __future__ import annotations

import _thread
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lotbench.errors import PassFailed

NEEDED = ("raylet", "gcs_server")
"""The processes without which no trial can start; Ray works without its others."""
EVERY = 0.5
"""Seconds between two looks."""


@contextmanager
def ray_death_ends_it() -> Iterator[None]:
    """Inside, the death of a process that Ray needs on this machine is a `PassFailed`."""
    from ray._private import worker

    node: Any = worker._global_node  # there is no public way to Ray's processes
    over, dead = threading.Event(), []

    def watch() -> None:
        while not over.wait(EVERY):
            dead.extend(name for name, _ in node.dead_processes() if name in NEEDED)
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

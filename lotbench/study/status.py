"""Progress of remote workers: each posts its status, the driver logs it once a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lotbench.study.progress import listening

log = logging.getLogger(__name__)

LOG_SECONDS = 60.0
POST_SECONDS = 15.0


QUIET_SECONDS = 120.0
"""A job that has posted nothing for so long is said to be quiet."""


class StatusBoard:
    """The latest status of each running job."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.statuses: dict[str, str] = {}
        self.posted: dict[str, float] = {}

    def post(self, job: str, status: str | None) -> None:
        """Replace the status of a job; None removes it."""
        self.statuses.pop(job, None)
        if status is not None:
            self.statuses[job], self.posted[job] = status, self.clock()

    def lines(self) -> list[str]:
        """One line per job, the latest status last; it says for how long a job has been quiet."""
        return [f"{job}: {status}{self._quiet(job)}" for job, status in self.statuses.items()]

    def _quiet(self, job: str) -> str:
        seconds = self.clock() - self.posted[job]
        if seconds < QUIET_SECONDS:
            return ""
        return f", nothing new for {seconds / 60:.0f} min (train.max_minutes ends it)"


@contextmanager
def posting(
    post: Callable[[str, str | None], object],
    job: str,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """Inside, the progress of a job is posted: at once when its work changes, else every 15 s.

    Before its first progress it has started.  Afterwards its status is removed.
    """
    last, at = "", 0.0
    post(job, "started")

    def listener(what: str, done: int, total: int) -> None:
        nonlocal last, at
        if what != last or clock() - at >= POST_SECONDS:
            last, at = what, clock()
            post(job, f"{what}, step {done} of {total}")

    try:
        with listening(listener):
            yield
    finally:
        post(job, None)


@contextmanager
def noting() -> Iterator[list[str]]:
    """Inside, LoTBench's warnings are collected, for a worker whose log the user does not see."""
    notes: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            notes.append(record.getMessage())

    collector, ours = Collector(logging.WARNING), logging.getLogger("lotbench")
    ours.addHandler(collector)
    try:
        yield notes
    finally:
        ours.removeHandler(collector)


@contextmanager
def logging_statuses(
    lines: Callable[[], list[str]], seconds: float = LOG_SECONDS
) -> Iterator[None]:
    """Inside, a thread logs the ``lines`` of a board every so many seconds."""
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(seconds):
            for line in lines():
                log.info(line)

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()

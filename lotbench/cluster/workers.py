"""Workers of Ray: each is set up and posts its progress to a board, which names those that hang."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import torch

from lotbench.cluster.watch import LINE_SECONDS, Watch
from lotbench.config.sections import TrialConfig
from lotbench.plan.plan import Plan
from lotbench.plan.resolve import resolve
from lotbench.store import bucket
from lotbench.store.rows import Searched
from lotbench.trial.planned import PlannedTrial
from lotbench.trial.progress import listening, over_limit

log = logging.getLogger(__name__)

GRACE_SECONDS = 60.0
"""Time after the limit in which a job can end by itself, at its next step."""
POST_SECONDS = 15.0
QUIET_SECONDS = 120.0
"""A job that has posted nothing for so long is said to be quiet."""
WAITING = "waiting for Ray to start a worker"


@dataclass
class Job:
    """The work of one worker: a trial, or the teacher of some trials."""

    id: str
    label: str
    configs: list[TrialConfig]
    seconds: float
    """The time limit."""
    store: str
    """Its folder, or its URI: each machine has a mirror of its own."""
    threads: int
    start: Path
    """The folder in which the sweep was started."""
    mark: Searched | None = None
    """The place of a trial in a search."""
    status: str = "started"
    begun: float = 0.0
    posted: float = 0.0
    worker: Any = None
    """The actor that runs it; None for a task of Ray."""

    @property
    def folder(self) -> Path:
        """That of the store on this machine."""
        return bucket.mirror(self.store)


class Board:
    """The running jobs and their latest status; an actor of Ray."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.hung: set[str] = set()
        self.said = time.monotonic() - LINE_SECONDS / 2  # Ray has taken time to start

    def begin(self, job: Job) -> bool:
        """Adds a job; False if it hung before, so that it must not be tried again."""
        if job.id not in self.hung:
            job.begun = job.posted = time.monotonic()
            self.jobs[job.id] = job
        return job.id not in self.hung

    def post(self, job_id: str, status: str) -> None:
        """Replaces the status of a job, if it is there."""
        if job := self.jobs.get(job_id):
            job.status, job.posted = status, time.monotonic()

    def end(self, job_id: str) -> None:
        """Removes a job, if it is there."""
        self.jobs.pop(job_id, None)

    def doing(self) -> list[str]:
        """What each job does now."""
        return [f"{job.label}: {job.status}" for job in self.jobs.values()] or [WAITING]

    def look(self) -> tuple[list[str], list[tuple[Job, str]]]:
        """Now and then a line on each job; and the jobs that hang past their limit, and why.

        The latter are removed, since they must be ended.
        """
        now = time.monotonic()
        hung = [job for job in self.jobs.values() if now > job.begun + job.seconds + GRACE_SECONDS]
        for job in hung:
            self.hung.add(job.id)
            self.end(job.id)
        why = "in a call that did not return, so its worker was ended; its last news was:"
        reasons = [(job, f"{over_limit(job.seconds)} {why} {job.status}") for job in hung]
        if now - self.said < LINE_SECONDS:
            return [], reasons
        self.said = now
        lines = []
        for job in self.jobs.values():
            quiet = (now - job.posted) / 60
            note = f", nothing new for {quiet:.0f} min (train.max_minutes ends it)"
            lines.append(f"{job.label}: {job.status}{note if quiet * 60 >= QUIET_SECONDS else ''}")
        return lines or [WAITING], reasons


def job_of(planned: Plan, name: str, label: str, trials: list[PlannedTrial], threads: int) -> Job:
    """The job of a trial, or of the teacher of these trials."""
    configs, store = [trial.config for trial in trials], bucket.address(planned.folder)
    seconds = configs[0].train.max_minutes * 60
    return Job(name, label, configs, seconds, store, threads, Path.cwd(), trials[0].mark)


def look(board: Any, end: Callable[[Job], object], watch: Watch) -> dict[str, str]:
    """Why jobs are ended that hang past their limit, by id; logs what each job does, when due."""
    watch.doing, (lines, hung) = ray.get([board.doing.remote(), board.look.remote()])
    for line in lines if not watch.shown else ():
        log.info(line)
    for job, _ in hung:
        end(job)
    return {job.id: why for job, why in hung}


@contextmanager
def working(job: Job, board: Any) -> Iterator[list[PlannedTrial]]:
    """The resolved trials of a job, in a worker that is set up and posts its progress.

    Empty if the job must not be tried again.
    """
    # Relative paths of a sweep file are relative to where the sweep was started, but the workers of
    # a running cluster are in the folder where the cluster was started.
    with suppress(OSError):  # a machine without it can still read full paths
        os.chdir(job.start)
    context = ray.get_runtime_context()
    job.worker = context.current_actor if context.get_actor_id() else None
    if not ray.get(board.begin.remote(job)):
        yield []
        return
    try:
        # A class of a plugin can only be unpickled where the plugin was imported, so the
        # configuration travels, and the trial is resolved again.
        trials = [replace(resolve(config), mark=job.mark) for config in job.configs]
        torch.set_num_threads(job.threads)
        with posting(lambda status: board.post.remote(job.id, status)):
            yield trials
    finally:
        board.end.remote(job.id)


@contextmanager
def posting(post_status: Callable[[str], object]) -> Iterator[None]:
    """Posts the progress while the block runs: on every new phase, otherwise every 15 s."""
    last, at = "", 0.0

    def listener(what: str, done: int, total: int) -> None:
        nonlocal last, at
        if what != last or time.monotonic() - at >= POST_SECONDS:
            last, at = what, time.monotonic()
            post_status(f"{what}, step {done} of {total}")

    with listening(listener):
        yield

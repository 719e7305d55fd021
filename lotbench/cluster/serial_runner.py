"""Teachers and trials of a sweep one after the other in this process, without Ray."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lotbench import machine
from lotbench.cluster.queue import TrialQueue
from lotbench.cluster.teachers import Teachers, train_teacher
from lotbench.cluster.watch import LINE_SECONDS, Watch
from lotbench.plan.plan import Plan
from lotbench.trial.progress import limited, listening
from lotbench.trial.trial import run_in_sweep

log = logging.getLogger(__name__)


def run_trials(planned: Plan, watch: Watch) -> tuple[int, dict[str, str]]:
    """The number of trials that succeeded, and why the others failed, by trial id."""
    teachers = Teachers(planned)
    for key, trials in teachers.trials.items():
        try:
            limit = limited(trials[0].config.train.max_minutes * 60)
            with _working(f"teacher, {teachers.labels[key]}", watch), limit:
                scores = train_teacher(trials, planned.store)
            teachers.end(key, scores)
        except (Exception, SystemExit) as error:
            teachers.fail(key, error)
    queue = TrialQueue(planned, watch)
    while (trial := queue.next()) is not None:
        watch.begin(trial.id)
        with _working(trial.label, watch):
            row = run_in_sweep(trial, planned.store)
        queue.end(trial.id, row)
    return queue.succeeded, queue.failed


@contextmanager
def _working(label: str, watch: Watch) -> Iterator[None]:
    """Runs the block as a worker of its own would, and shows its progress.

    Methods are code of others: what one of them changes in torch does not reach the next trial.
    """
    threads, dtype, said = torch.get_num_threads(), torch.get_default_dtype(), time.monotonic()
    watch.doing = [f"{label}: started"]

    def show(what: str, done: int, total: int) -> None:
        nonlocal said
        watch.doing = [f"{label}: {what}, step {done} of {total}"]
        if not watch.shown and time.monotonic() - said >= LINE_SECONDS:
            said = time.monotonic()
            log.info(watch.doing[0])

    torch.set_num_threads(min(machine.trial_threads(), machine.usable_cores()))
    try:
        with listening(show):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)

"""A sweep: first the teachers, then the trials side by side, then the timing passes.

It resumes from its store: a finished trial is skipped, and a failed one is tried again.  If the
process is killed, only the running trials are lost.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from lotbench import machine
from lotbench.cluster.queue import TrialQueue
from lotbench.cluster.watch import Show, Watch
from lotbench.config.sections import MeasureConfig, SweepConfig, TeacherConfig
from lotbench.data.sources import find_files
from lotbench.plan.checks import check_room
from lotbench.plan.plan import Plan, mark_rows
from lotbench.store import bucket
from lotbench.store.files import write_json
from lotbench.timing.run import time_models

log = logging.getLogger(__name__)


@dataclass
class SweepResult:
    """Numbers of trials and timing passes of a sweep, and why trials failed, by id."""

    folder: Path
    ran: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    timed: int = 0


def run_sweep(
    planned: Plan,
    address: str | None = None,
    show: Show = nullcontext,
    workers: int | None = None,
) -> SweepResult:
    """Run the trials of a sweep that are not done, and time its models.

    ``address`` is a Ray cluster ("auto" finds it), whose store is on a shared disk or in a bucket.
    ``show`` shows the trials while they run.  ``workers`` is the most trials side by side, by
    default as many as there are cores for; one alone runs in this process, without Ray.
    """
    store, result = planned.store, SweepResult(planned.folder)
    with store.lock():
        done = store.done()
        result.skipped = sum(name in done for name in planned.trials)
        _write_sweep(planned.sweep, planned.folder)
        mark_rows(planned)
        if planned.todo:
            _check_work(planned)
            watch = Watch(planned, done)
            queue = TrialQueue(planned, watch)
            with show(watch):
                _run_trials(queue, address, workers)
            result.ran, result.failed = queue.succeeded, queue.failed
        else:
            log.info("all %d trials are done", len(planned.trials))
        for search in planned.searches:
            if planned.most is None and search.mark.key not in planned.chosen:
                log.warning("%s: no trial has an area, so nothing is confirmed", search.label)
        if planned.sweep.measure is not None:
            _time(planned, planned.sweep.measure, result)
    return result


def _write_sweep(sweep: SweepConfig, folder: Path) -> None:
    """Writes every value that the trials have, so that the file makes the same store again."""
    values: dict[str, object] = {
        "teacher": TeacherConfig.like(sweep.train, sweep.teacher),
        "seeds": sweep.trained_seeds,
    }
    if sweep.search is not None:
        values["confirm"] = sweep.confirmation
    resolved = sweep.model_copy(update=values).model_dump(mode="json")
    bucket.push(write_json(folder / "sweep.json", resolved))


def _check_work(planned: Plan) -> None:
    """Refuses missing data and a full disk: to look takes less time than to start Ray."""
    for trial in planned.todo.values():
        with trial.place.document.at(("tasks", trial.config.task)):
            find_files(trial.config.task, trial.config.data, trial.config.data_root)
    kept = len(planned.searches) * planned.sweep.confirmed_trials or len(planned.todo)
    check_room(planned.folder, planned.sweep.backbone, kept)


def _run_trials(queue: TrialQueue, address: str | None, workers: int | None) -> None:
    """Runs the trials in this process if one runs at a time, else with Ray."""
    if address is None and workers is None:
        workers = machine.usable_cores() // machine.trial_threads()
    if address is None and workers == 1:
        from lotbench.cluster import serial_runner

        serial_runner.run_trials(queue)
    else:
        from lotbench.cluster import ray_runner  # it imports Ray, which takes seconds

        ray_runner.run_trials(queue, address, workers)


def _time(planned: Plan, block: MeasureConfig, result: SweepResult) -> None:
    """Times the models of the plan, and adds what comes of it to the result."""
    store = planned.store
    rows = [row for name, row in store.done().items() if name in planned.trials and row.reported]
    if models := [row.model for row in rows if row.model is not None]:
        bucket.pull(store.folder, *models)  # those that other machines trained
    if any(map(store.model, rows)):
        timed = time_models(store, block, set(planned.trials), plugins=planned.sweep.plugins)
        result.timed = timed.written
        if timed.failed:
            result.failed["timing"] = "\n".join(timed.failed)
    elif rows:
        log.warning(
            "not timed: the rows here came without models; --results with another folder trains "
            "some"
        )

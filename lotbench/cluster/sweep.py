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
from lotbench.cluster.watch import Show, Watch
from lotbench.config.sections import TeacherConfig
from lotbench.data.sources import find_files
from lotbench.plan.marks import mark_rows
from lotbench.plan.plan import Plan
from lotbench.store import bucket
from lotbench.store.files import write_json
from lotbench.timing.run import time_models
from lotbench.trial.checks import check_room

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

    Parameters
    ----------
    planned : Plan
    address : str, optional
        A Ray cluster to run the trials on ("auto" finds it), whose store is on a shared disk or in
        a bucket.
    show : callable, optional
        Shows the trials while they run.
    workers : int, optional
        The most trials side by side, by default as many as there are cores for.  One alone runs in
        this process, without Ray.

    Raises
    ------
    InputError
        If data or backbone are at fault, or another process runs this sweep.
    """
    sweep, store, folder = planned.sweep, planned.store, planned.folder
    with store.lock():
        done = store.done()
        result = SweepResult(folder, skipped=sum(name in done for name in planned.trials))
        # With every value that the trials have, so that the file makes the same store again.
        teacher = TeacherConfig.like(sweep.train, sweep.teacher)
        resolved = sweep.model_copy(update={"teacher": teacher, "seeds": sweep.trained_seeds})
        if sweep.search is not None:
            resolved = resolved.model_copy(update={"confirm": sweep.confirmation})
        bucket.push(write_json(folder / "sweep.json", resolved.model_dump(mode="json")))
        mark_rows(store, planned)
        if planned.todo:
            # Before Ray starts, which takes longer than to look.
            for trial in planned.todo.values():
                with trial.place.document.at(("tasks", trial.config.task)):
                    find_files(trial.config.task, trial.config.data, trial.config.data_root)
            kept = len(planned.searches) * sweep.confirmed_trials or len(planned.todo)
            check_room(folder, sweep.backbone, kept)
            watch = Watch(planned, done)
            with show(watch):
                result.ran, result.failed = _run_trials(planned, watch, address, workers)
        else:
            log.info("all %d trials are done", len(planned.trials))
        for search in planned.searches:
            if planned.most is None and search.mark.key not in planned.chosen:
                log.warning("%s: no trial has an area, so nothing is confirmed", search.label)
        rows = store.done().items()
        timeable = [row for name, row in rows if name in planned.trials and row.reported]
        models = [row.model for row in timeable if row.model is not None]
        if sweep.measure is not None and models:
            bucket.pull(folder, *models)  # those that other machines trained
        if sweep.measure is not None and any(map(store.model, timeable)):
            timed = time_models(store, sweep.measure, set(planned.trials), plugins=sweep.plugins)
            result.timed = timed.written
            if timed.failed:
                result.failed["timing"] = "\n".join(timed.failed)
        elif sweep.measure is not None and timeable:
            log.warning(
                "not timed: the rows here came without models; --results with another folder "
                "trains some"
            )
    return result


def _run_trials(
    planned: Plan, watch: Watch, address: str | None, workers: int | None
) -> tuple[int, dict[str, str]]:
    """Runs the trials in this process if one runs at a time, else with Ray."""
    if workers is None:
        workers = None if address else machine.usable_cores() // machine.trial_threads()
    if address is None and workers == 1:
        from lotbench.cluster import serial_runner

        return serial_runner.run_trials(planned, watch)
    from lotbench.cluster import ray_runner  # it imports Ray, which takes seconds

    return ray_runner.run_trials(planned, watch, address, workers)

"""The trials of a plan under Ray Tune: workers that die are replaced, and those that hang ended.

It imports Ray, so import it where Ray runs.
"""

from __future__ import annotations

import logging
import pickle
import re
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import ActorUnavailableError, RayTaskError
from ray.tune.search import Searcher

from lotbench.cluster.queue import TrialQueue
from lotbench.cluster.watch import Watch
from lotbench.cluster.workers import job_of, look, working
from lotbench.plan.plan import Plan
from lotbench.store.store import Store
from lotbench.trial.trial import TIME_LIMIT, run_in_sweep, store_lost

log = logging.getLogger(__name__)

RETRIES = 2
"""How often a trial is tried again if its worker dies, such as for lack of memory.  A failure of
the trial itself is stored as its row, and is not tried again."""
LOSSES = 20
"""How many lost nodes do not count as one of these retries; a trial that takes down its node must
not take down all of them."""
LOOK_SECONDS = 1.0
"""Time between two looks at the board."""


def tune_trials(
    planned: Plan, board: Any, cpus: int, gpus: float, watch: Watch, workers: int | None
) -> tuple[int, dict[str, str]]:
    """Train and score the trials side by side; the result is that of `run_trials`."""
    queue = TrialQueue(planned, watch)
    tune.Tuner(
        tune.with_resources(
            tune.with_parameters(_run_trial, board=board), {"cpu": cpus, "gpu": gpus}
        ),
        # A fresh process for each trial: kernels keep memory for every shape they have met.
        tune_config=tune.TuneConfig(
            search_alg=NextTrial(queue, cpus),
            num_samples=planned.most or planned.size,
            max_concurrent_trials=workers,
            reuse_actors=False,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(planned.folder / "ray"),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            callbacks=[Announcer(queue, board)],
        ),
    ).fit()
    queue.grow()
    return queue.succeeded, queue.failed


def _run_trial(chosen: dict[str, Any], board: Any) -> None:
    """Runs the chosen trial in its worker."""
    job = chosen["job"]
    with working(job, board) as trials:
        for trial in trials:
            run_in_sweep(trial, Store(job.folder))
    tune.report({"trial": job.id})


class NextTrial(Searcher):
    """Gives Tune the trials of a queue as they become known.

    What has ended is in the store, so there is nothing for Tune to save or to tell.
    """

    def __init__(self, queue: TrialQueue, cpus: int) -> None:
        super().__init__()
        self.queue, self.cpus = queue, cpus

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        trial = self.queue.next()
        if trial is None:
            # One of those that run may make others known.
            return None if self.queue.started - self.queue.ended else self.FINISHED
        job = job_of(self.queue.planned, trial.id, trial.label, [trial], self.cpus)
        return {"trial": trial.id, "job": job}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None: ...

    def save(self, checkpoint_path: str) -> None: ...

    def restore(self, checkpoint_path: str) -> None: ...


class Announcer(tune.Callback):
    """Tells the queue what has ended, ends trials that hang, and stores rows of lost workers."""

    def __init__(self, queue: TrialQueue, board: Any) -> None:
        self.queue, self.board = queue, board
        self.before = {row.trial_id: row for row in queue.store.trials()}
        self.looked = 0.0
        self.hung: dict[str, str] = {}
        """Why trials were ended, by their ids."""

    def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
        if time.monotonic() - self.looked >= LOOK_SECONDS:  # Tune takes many steps a second
            self.looked = time.monotonic()
            self.hung |= look(self.board, lambda job: ray.kill(job.worker), self.queue.watch)

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.queue.watch.begin(trial.config["trial"])

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        if (name := trial.config["trial"]) in self.hung:
            return
        error, label = _error(trial), self.queue.planned.todo[name].label
        # A node that does not answer is unavailable until the cluster gives it up.
        if isinstance(error, ActorUnavailableError) or "node has died" in str(error):
            trial.max_failures += trial.max_failures < RETRIES + LOSSES
            log.warning("%s: its node was lost, attempt %d follows", label, trial.num_failures + 1)
        else:  # a trial stores its own errors, so another one is the bucket's or the disk's
            log.warning("%s: %s, tried again", label, _cause(error) or "its worker died")

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        name, store = trial.config["trial"], self.queue.store
        self.board.end.remote(name)  # a worker that died could not
        row = store.trial(name)
        if row is None or row == self.before.get(name):
            late = self.hung.get(name)
            kind = "worker died" if late is None else TIME_LIMIT
            lost = self.queue.planned.todo[name]
            row = store_lost(lost, store, kind, late or _died(trial))
        self.queue.end(name, row)

    on_trial_error = on_trial_complete


def _error(trial: Any) -> Exception | None:
    """The newest error of a trial of Tune."""
    file = Path(trial.pickled_error_file or "")  # Tune's own reader looks where it is copied to
    return pickle.loads(file.read_bytes()) if file.is_file() else None


def _cause(error: Exception | None) -> str:
    """What a worker raised, in a line; empty if it raised nothing."""
    return str(error.cause).partition("\n")[0] if isinstance(error, RayTaskError) else ""


def _died(trial: Any) -> str:
    """Why the worker of a trial of Tune died, in a line, as far as Ray knows."""
    if raised := _cause(_error(trial)):
        return raised
    file = Path(trial.error_file or "")
    text = " ".join(file.read_text().split()) if file.is_file() else ""
    if "OutOfMemoryError" in text or "low on memory" in text:
        return "the machine ran out of memory, and Ray ended the worker; give trials more of it"
    detail = re.search(r"Worker exit detail: ([^.]*)", text)
    said = f" ({detail[1]})" if detail else ""
    return f"its process was killed, left or crashed{said}; its log is under ray/"

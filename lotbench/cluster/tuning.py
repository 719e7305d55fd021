"""The trials of a plan under Ray Tune: which one is next, and what is said when one ends.

It imports Ray, so import it where Ray runs.
"""

from __future__ import annotations

import logging
import pickle
import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import ActorUnavailableError, RayTaskError
from ray.tune.search import Searcher

from lotbench.cluster.watch import Watch
from lotbench.cluster.workers import Job, job_of, look, working
from lotbench.plan.marks import mark_rows
from lotbench.plan.plan import Plan
from lotbench.store.rows import Trial
from lotbench.store.store import Store
from lotbench.trial.progress import rough
from lotbench.trial.trial import TIME_LIMIT, run_trial, store_lost

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
    planned: Plan, board: Any, cpus: int, gpus: float, watch: Watch
) -> tuple[int, dict[str, str]]:
    """Train and score the trials side by side; the result is that of `run_trials`."""
    announcer = Announcer(planned, board, watch)
    tune.Tuner(
        tune.with_resources(
            tune.with_parameters(_run_trial, board=board), {"cpu": cpus, "gpu": gpus}
        ),
        # A fresh process for each trial: kernels keep memory for every shape they have met.
        tune_config=tune.TuneConfig(
            search_alg=NextTrial(planned, announcer, cpus),
            num_samples=planned.most or planned.size,
            reuse_actors=False,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(planned.folder / "ray"),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            callbacks=[announcer],
        ),
    ).fit()
    announcer.grow()
    return announcer.succeeded, announcer.failed


def _run_trial(chosen: dict[str, Any], board: Any) -> None:
    """Runs the chosen trial in its worker."""
    job = Job(**chosen["job"])
    with working(job, board) as trials:
        store = Store(job.folder)
        for trial in trials:
            if trial.id not in store.done():  # unless its worker was lost after it was stored
                run_trial(trial, job.folder, catch_input_errors=True)
    tune.report({"trial": job.id})


class NextTrial(Searcher):
    """Gives Tune the trials of a plan as they become known.

    What has ended is in the store, so there is nothing for Tune to save or to tell.
    """

    def __init__(self, planned: Plan, announcer: Announcer, cpus: int) -> None:
        super().__init__()
        self.planned, self.announcer, self.cpus = planned, announcer, cpus
        self.started: set[str] = set()

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        self.announcer.grow()
        todo = self.planned.todo
        name = next((name for name in todo if name not in self.started), None)
        if name is None:
            # One of those that run may make others known.
            return None if self.started - self.announcer.ended else self.FINISHED
        self.started.add(name)
        trial = todo[name]
        job = job_of(self.planned, name, trial.label, [trial.config], self.cpus, trial.mark)
        return {"trial": name, "job": asdict(job)}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None: ...

    def save(self, checkpoint_path: str) -> None: ...

    def restore(self, checkpoint_path: str) -> None: ...


class Announcer(tune.Callback):
    """Logs each finished trial, ends those that hang, and stores the rows of lost workers."""

    def __init__(self, planned: Plan, board: Any, watch: Watch) -> None:
        self.planned, self.board, self.watch = planned, board, watch
        self.store = Store(planned.folder)
        self.before = {trial.trial_id: trial for trial in self.store.trials()}
        self.started = time.perf_counter()
        self.looked = 0.0
        self.hung: dict[str, str] = {}
        self.succeeded = 0
        self.failed: dict[str, str] = {}
        """Why trials failed, by their ids."""
        self.ended = set(self.store.done())
        """Ids of the trials that will not run again: finished before, and ended now."""
        self.grown = len(self.ended)

    def grow(self) -> None:
        """Adds the trials to the plan that have become known since the last call."""
        if len(self.ended) > self.grown:
            self.grown = len(self.ended)
            self.planned.grow({row.trial_id: row for row in self.store.trials()}, self.ended)
            mark_rows(self.store, self.planned)

    def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
        if time.monotonic() - self.looked >= LOOK_SECONDS:  # Tune takes many steps a second
            self.looked = time.monotonic()
            self.hung |= look(self.board, lambda job: ray.kill(job.worker), self.watch)

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.watch.begin(trial.config["trial"])

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        if (name := trial.config["trial"]) in self.hung:
            return
        error, label = _error(trial), self.planned.todo[name].label
        # A node that does not answer is unavailable until the cluster gives it up.
        if isinstance(error, ActorUnavailableError) or "node has died" in str(error):
            trial.max_failures += trial.max_failures < RETRIES + LOSSES
            log.warning("%s: its node was lost, attempt %d follows", label, trial.num_failures + 1)
        else:  # a trial stores its own errors, so another one is the bucket's or the disk's
            log.warning("%s: %s, tried again", label, _cause(error) or "its worker died")

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        name = trial.config["trial"]
        self.board.end.remote(name)  # a worker that died could not
        planned, row = self.planned.todo[name], self.store.trial(name)
        if row is None or row == self.before.get(name):
            late = self.hung.get(name)
            kind = "worker died" if late is None else TIME_LIMIT
            row = store_lost(planned, self.planned.folder, kind, late or _died(trial))
        self.ended.add(name)
        if row.error is None:
            self.succeeded += 1
            outcome = _scores(row)
        else:
            first = (row.error.message or "").partition("\n")[0]
            outcome = self.failed[name] = f"failed: {row.error.kind}: {first}"
        count = f"{self.succeeded + len(self.failed)}/{len(self.planned.todo)}"
        self.watch.end(name, row)
        seconds, left = time.perf_counter() - self.started, self.watch.left()
        rest = f", about {rough(left)} left" if left else ""
        log.info("[%s, %.0f s%s] %s: %s", count, seconds, rest, planned.label, outcome)

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


def _scores(trial: Trial) -> str:
    """The area of a trial of a search, else its validation scores by FLOPs speed-up."""
    if trial.search is not None and trial.search.part == "search":
        area = trial.search.area
        return "no area" if area is None else f"area on selection {area:.1f}"
    metric = str(trial.metric)
    points = [each for each in trial.evaluations if each.split == "validation"]
    shown = [f"{each.metrics[metric]:.4f} at {each.flops_speedup:.2f}x" for each in points]
    return f"{metric} {', '.join(shown)}" + ("" if trial.model else " (its model was not kept)")

"""Teachers and trials of a sweep on Ray, on this machine or on a running cluster.

It imports Ray, so import it where Ray runs.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray._private import worker as ray_worker
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lotbench import machine
from lotbench.config.sections import TrialConfig
from lotbench.engine import checkpoint
from lotbench.errors import InputError, PassFailed
from lotbench.store import bucket
from lotbench.store.parts import Searched
from lotbench.store.records import Trial
from lotbench.store.store import Store
from lotbench.study.plan import Plan
from lotbench.study.progress import TimeUp, limited, rough
from lotbench.study.share import share
from lotbench.study.trial import TIME_LIMIT, needed, prepare, run_trial, store_lost
from lotbench.study.watch import Watch
from lotbench.study.workers import Board, Job, working

log = logging.getLogger(__name__)

RETRIES = 2
"""How often a trial is tried again if its worker dies, such as for lack of memory.  A failure of
the trial itself is stored as its row, and is not tried again."""
LOSSES = 20
"""How many lost nodes do not count as one of these retries; a trial that takes down its node must
not take down all of them."""

RAY_SETTINGS = {
    # `working` chooses the folder of a worker.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # LoTBench logs its own lines and stores its own rows instead of Tune's tables and logs.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Tune would take the first Ctrl-C as the end of its trials, and the timing pass would follow.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # With one trial pending at a time, a large cluster would fill slowly.
    "TUNE_MAX_PENDING_TRIALS_PG": "16",
    # Ray would otherwise hide the GPUs from a worker that asks for none, and warn about it.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
INHERITED = ("LOTBENCH_CACHE", "HF_HUB_OFFLINE", "HF_HOME")
"""Variables that workers on other machines need as well."""


def run_trials(planned: Plan, address: str | None, watch: Watch) -> tuple[int, dict[str, str]]:
    """The number of trials that succeeded, and why the others failed, by trial id.

    Parameters
    ----------
    planned : Plan
    address : str or None
        Of a running Ray cluster.
    watch : Watch
        Told what happens.

    Raises
    ------
    InputError
        If data or backbone are at fault, or no cluster answers at the address.
    PassFailed
        If Ray stops, since its node died.
    """
    with _connected(address):
        try:
            here = ray.get_runtime_context().get_node_id()  # if it is lost, so is the sweep
            options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
            where = NodeAffinitySchedulingStrategy(here, soft=False)
            board: Any = ray.remote(Board).options(scheduling_strategy=where, **options).remote()
            cpus, gpus = share(ray.nodes(), machine.trial_threads())
            _train_teachers(planned, board, cpus, gpus, watch)
            return _train_trials(planned, board, cpus, gpus, watch)
        except (RayError, tune.TuneError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            # Those of Tune are whole tracebacks.
            why = lines[-1 if lines[0].startswith("Traceback") else 0]
            raise PassFailed(
                f"Ray stopped ({why:.200}); finished trials are kept, run it again to go on"
            ) from error


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Runs Ray while the block does: on this machine, or the cluster at the address."""
    os.environ.update(RAY_SETTINGS)
    terminate = signal.getsignal(signal.SIGTERM)
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    try:
        if address is not None:
            host, _, port = address.removeprefix("ray://").rpartition(":")
            if port.isdigit():  # raises an OSError at once, where Ray would try for minutes
                socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        ray.init(
            address=address or "local",  # without an address Ray would join any running cluster
            num_cpus=None if address else machine.usable_cores(),
            include_dashboard=False if address is None else None,
            logging_level=logging.ERROR,
            log_to_driver=False,
            runtime_env={"env_vars": RAY_SETTINGS | inherited},
        )
    except Exception as error:  # Ray raises bare ones, too
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if address is None:
            raise PassFailed(
                f"Ray did not start ({first:.200}); nothing is lost, run it again"
            ) from error
        raise InputError(
            f"--address {address}: no Ray cluster there ({first}); start one "
            "with `ray start --head`, set RAY_AUTH_MODE=token if it asks for one, or leave "
            "--address out"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)  # Ray's own would leave without a word
    # `Announcer` names dead workers and lost nodes; Ray would print pages on them to stdout.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    ray_worker._worker_logs_enabled = False
    try:
        yield
    finally:
        ray.shutdown()


def _job(
    planned: Plan,
    name: str,
    label: str,
    configs: list[TrialConfig],
    threads: int,
    mark: Searched | None = None,
) -> Job:
    values = [config.model_dump(mode="json") for config in configs]
    seconds = configs[0].train.max_minutes * 60
    own = None if mark is None else mark.model_dump(exclude_none=True)
    store = bucket.address(planned.folder)
    return Job(name, label, values, seconds, store, threads, Path.cwd(), own)


def _look(board: Any, end: Callable[[Job], object], watch: Watch) -> dict[str, str]:
    """Why jobs are ended that hang past their limit, by id; logs what each job does, when due."""
    watch.doing, (lines, hung) = ray.get([board.doing.remote(), board.look.remote()])
    for line in lines if not watch.shown else ():
        log.info(line)
    for job, _ in hung:
        end(job)
    return {job.id: why for job, why in hung}


def _train_teachers(planned: Plan, board: Any, cpus: int, gpus: float, watch: Watch) -> None:
    """Teachers, logits and saliency that the trials need, each once, as Ray tasks."""
    document = next(iter(planned.todo.values())).place.document
    shared = planned.teaching()
    remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(_train_teacher)
    names = {key: f"{configs[0].task}, seed {configs[0].seed}" for key, configs in shared.items()}
    tasks = {
        key: remote.remote(_job(planned, key, f"teacher, {names[key]}", configs, cpus), board)
        for key, configs in shared.items()
    }
    started, left, ended = time.perf_counter(), dict(tasks), {}
    while left:  # in the order in which they end, so that bad data is found at once
        done, _ = ray.wait(list(left.values()), timeout=1)
        ended |= _look(board, lambda job: ray.cancel(tasks[job.id], force=True), watch)
        for key in [key for key, task in left.items() if task in done]:
            del left[key]
            board.end.remote(key)  # a worker that died could not
            label = f"teacher {len(tasks) - len(left)}/{len(tasks)}: {names[key]}"
            try:
                metrics, notes = ray.get(tasks[key])
            except RayError as error:
                cause = error.cause if isinstance(error, RayTaskError) else error
                if isinstance(cause, InputError):
                    with document.at(("tasks", shared[key][0].task)):
                        raise InputError(str(cause)) from None
                # Its trials fail too, each with its own row; those of other teachers still run.
                why = str(cause).strip().splitlines() or [type(cause).__name__]
                log.warning("%s: failed: %s", label, ended.get(key, why[-1]))
                continue
            for note in notes:
                log.warning(note)
            shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            log.info("%s: %s (%.0f s)", label, shown, time.perf_counter() - started)


def _train_teacher(job: Job, board: Any) -> tuple[dict[str, int | float | None], list[str]]:
    """The metrics of the teacher of these trials, and the warnings on the way.

    Afterwards the teacher is in the cache, with the logits and saliency that the trials need.
    """
    notes = BufferingHandler(1000)  # the user does not see the log of a worker
    notes.setLevel(logging.WARNING)
    logging.getLogger("lotbench").addHandler(notes)
    with working(job, board) as trials, limited(job.seconds):
        artefacts = prepare(trials[0], job.folder)
        teacher = checkpoint.load(artefacts.teacher).backbone
        wanted = []
        for trial in trials:
            # A method that refuses its parameters fails in its own trial, with its own row.
            with suppress(Exception, SystemExit):
                reducer = trial.method(trial.params, len(teacher.layers), teacher.width)
                wanted.append(needed(trial.config, reducer))
        for needs in wanted:
            try:
                artefacts.attacher(needs)
            except TimeUp:
                raise
            except Exception as error:  # the trials that need it fail themselves
                log.warning("%s: %s", job.label, error)
        metrics = artefacts.record().metrics or {}
        return metrics["validation"], [note.getMessage() for note in notes.buffer]


def _train_trials(
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
    return announcer.succeeded, announcer.failed


def _run_trial(chosen: dict[str, Any], board: Any) -> None:
    """Runs the chosen trial in its worker."""
    job = Job(**chosen["job"])
    with working(job, board) as trials:
        store = Store(job.folder)
        for trial in trials:
            if trial.id in store.done():  # its worker or node was lost after it was stored
                store.push()
            else:
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
        job = _job(self.planned, name, trial.label, [trial.config], self.cpus, trial.mark)
        return {"trial": name, "job": asdict(job)}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None: ...

    def save(self, checkpoint_path: str) -> None: ...

    def restore(self, checkpoint_path: str) -> None: ...


class Announcer(tune.Callback):
    """Logs each finished trial, ends those that hang, and stores the rows of lost workers.

    Attributes
    ----------
    succeeded : int
        How many trials succeeded.
    failed : dict of str
        Why the others failed, by trial id.
    ended : set of str
        Ids of the trials that will not run again: finished before, and ended now.
    """

    def __init__(self, planned: Plan, board: Any, watch: Watch) -> None:
        self.planned, self.board, self.watch = planned, board, watch
        self.store = Store(planned.folder)
        self.before = {trial.trial_id: trial for trial in self.store.trials()}
        self.started = time.perf_counter()
        self.hung: dict[str, str] = {}
        self.succeeded = 0
        self.failed: dict[str, str] = {}
        self.ended = set(self.store.done())
        self.grown = len(self.ended)

    def grow(self) -> None:
        """Adds the trials to the plan that have become known since the last call."""
        if len(self.ended) > self.grown:
            self.grown = len(self.ended)
            self.planned.grow({row.trial_id: row for row in self.store.trials()}, self.ended)

    def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
        self.hung |= _look(self.board, lambda job: ray.kill(job.worker), self.watch)

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

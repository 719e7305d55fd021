"""Teachers and trials of a sweep on Ray, on this machine or on a running cluster.

It imports Ray, so import it where Ray runs.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import BufferingHandler
from typing import Any

import ray
from ray import tune
from ray._private import worker as ray_worker
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lotbench import machine
from lotbench.cluster.resources import share
from lotbench.cluster.teachers import Scores, Teachers, train_teacher
from lotbench.cluster.tuning import tune_trials
from lotbench.cluster.watch import Watch
from lotbench.cluster.workers import Board, Job, job_of, look, working
from lotbench.errors import InputError, PassFailed
from lotbench.plan.plan import Plan
from lotbench.store.store import Store
from lotbench.trial.progress import limited

log = logging.getLogger(__name__)

TEACHER_RETRIES = 5
"""How often a teacher is tried again if its worker or its node is lost; Ray does not tell which."""
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


def run_trials(
    planned: Plan, watch: Watch, address: str | None, workers: int | None
) -> tuple[int, dict[str, str]]:
    """The number of trials that succeeded, and why the others failed, by trial id.

    They run on this machine, or on the Ray cluster at the address, at most so many ``workers`` side
    by side; ``watch`` is told what happens.

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
            _train_teachers(planned, board, cpus, gpus, watch, workers)
            return tune_trials(planned, board, cpus, gpus, watch, workers)
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


def _train_teachers(
    planned: Plan, board: Any, cpus: int, gpus: float, watch: Watch, workers: int | None
) -> None:
    """Teachers, logits and saliency that the trials need, each once, as Ray tasks."""
    teachers = Teachers(planned)
    remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=TEACHER_RETRIES)(_train_teacher)
    waiting, tasks, hung = list(teachers.trials), {}, {}
    while waiting or tasks:  # in the order in which they end, so that bad data is found at once
        while waiting and (workers is None or len(tasks) < workers):
            key = waiting.pop(0)
            label = f"teacher, {teachers.labels[key]}"
            job = job_of(planned, key, label, teachers.trials[key], cpus)
            tasks[key] = remote.remote(job, board)
        done, _ = ray.wait(list(tasks.values()), timeout=1)
        hung |= look(board, lambda job: ray.cancel(tasks[job.id], force=True), watch)
        for key in [key for key, task in tasks.items() if task in done]:
            board.end.remote(key)  # a worker that died could not
            try:
                scores, notes = ray.get(tasks.pop(key))
            except RayError as error:
                cause = error.cause if isinstance(error, RayTaskError) else error
                teachers.fail(key, cause, hung.get(key))
                continue
            for note in notes:
                log.warning(note)
            teachers.end(key, scores)


def _train_teacher(job: Job, board: Any) -> tuple[Scores, list[str]]:
    """The result of `train_teacher` in a worker, and the warnings on the way."""
    notes = BufferingHandler(1000)  # the user does not see the log of a worker
    notes.setLevel(logging.WARNING)
    logging.getLogger("lotbench").addHandler(notes)
    with working(job, board) as trials, limited(job.seconds):
        scores = train_teacher(trials, Store(job.folder))
        return scores, [note.getMessage() for note in notes.buffer]

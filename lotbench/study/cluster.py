"""Teachers and trials of a sweep on Ray: on this machine, or on a running cluster."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from lotbench import machine
from lotbench.config.sections import TrialConfig
from lotbench.deadline import limited
from lotbench.engine import checkpoint
from lotbench.errors import InputError, PassFailed
from lotbench.store.store import Store
from lotbench.study.plan import Plan, resolve
from lotbench.study.ray_death import ray_death_ends_it
from lotbench.study.status import StatusBoard, logging_statuses, noting, posting
from lotbench.study.trial import needed, prepare, run_trial, store_ended, store_lost

log = logging.getLogger(__name__)

RETRIES = 1
"""How often a trial is tried again if its worker dies, such as for lack of memory.  A failure of
the trial itself is stored as its row, and is not tried again."""

WAITING = "waiting for Ray to start a worker"

RAY_SETTINGS = {
    # `_set_up_worker` chooses the folder of a worker.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # LoTBench logs its own lines and stores its own rows instead of Tune's tables and logs.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Tune would take the first Ctrl-C as the end of its trials, and the timing pass would follow.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Ray would otherwise hide the GPUs from a worker that asks for none, and warn about it.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def run_trials(planned: Plan, address: str | None = None) -> tuple[int, dict[str, str]]:
    """The number of trials that succeeded, and why the others failed, by trial id.

    Parameters
    ----------
    planned : Plan
    address : str, optional
        Of a running Ray cluster.

    Raises
    ------
    InputError
        If data or backbone are at fault, or no cluster answers at the address.
    PassFailed
        If Ray stops, since its node died.
    """
    with _connected(address):
        import ray
        from ray.exceptions import RayError
        from ray.tune import TuneError

        actor: Any = ray.remote(num_cpus=0)(StatusBoard)
        board = actor.remote()

        def lines() -> list[str]:
            with suppress(RayError):  # raised again by the job itself
                return ray.get(board.lines.remote(), timeout=10) or [WAITING]
            return []

        try:
            with logging_statuses(lines):
                _train_teachers(planned, board)
                succeeded, failed = _tune(planned, board)
        except (RayError, TuneError) as error:
            raise PassFailed(
                f"Ray stopped ({str(error).strip().splitlines()[0]:.200}); finished trials are "
                "kept, run it again to go on"
            ) from error
    stored = {trial.trial_id for trial in Store(planned.folder).trials()}
    for name in planned.todo.keys() - stored:
        why = failed.setdefault(name, "its worker died; its log is under ray/")
        store_lost(planned.todo[name], planned.folder, why)
    return succeeded, failed


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Inside, Ray runs: a cluster of its own on this machine, or the one at the address."""
    # Ray reads them when it is imported, and its workers when they start.
    os.environ.update(RAY_SETTINGS)
    import ray

    terminate = signal.getsignal(signal.SIGTERM)
    try:
        if address is not None:
            _check_reachable(address)
        ray.init(
            address=address or "local",  # without an address Ray would join any running cluster
            num_cpus=None if address else machine.usable_cores(),
            include_dashboard=False if address is None else None,
            logging_level=logging.ERROR,
            log_to_driver=False,
            runtime_env={"env_vars": RAY_SETTINGS | _inherited()},
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
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # `Announcer` names a dead worker
    try:
        with nullcontext() if address else ray_death_ends_it():
            yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises an OSError if nothing answers at HOST:PORT; Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _train_teachers(planned: Plan, board: Any) -> None:
    """Teachers, logits and saliency that the trials need, each once, as Ray tasks."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    document = next(iter(planned.todo.values())).place.document
    shared: dict[str, list[TrialConfig]] = {}
    for trial in planned.todo.values():
        shared.setdefault(trial.config.teacher_key(), []).append(trial.config)
    cpus, gpus = _share(ray.cluster_resources())
    remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_train_teacher)
    started = time.perf_counter()
    jobs = {
        remote.remote(
            [c.model_dump(mode="json") for c in configs], planned.folder, cpus, Path.cwd(), board
        ): configs[0]
        for configs in shared.values()
    }
    left = list(jobs)
    while left:  # in the order in which they end, so that bad data is found at once
        (job,), left = ray.wait(left)
        config = jobs[job]
        label = f"teacher {len(jobs) - len(left)}/{len(jobs)}: {config.task}, seed {config.seed}"
        try:
            metrics, notes = ray.get(job)
        except RayError as error:
            cause = error.cause if isinstance(error, RayTaskError) else error
            if isinstance(cause, InputError):
                with document.at(("tasks", config.task)):
                    raise InputError(str(cause)) from None
            # Its trials fail too, each with its own row; the trials of other teachers still run.
            why = str(cause).strip().splitlines() or [type(cause).__name__]
            log.warning("%s: failed: %s", label, why[-1])
            board.post.remote(_teacher_job(config), None)  # a worker that died could not remove it
            continue
        for note in notes:
            log.warning(note)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        log.info("%s: %s (%.0f s)", label, shown, time.perf_counter() - started)


def _train_teacher(
    configs: list[dict[str, Any]], folder: Path, threads: int, start: Path, board: Any
) -> tuple[dict[str, float], list[str]]:
    """The metrics of the teacher of these trials, and the warnings on the way.

    Afterwards the teacher is in the cache, with the logits and saliency that the trials need.
    """
    _set_up_worker(threads, start)
    trials = [resolve(TrialConfig(**values)) for values in configs]
    seconds = trials[0].config.train.max_minutes * 60
    job = _teacher_job(trials[0].config)
    with noting() as notes, posting(board.post.remote, job), limited(seconds):
        artefacts = prepare(trials[0], folder)
        teacher = checkpoint.load(artefacts.teacher()).backbone
        for trial in trials:
            # A method that refuses its parameters fails in its own trial, with its own row.
            with suppress(Exception):
                reducer = trial.method(trial.params, len(teacher.layers), teacher.width)
                artefacts.attacher(needed(trial.config, reducer))
        return artefacts.teacher_card()["metrics"]["validation"], notes


def _teacher_job(config: TrialConfig) -> str:
    return f"teacher, {config.task}, seed {config.seed}"


def _tune(planned: Plan, board: Any) -> tuple[int, dict[str, str]]:
    """Train and score the trials side by side; the result is that of `run_trials`."""
    import ray
    from ray import tune

    from lotbench.study.announce import Announcer

    cpus, gpus = _share(ray.cluster_resources())
    trainable = tune.with_parameters(
        _run_trial,
        configs={
            name: trial.config.model_dump(mode="json") for name, trial in planned.todo.items()
        },
        folder=planned.folder,
        threads=cpus,
        start=Path.cwd(),
        board=board,
    )
    announcer = Announcer(planned, board)
    for old in (planned.folder / "ray").glob("ended-*.txt"):  # of a sweep that was interrupted
        old.unlink()
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": cpus, "gpu": gpus}),
        param_space={"trial": tune.grid_search(list(planned.todo))},
        # A fresh process for each trial: kernels keep memory for every shape they have met.
        tune_config=tune.TuneConfig(
            reuse_actors=False, trial_dirname_creator=lambda trial: trial.trial_id
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(planned.folder / "ray"),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            callbacks=[announcer],
        ),
    )
    tuner.fit()
    return announcer.succeeded, announcer.failed


def _run_trial(
    chosen: dict[str, str],
    configs: dict[str, Any],
    folder: Path,
    threads: int,
    start: Path,
    board: Any,
) -> None:
    """Runs the chosen trial in its worker."""
    from ray import tune

    _set_up_worker(threads, start)
    trial = resolve(TrialConfig(**configs[chosen["trial"]]))
    ended = folder / "ray" / f"ended-{trial.id}.txt"
    ended.parent.mkdir(parents=True, exist_ok=True)
    if ended.is_file() and (dump := ended.read_text()):
        # The first attempt ended its own process; a second one would end in the same way.
        result = store_ended(trial, folder, dump)
    else:
        with posting(board.post.remote, trial.label), ended.open("w") as file:
            result = run_trial(trial, folder, catch_input_errors=True, dump=file)
    ended.unlink()
    tune.report({"status": result.status})


def _set_up_worker(threads: int, start: Path) -> None:
    """Sets the number of threads, and the folder in which the sweep was started.

    Relative paths of a sweep file are relative to that folder, but the workers of a running
    cluster are in the folder where the cluster was started.
    """
    import torch

    torch.set_num_threads(threads)
    with suppress(OSError):  # a machine without it can still read full paths
        os.chdir(start)


def _share(resources: Mapping[str, float]) -> tuple[int, float]:
    """CPUs and GPU share of one trial or teacher; with these, all cores are in use."""
    cores, gpus = resources.get("CPU", 1), resources.get("GPU", 0)
    # Fixed for a machine: the last digits of results depend on the number of threads.
    threads = 1 if machine.usable_cores() < 8 else 4
    cpus = min(threads, int(cores))
    return cpus, max(1 / 8, min(1.0, gpus * cpus / cores)) if gpus else 0


def _inherited() -> dict[str, str]:
    """Variables that workers on other machines need as well."""
    names = ("LOTBENCH_CACHE", "HF_HUB_OFFLINE", "HF_HOME")
    return {name: os.environ[name] for name in names if name in os.environ}

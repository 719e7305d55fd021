"""Sweeps: shared artefacts once, trials side by side under Ray Tune, then the timing pass.

The results store is the truth for resuming: a finished trial is skipped, a failed one is tried
again, and killing the process at any moment loses only the trials in flight.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lotbench import machine
from lotbench.config.sections import MeasureConfig, TrialConfig
from lotbench.engine import checkpoint
from lotbench.errors import InputError
from lotbench.store.files import write_json
from lotbench.store.records import Trial
from lotbench.store.store import Store
from lotbench.study.plan import Plan, resolve
from lotbench.study.progress import Board, posted, read_out
from lotbench.study.timing import measure
from lotbench.study.trial import prepare, run_trial

Say = Callable[[str], None]

RETRIES = 1
"""How often a trial is tried again if its worker dies, such as for lack of memory.  A failure of
the trial itself is stored as its row, and is not tried again."""

RAY_SETTINGS = {
    # Workers keep their folder; `_set_up_worker` chooses it.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # LoTBench prints and stores its own lines and rows instead of Tune's tables and logs.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Tune would take the first Ctrl-C as the end of its trials, and the timing pass would follow.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Ray would otherwise hide the GPUs from a worker that asks for none, and warn about it.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass
class Report:
    """What a sweep did."""

    folder: Path
    ran: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    timed: int = 0


def run_sweep(planned: Plan, address: str | None = None, say: Say = print) -> Report:
    """Run the trials of a sweep that are not done, and time it.

    Parameters
    ----------
    planned : Plan
    address : str, optional
        Of a running Ray cluster ("auto" finds it), which must share the store's file system.
    say : callable
        Is given each line of progress.

    Raises
    ------
    InputError
        If data or backbone are at fault, or another process runs this sweep.
    """
    sweep, folder = planned.sweep, planned.folder
    store = Store(folder)
    with store.lock():
        done = store.done()
        report = Report(folder, skipped=sum(name in done for name in planned.trials))
        write_json(folder / "sweep.json", sweep.model_dump(mode="json"))
        if planned.todo:
            _run_trials(planned, address, report, say)
        else:
            say(f"all {len(planned.trials)} trials are done")
        done = [trial for name, trial in store.done().items() if name in planned.trials]
        if sweep.measure is not None and done:
            if any(map(store.model, done)):
                _time(planned, sweep.measure, report, say)
            else:
                say(
                    "not timed: the rows here came without models; --results with another folder "
                    "trains some"
                )
    return report


def _time(planned: Plan, config: MeasureConfig, report: Report, say: Say) -> None:
    """Adds timing passes; what could not be timed is reported as failed."""
    done = measure(Store(planned.folder), config, set(planned.trials), progress=say)
    report.timed = done.written
    if done.failed:
        report.failed["timing"] = "\n".join(done.failed)


def trial_threads() -> int:
    """Threads of one trial: fixed for a machine, since results depend on it in the last digits."""
    return 1 if machine.usable_cores() < 8 else 4


def _run_trials(planned: Plan, address: str | None, report: Report, say: Say) -> None:
    import logging

    # Ray reads them when it is imported, and its workers when they start.
    os.environ.update(RAY_SETTINGS)
    import ray

    try:
        if address is not None:
            _check_reachable(address)
        ray.init(
            address=address or "local",  # by itself Ray would join a cluster that happens to run
            num_cpus=None if address else machine.usable_cores(),
            include_dashboard=False if address is None else None,
            logging_level=logging.ERROR,
            log_to_driver=False,
            runtime_env={"env_vars": RAY_SETTINGS | _inherited()},
        )
    except (OSError, ValueError, RuntimeError) as error:
        if address is None:
            raise
        raise InputError(
            f"--address {address}: no Ray cluster there ({str(error).splitlines()[0]}); start one "
            "with `ray start --head`, set RAY_AUTH_MODE=token if it asks for one, or leave "
            "--address out"
        ) from error
    try:
        board = ray.remote(num_cpus=0)(Board).remote()

        def read() -> list[str]:
            with suppress(ray.exceptions.RayError):  # reported where the job is waited for
                return ray.get(board.read.remote(), timeout=10)
            return []

        with read_out(read, say):
            _prepare(planned, board, say)
            _tune(planned, board, report, say)
    finally:
        ray.shutdown()
    ran = {trial.trial_id for trial in Store(planned.folder).trials()}
    for name in planned.todo.keys() - ran:
        report.failed.setdefault(name, "the worker died; its log is under ray/")


def _check_reachable(address: str) -> None:
    """Raises an OSError if nothing answers at HOST:PORT; Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _tune(planned: Plan, board: Any, report: Report, say: Say) -> None:
    """Train and score the trials side by side."""
    import logging

    import ray
    from ray import tune

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a dead worker has a line of ours
    cpus, gpus = _share(ray.cluster_resources())
    trainable = tune.with_parameters(
        _trainable,
        configs={
            name: trial.config.model_dump(mode="json") for name, trial in planned.todo.items()
        },
        folder=planned.folder,
        threads=cpus,
        start=Path.cwd(),
        board=board,
    )
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
            callbacks=[_announcer(tune, planned, board, report, say)],
        ),
    )
    tuner.fit()


def _prepare(planned: Plan, board: Any, say: Say) -> None:
    """Teachers, logits and saliency that the trials need, each once, as Ray tasks."""
    import ray

    shared: dict[str, list[TrialConfig]] = {}
    for trial in planned.todo.values():
        shared.setdefault(trial.config.teacher_key(), []).append(trial.config)
    cpus, gpus = _share(ray.cluster_resources())
    remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_prepare_one)
    started = time.perf_counter()
    jobs = {
        remote.remote(
            [c.model_dump(mode="json") for c in configs], planned.folder, cpus, Path.cwd(), board
        ): configs[0]
        for configs in shared.values()
    }
    for number, (job, config) in enumerate(jobs.items(), start=1):
        try:
            scores = ray.get(job)
        except ray.exceptions.RayError as error:
            cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
            if isinstance(cause, InputError):
                raise InputError(str(cause)) from None
            why = str(cause).strip().splitlines()[-1]
            # Its trials fail likewise, each in its own row; those of other teachers go on.
            say(f"teacher {number}/{len(jobs)}: {config.task}, seed {config.seed}: failed: {why}")
            board.put.remote(_teacher_label(config), None)
            continue
        shown = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
        seconds = time.perf_counter() - started
        say(
            f"teacher {number}/{len(jobs)}: {config.task}, seed {config.seed}: {shown} "
            f"({seconds:.0f} s)"
        )


def _prepare_one(
    configs: list[dict[str, Any]], folder: Path, threads: int, start: Path, board: Any
) -> dict[str, float]:
    """Makes the teacher of these trials and what they need of it; returns its metrics."""
    _set_up_worker(threads, start)
    trials = [resolve(TrialConfig(**values)) for values in configs]
    with posted(board.put.remote, _teacher_label(trials[0].config)) as progress:
        artefacts = prepare(trials[0], folder, progress)
        teacher = checkpoint.load(artefacts.teacher()).backbone
        for trial in trials:
            # A method that refuses its parameters fails in its own trial, with its own row.
            with suppress(Exception):
                reducer = trial.method(trial.params, len(teacher.layers), teacher.width)
                artefacts.attacher(reducer.needs)
    return artefacts.teacher_card()["metrics"]["validation"]


def _trainable(
    chosen: dict[str, str],
    configs: dict[str, Any],
    folder: Path,
    threads: int,
    start: Path,
    board: Any,
) -> None:
    from ray import tune

    _set_up_worker(threads, start)
    trial = resolve(TrialConfig(**configs[chosen["trial"]]))
    with posted(board.put.remote, trial.label) as progress:
        result = run_trial(trial, folder, progress, catch_input_errors=True)
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


def _announcer(tune: Any, planned: Plan, board: Any, report: Report, say: Say) -> Any:
    """A Tune callback that reports each finished trial in one line."""
    started = time.perf_counter()
    store = Store(planned.folder)
    before = {trial.trial_id: trial for trial in store.trials()}
    total = len(planned.todo)
    count = 0

    class Announcer(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            self._report(trial)

        def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            say(f"{planned.todo[trial.config['trial']].label}: its worker died, tried again")

        def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            self._report(trial)

        def _report(self, trial: Any) -> None:
            nonlocal count
            count += 1
            name = trial.config["trial"]
            result = store.trial(name)
            if result is None or result == before.get(name):
                outcome = "died; its log is under ray/"
                report.failed[name] = outcome
            elif result.error is not None:
                message = (result.error.message or "").splitlines()[:1]
                outcome = f"failed: {result.error.kind}: {''.join(message)}"
                report.failed[name] = outcome
            else:
                report.ran += 1
                outcome = _outcome(result)
            seconds = time.perf_counter() - started
            label = planned.todo[name].label
            board.put.remote(label, None)  # a worker that died could not
            say(f"[{count}/{total}, {seconds:.0f} s] {label}: {outcome}")

    return Announcer()


def _outcome(trial: Trial) -> str:
    points = [each for each in trial.evaluations if each.split == "validation"]
    return f"{trial.metric} " + ", ".join(
        f"{each.metrics[str(trial.metric)]:.4f} at {each.flops_speedup:.2f}x" for each in points
    )


def _teacher_label(config: TrialConfig) -> str:
    return f"teacher, {config.task}, seed {config.seed}"


def _share(resources: dict[str, float]) -> tuple[int, float]:
    """CPUs and GPU share of one trial or teacher: as many run side by side as the cores allow."""
    cores, gpus = resources.get("CPU", 1), resources.get("GPU", 0)
    cpus = min(trial_threads(), int(cores))
    return cpus, max(1 / 8, min(1.0, gpus * cpus / cores)) if gpus else 0


def _inherited() -> dict[str, str]:
    """Variables that workers on other machines need as well."""
    names = ("LOTBENCH_CACHE", "HF_HUB_OFFLINE", "HF_HOME")
    return {name: os.environ[name] for name in names if name in os.environ}

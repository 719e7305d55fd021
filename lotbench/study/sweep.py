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

from lotbench import machine, store
from lotbench.config.sections import MeasureConfig, SweepConfig, TrialConfig
from lotbench.engine import checkpoint
from lotbench.errors import InputError
from lotbench.study.plan import Plan, plan
from lotbench.study.progress import Board, posted, read_out
from lotbench.study.timing import has_model, measure
from lotbench.study.trial import prepare, resolve, run_trial

Say = Callable[[str], None]

RETRIES = 1
"""How often a trial is tried again whose worker died, of memory that others took or for Ray's
reasons.  A failure of the trial itself is a row, and is not tried again."""

RAY_SETTINGS = {
    # Workers stay where they are put.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Our own lines and rows stand for Tune's tables and logs.
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


def run_sweep(
    sweep: SweepConfig,
    root: Path,
    address: str | None = None,
    max_trials: int | None = None,
    say: Say = print,
) -> Report:
    """Run what is left of a sweep, and time it.

    Parameters
    ----------
    sweep : SweepConfig
    root : Path
        Parent of the sweep's store.
    address : str, optional
        Of a running Ray cluster ("auto" finds it), which must share the store's file system.
    max_trials : int, optional
        Run at most so many trials now.
    say : callable
        Is given each line of progress.

    Raises
    ------
    InputError
        If the configuration is at fault, or another process runs this sweep.
    """
    planned = plan(sweep, root, max_trials)
    folder = planned.folder
    with store.alone(folder):
        done = store.finished(folder)
        report = Report(folder, skipped=sum(name in done for name in planned.trials))
        store.write_json(folder / "sweep.json", sweep.model_dump(mode="json"))
        if planned.todo:
            _run_trials(planned, address, report, say)
        else:
            say(f"all {len(planned.trials)} trials are done")
        rows = [row for row in store.read_rows(folder) if row["trial_id"] in planned.trials]
        if sweep.measure is not None and any(row["status"] == "done" for row in rows):
            if any(has_model(folder, row) for row in rows):
                _time(planned, sweep.measure, report, say)
            else:
                say(
                    "not timed: the rows here came without models; --results with another folder "
                    "trains some"
                )
    return report


def _time(planned: Plan, config: MeasureConfig, report: Report, say: Say) -> None:
    """Adds passes; what could not be timed is a failure beside those of the trials."""
    done = measure(planned.folder, config, set(planned.trials), progress=say)
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
            _knock(address)
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
            with suppress(ray.exceptions.RayError):  # what fails is told where it is waited for
                return ray.get(board.read.remote(), timeout=10)
            return []

        with read_out(read, say):
            _prepare(planned, board, say)
            _tune(planned, board, report, say)
    finally:
        ray.shutdown()
    for name in planned.todo.keys() - {row["trial_id"] for row in store.read_rows(planned.folder)}:
        report.failed.setdefault(name, "the worker died; its log is under ray/")


def _knock(address: str) -> None:
    """Raises an OSError where nobody answers at HOST:PORT; Ray itself tries for minutes."""
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
        configs={name: config.model_dump(mode="json") for name, config in planned.todo.items()},
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
    for config in planned.todo.values():
        shared.setdefault(config.teacher_key(), []).append(config)
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
            # Its trials meet the same, each in its own row; those of other teachers go on.
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
    trials: list[dict[str, Any]], folder: Path, threads: int, start: Path, board: Any
) -> dict[str, float]:
    """The teacher that these trials share, and what any of them needs of it; its metrics."""
    _settle(threads, start)
    configs = [TrialConfig(**values) for values in trials]
    with posted(board.put.remote, _teacher_label(configs[0])) as progress:
        artefacts = prepare(configs[0], folder, progress)
        teacher = checkpoint.load(artefacts.teacher()).backbone
        for config in configs:
            cls, params, _ = resolve(config)
            # A method that refuses its parameters fails in its own trial, with its own row.
            with suppress(Exception):
                artefacts.attacher(cls(params, len(teacher.layers), teacher.width).needs)
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

    _settle(threads, start)
    config = TrialConfig(**configs[chosen["trial"]])
    with posted(board.put.remote, _label(config)) as progress:
        row = run_trial(config, folder, progress, catch_input_errors=True)
    tune.report({"status": row["status"]})


def _settle(threads: int, start: Path) -> None:
    """Makes a worker compute as it should, where the sweep was started.

    Relative paths of a sweep file are relative to that place, but workers of a running cluster
    stand where the cluster was started.
    """
    import torch

    torch.set_num_threads(threads)
    with suppress(OSError):  # a machine without it may do with full paths
        os.chdir(start)


def _announcer(tune: Any, planned: Plan, board: Any, report: Report, say: Say) -> Any:
    """A Tune callback that says each finished trial in one line."""
    started = time.perf_counter()
    before = {row["trial_id"]: row for row in store.read_rows(planned.folder)}
    total = len(planned.todo)
    count = 0

    class Announcer(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            self._tell(trial)

        def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            say(f"{_label(planned.todo[trial.config['trial']])}: its worker died, tried again")

        def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            self._tell(trial)

        def _tell(self, trial: Any) -> None:
            nonlocal count
            count += 1
            name = trial.config["trial"]
            row = next((r for r in store.read_rows(planned.folder) if r["trial_id"] == name), None)
            if row is None or row == before.get(name):
                outcome = "died; its log is under ray/"
                report.failed[name] = outcome
            elif row["status"] == "failed":
                error = row["error"]
                outcome = f"failed: {error['kind']}: {error['message'].splitlines()[0]}"
                report.failed[name] = outcome
            else:
                report.ran += 1
                outcome = _outcome(row)
            seconds = time.perf_counter() - started
            label = _label(planned.todo[name])
            board.put.remote(label, None)  # a worker that died could not
            say(f"[{count}/{total}, {seconds:.0f} s] {label}: {outcome}")

    return Announcer()


def _outcome(row: dict[str, Any]) -> str:
    points = [e for e in row["evaluations"] if e["split"] == "validation"]
    metric = row["metric"]
    return f"{metric} " + ", ".join(
        f"{e['metrics'][metric]:.4f} at {e['flops_speedup']:.2f}x" for e in points
    )


def _teacher_label(config: TrialConfig) -> str:
    return f"teacher, {config.task}, seed {config.seed}"


def _label(config: TrialConfig) -> str:
    """A trial in a few words: task, method, parameters, seed."""
    params = " ".join(f"{name}={value}" for name, value in config.params.items())
    return " ".join(filter(None, [config.task, config.method, params, f"seed={config.seed}"]))


def _share(resources: dict[str, float]) -> tuple[int, float]:
    """CPUs and GPU share of one trial or teacher: as many run side by side as the cores allow."""
    cores, gpus = resources.get("CPU", 1), resources.get("GPU", 0)
    cpus = min(trial_threads(), int(cores))
    return cpus, max(1 / 8, min(1.0, gpus * cpus / cores)) if gpus else 0


def _inherited() -> dict[str, str]:
    """Variables that workers on other machines need as well."""
    names = ("LOTBENCH_CACHE", "HF_HUB_OFFLINE", "HF_HOME")
    return {name: os.environ[name] for name in names if name in os.environ}

"""Sweep and trial files, read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from pydantic import ConfigDict, Field

from lotbench.config.grid import has_grid, variants
from lotbench.config.schema import Section, validate
from lotbench.config.sections import (
    Name,
    Positive,
    Seed,
    SweepConfig,
    TaskConfig,
    TeacherConfig,
    TrainConfig,
    TrialConfig,
)
from lotbench.config.strict_yaml import Document, KeyPath, read_yaml
from lotbench.config.tasks import BUILT_IN
from lotbench.errors import InputError, near_misses


class NamedTask(TaskConfig):
    """The task of a trial file."""

    name: Name


class NamedMethod(Section):
    """The method of a trial file; all other keys are its parameters."""

    model_config = ConfigDict(extra="allow")
    name: Name


class TrialFile(Section):
    """A trial file: a sweep file with singular keys and no grids."""

    backbone: str
    layers: Positive | None = None
    data_root: str | None = None
    task: NamedTask
    seed: Seed = 0
    train: TrainConfig = TrainConfig()
    teacher: TeacherConfig | None = None
    method: NamedMethod
    plugins: list[str] = Field([])


def load_sweep(path: str | Path, overrides: Sequence[str] = ()) -> SweepConfig:
    """The sweep that a YAML file describes, with ``key.path=value`` overrides.

    Raises
    ------
    InputError
        One line for each fault: file and line, key path, what is wrong and the mend.
    """
    document = read_yaml(path, overrides)
    sweep = validate(SweepConfig, document)
    for name, task in sweep.tasks.items():
        _check_known(document, ("tasks", name), name, task)
    return sweep


def load_trial(path: str | Path, overrides: Sequence[str] = ()) -> TrialConfig:
    """The trial that a YAML file describes, with ``key.path=value`` overrides.

    Raises
    ------
    InputError
        As for `load_sweep`.
    """
    document = read_yaml(path, overrides)
    trial = validate(TrialFile, document)
    data = TaskConfig(**{key: getattr(trial.task, key) for key in TaskConfig.model_fields})
    _check_known(document, ("task",), trial.task.name, data)
    params = trial.method.model_extra or {}
    if has_grid(params):
        message = "a trial has no grids: give one value, or run a sweep"
        raise InputError(document.fault(("method",), message))
    return TrialConfig(
        backbone=trial.backbone,
        layers=trial.layers,
        data_root=trial.data_root,
        task=trial.task.name,
        data=data,
        seed=trial.seed,
        train=trial.train,
        teacher=TeacherConfig.like(trial.train, trial.teacher),
        method=trial.method.name,
        params=params,
        plugins=trial.plugins,
    )


def stored_sweep(folder: str | Path, overrides: Sequence[str] = ()) -> SweepConfig:
    """The sweep of a store, with ``key=value`` overrides of its measure block.

    Raises
    ------
    InputError
        If the folder holds no sweep, or an override does not fit.
    """
    path = Path(folder) / "sweep.json"
    if not path.is_file():
        raise InputError(f"{folder}: no sweep here (a store has a file sweep.json)")
    measured = [f"measure.{override}" for override in overrides]
    return validate(SweepConfig, read_yaml(path, measured))


def expand(sweep: SweepConfig) -> list[TrialConfig]:
    """The trials of a sweep, in the order of its file: task, seed, method, block, grid.

    A trial that several blocks describe is there once.
    """
    trials: dict[str, TrialConfig] = {}
    for (task, data), seed, (method, blocks) in product(
        sweep.tasks.items(), sweep.seeds, sweep.methods.items()
    ):
        for block in blocks if isinstance(blocks, list) else [blocks]:
            for params in variants(block):
                trial = TrialConfig(
                    backbone=sweep.backbone,
                    layers=sweep.layers,
                    data_root=sweep.data_root,
                    task=task,
                    data=data,
                    seed=seed,
                    train=sweep.train,
                    teacher=TeacherConfig.like(sweep.train, sweep.teacher),
                    method=method,
                    params=params,
                    plugins=sweep.plugins,
                )
                trials.setdefault(trial.trial_id(0), trial)
    return list(trials.values())


def _check_known(document: Document, path: KeyPath, name: str, task: TaskConfig) -> None:
    if task.source is None and name not in BUILT_IN:
        message = (
            f"no built-in task {name!r}; {near_misses(name, list(BUILT_IN))} "
            "For data of your own give `source`: a folder or a hub dataset id"
        )
        raise InputError(document.fault(path, message))

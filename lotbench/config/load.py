"""Read and check sweep and trial files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ConfigDict, Field

from lotbench.config.document import Document, Place
from lotbench.config.grid import has_grid
from lotbench.config.overrides import override
from lotbench.config.sections import (
    Name,
    Positive,
    Section,
    Seed,
    SweepConfig,
    Targets,
    TaskConfig,
    TeacherConfig,
    TrainConfig,
    TrialConfig,
)
from lotbench.config.tasks import BUILT_IN
from lotbench.config.yaml_reader import read_yaml
from lotbench.errors import InputError, near_misses
from lotbench.validation import KeyPath, validate


class NamedTask(TaskConfig):
    """The task of a trial file."""

    name: Name


class NamedMethod(Section):
    """The method of a trial file; all keys but ``name`` are its parameters."""

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
    targets: Targets | None = None
    plugins: list[str] = Field([])


def load_sweep(path: str | Path, overrides: Sequence[str] = ()) -> tuple[SweepConfig, Document]:
    """The sweep that a YAML file describes, with ``key.path=value`` overrides, and the file.

    Raises
    ------
    InputError
        One line per fault, with file, line, key path, what is wrong and how to mend it.
    """
    document = override(read_yaml(path), overrides)
    if {"task", "method"} <= document.data.keys():
        raise InputError(f"{path}: this is a trial file; use `lotbench run`")
    sweep = validate(SweepConfig, document.data, document.fault)
    for name, task in sweep.tasks.items():
        _check_known(document, ("tasks", name), name, task)
    return sweep, document


def load_trial(path: str | Path, overrides: Sequence[str] = ()) -> tuple[TrialConfig, Place]:
    """The trial that a YAML file describes, with ``key.path=value`` overrides, and its place.

    Raises
    ------
    InputError
        As for `load_sweep`.
    """
    document = override(read_yaml(path), overrides)
    if {"tasks", "methods"} <= document.data.keys():
        raise InputError(f"{path}: this is a sweep file; use `lotbench sweep`")
    trial = validate(TrialFile, document.data, document.fault)
    data = TaskConfig(**{key: getattr(trial.task, key) for key in TaskConfig.model_fields})
    _check_known(document, ("task",), trial.task.name, data)
    params = trial.method.model_extra or {}
    if has_grid(params):
        message = "a trial has no grids: give one value, or run a sweep"
        raise InputError(document.fault(("method",), message))
    config = TrialConfig(
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
        targets=trial.targets,
        plugins=trial.plugins,
    )
    return config, Place(document, ("method",), name=("name",))


def stored_sweep(folder: str | Path, overrides: Sequence[str] = ()) -> SweepConfig:
    """The sweep of a store, with ``key=value`` overrides in its ``measure`` section.

    Raises
    ------
    InputError
        If the folder has no sweep, or an override is invalid.
    """
    path = Path(folder) / "sweep.json"
    if not path.is_file():
        raise InputError(f"{folder}: no sweep here (a store has a file sweep.json)")
    measured = [f"measure.{text}" for text in overrides]
    document = override(read_yaml(path), measured)
    return validate(SweepConfig, document.data, document.fault)


def _check_known(document: Document, path: KeyPath, name: str, task: TaskConfig) -> None:
    if task.source is None and name not in BUILT_IN:
        message = (
            f"no built-in task {name!r}; {near_misses(name, list(BUILT_IN))} "
            "For your own data give `source`: a folder or a hub dataset id"
        )
        raise InputError(document.fault(path, message))

"""Read and check sweep and trial files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ConfigDict, Field

from lotbench.config.bounds import TRIALS, written
from lotbench.config.document import Document, Place
from lotbench.config.expand import number_of_trials
from lotbench.config.grid import has_grid
from lotbench.config.overrides import override
from lotbench.config.sections import (
    Layers,
    Name,
    Plugins,
    Section,
    Seed,
    SweepConfig,
    Targets,
    TaskConfig,
    TeacherConfig,
    Text,
    TrainConfig,
    TrialConfig,
)
from lotbench.config.tasks import unusable
from lotbench.config.yaml_reader import read_yaml
from lotbench.errors import Faults, InputError
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

    backbone: Text
    layers: Layers | None = None
    data_root: Text | None = None
    task: NamedTask
    seed: Seed = 0
    train: TrainConfig = TrainConfig()
    teacher: TeacherConfig | None = None
    method: NamedMethod
    targets: Targets | None = None
    plugins: Plugins = Field([])


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
    faults = Faults()
    for name, task in sweep.tasks.items():
        with faults.collected():
            _check_known(document, ("tasks", name), name, task)
    with faults.collected():
        if (many := number_of_trials(sweep)) > TRIALS:
            message = (
                f"{written(many)} trials (tasks x seeds x methods x grids); a sweep has at most "
                f"{TRIALS:,}, so divide it"
            )
            raise InputError(document.fault(("methods",), message))
    faults.check()
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
    if fault := unusable(name, task.source, task.subset):
        raise InputError(document.fault((*path, *fault.path), fault.message))

"""Read and check sweep and trial files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ConfigDict, Field

from lotbench.config.document import Document, Place, read_document
from lotbench.config.sections import (
    EvaluateConfig,
    SweepConfig,
    TaskConfig,
    Taught,
    TrialConfig,
)
from lotbench.config.values import NonEmpty, Section, Seed, Share, Slug, Targets
from lotbench.errors import Faults, InputError, near_misses
from lotbench.validation import KeyPath, validate


class NamedTask(TaskConfig):
    """The task of a trial file."""

    name: Slug


class NamedMethod(Section):
    """The method of a trial file; all keys but ``name`` are its parameters."""

    model_config = ConfigDict(extra="allow")
    name: Slug


class TrialFile(Taught):
    """A trial file: a sweep file with singular keys and no grids."""

    task: NamedTask
    seed: Seed = 0
    evaluate: EvaluateConfig | None = None
    method: NamedMethod
    targets: Targets | None = None
    plugins: list[NonEmpty] = Field([])
    share: Share = 1.0


class Alone(NamedTuple):
    """Methods that are trained without the others of a sweep, and the plugins that define them."""

    methods: Sequence[str]
    plugins: Sequence[str]


def load_sweep(
    path: str | Path,
    overrides: Sequence[str] = (),
    tasks: Sequence[str] = (),
    alone: Alone | None = None,
) -> tuple[SweepConfig, Document]:
    """The sweep that a YAML file describes, with ``key.path=value`` overrides, and the file.

    With ``tasks`` it is of these alone.  With ``alone`` it trains other methods than the file has,
    with their default settings where neither the file nor an override has more, and has a name of
    its own.
    """
    document = _read(
        path, overrides, {"task", "method"}, "this is a trial file; use `lotbench run`", alone
    )
    known = document.data.get("tasks")
    if tasks and isinstance(known, dict):
        if unknown := [name for name in tasks if name not in known]:
            raise InputError(f"--tasks {unknown[0]}: {near_misses(unknown[0], [*known])}")
        document.data["tasks"] = {name: known[name] for name in tasks}
    sweep = validate(SweepConfig, document.data, document.fault)
    if fault := sweep.search_fault():
        raise InputError(document.fault(*fault))
    faults = Faults()
    for name, task in sweep.tasks.items():
        with faults.collected():
            check_task(document, ("tasks", name), name, task)
    faults.check()
    return sweep, document


def load_trial(path: str | Path, overrides: Sequence[str] = ()) -> tuple[TrialConfig, Place]:
    """The trial that a YAML file describes, with ``key.path=value`` overrides, and its place."""
    other = {"tasks", "methods"}
    document = _read(path, overrides, other, "this is a sweep file; use `lotbench sweep`")
    trial = validate(TrialFile, document.data, document.fault)
    data = TaskConfig(**{key: getattr(trial.task, key) for key in TaskConfig.model_fields})
    check_task(document, ("task",), trial.task.name, data)
    config = TrialConfig.of(
        trial,
        task=trial.task.name,
        data=data,
        seed=trial.seed,
        method=trial.method.name,
        params=trial.method.model_extra or {},
        share=trial.share,
    )
    return config, Place(document, ("method",), name=("name",))


def stored_sweep(folder: str | Path, overrides: Sequence[str] = ()) -> SweepConfig:
    """The sweep of a store, with ``key=value`` overrides in its ``measure`` section."""
    path = Path(folder) / "sweep.json"
    try:
        if not path.is_file():
            raise ValueError("no such file; a store has one")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as a stored sweep: {error}") from error
    document = Document(str(path), data).override([f"measure.{text}" for text in overrides])
    return validate(SweepConfig, document.data, document.fault)


def _read(
    path: str | Path,
    overrides: Sequence[str],
    other: set[str],
    advice: str,
    alone: Alone | None = None,
) -> Document:
    """The file with its overrides, unless it has the keys of the other kind of file."""
    document = read_document(path)
    if alone is not None:
        data = document.data
        given = data["methods"] if isinstance(data.get("methods"), dict) else {}
        data["name"] = "-".join([str(data.get("name")), *alone.methods])
        data["methods"] = {name: given.get(name, {}) for name in alone.methods}
        data["plugins"] = [*alone.plugins]
    document.override(overrides)
    if other <= document.data.keys():
        raise InputError(f"{path}: {advice}")
    return document


def check_task(document: Document, path: KeyPath, name: str, task: TaskConfig) -> None:
    """Refuses a task that is `unusable`."""
    from lotbench.config.tasks import unusable  # it imports numpy

    if fault := unusable(name, task):
        below, message = fault
        raise InputError(document.fault((*path, *below), message))

"""A store that somebody sends for the leaderboard: its checks, and its files as one archive."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lotbench.audit.store import Fault, audit
from lotbench.config.sections import SweepConfig, TeacherConfig
from lotbench.store.files import write_file
from lotbench.store.rows import Trial, without_limit
from lotbench.store.store import PULLED, Store

REFERENCE = "dense"
FREE = ("source",)
"""Keys of a task that differ from machine to machine; the rows have the data's fingerprint."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first time that an archive can hold, so that the same files give the same bytes."""


def faults(folder: Path, suite: SweepConfig) -> list[Fault]:
    """What `audit` finds, and what does not fit a suite."""
    found = audit(folder).faults
    trials = Store(folder).trials()
    for trial in trials:
        path = f"{Trial.FOLDER}/{trial.trial_id}.json"
        found += [Fault(path, *complaint) for complaint in _complaints(trial, suite)]
    methods = {trial.method for trial in trials} - {REFERENCE}
    if missing := suite.methods.keys() - methods - {REFERENCE} if len(methods) > 1 else None:
        message = f"several methods, but not all of the suite (without {', '.join(sorted(missing))}"
        found.append(Fault(Trial.FOLDER, "", f"{message}); send one method, or all"))
    for task in sorted({trial.task for trial in trials}):
        for method in sorted(methods):
            own = [trial for trial in trials if (trial.task, trial.method) == (task, method)]
            seeds = {trial.seed for trial in own if trial.reported and trial.status == "done"}
            if lacking := sorted({*suite.confirmation.seeds} - seeds):
                message = f"{method} on {task} has no confirmed row with seed {lacking[0]}"
                found.append(Fault(Trial.FOLDER, "", message))
    return found


def _complaints(trial: Trial, suite: SweepConfig) -> Iterator[tuple[str, str]]:
    """Version, commit and configuration of a row against those of the suite."""
    if trial.suite != suite.suite:
        yield "suite", f"{trial.suite}, but this LoTBench has {suite.suite}"
    if not trial.git_commit or trial.git_commit.endswith("-dirty"):
        yield "git_commit", f"{trial.git_commit}, but a clean commit is needed"
    if trial.task not in suite.tasks:
        yield "task", f"{trial.task}, but the suite has {', '.join(suite.tasks)}"
    elif trial.reported:
        teacher = TeacherConfig.like(suite.train, suite.teacher)
        sections = {"data": suite.tasks[trial.task], "train": suite.train, "teacher": teacher}
        wanted = {key: own.model_dump(mode="json") for key, own in sections.items()}
        wanted = without_limit(wanted) | {"backbone": suite.backbone, "layers": suite.layers}
        held = without_limit(trial.config)
        for key, value in wanted.items():
            if _shared(held.get(key)) != _shared(value):
                yield f"config.{key}", f"{held.get(key)}, but the suite has {value}"


def _shared(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: own for key, own in value.items() if key not in FREE}


def bundle(folder: Path) -> Path:
    """Writes ``<store>.zip`` beside a store: its sweep, page, rows, timings and maps."""
    paths = [path for name in PULLED for path in _files(folder / name)]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for path in paths:
            member = zipfile.ZipInfo(str(Path(folder.name, path.relative_to(folder))), EPOCH)
            member.external_attr = 0o644 << 16
            file.writestr(member, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    return write_file(folder.parent / f"{folder.name}.zip", archive.getvalue())


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.glob("*.json"))


def plugins(folder: Path) -> list[str]:
    """The files and modules that define the methods of a store."""
    return sorted({str(own) for trial in Store(folder).trials() for own in _listed(trial.config)})


def _listed(config: Any) -> list[str]:
    return config.get("plugins") or []

"""`Store`: reads and writes one folder of results."""

from __future__ import annotations

import logging
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from lotbench.errors import InputError
from lotbench.store import bucket, files
from lotbench.store.maps import Map
from lotbench.store.passes import TimingPass
from lotbench.store.record import Record, Stored
from lotbench.store.rows import SweepRecord, Trial
from lotbench.validation import first_fault

log = logging.getLogger(__name__)

Kind = TypeVar("Kind", bound=Stored)
AnyRecord = TypeVar("AnyRecord", bound=Record)

PULLED = ("sweep.json", "README.md", Trial.FOLDER, TimingPass.FOLDER, Map.FOLDER)
"""What is read of a store, but for models."""
UNSHARED = (Trial.FOLDER, "models", "ray")
"""Folders left out of the plain push: rows and models have a rule of their own, logs stay here."""


class Store:
    """The results of one sweep.

    A damaged file is skipped with a warning, so reading does not fail.  A file is read again only
    if it has changed.  In a mirror (see `lotbench.store.bucket`) a record that is written is pushed
    to the bucket at once.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._known: dict[Path, tuple[object, Any]] = {}

    def trials(self) -> list[Trial]:
        """All trials, by trial id."""
        return self._read(Trial)

    def done(self) -> dict[str, Trial]:
        """The finished trials by trial id; they need not run again."""
        return {trial.trial_id: trial for trial in self.trials() if trial.status == "done"}

    def trial(self, trial_id: str) -> Trial | None:
        """The trial with this id, or None; another machine may have pushed it to the bucket."""
        path = self.folder / Trial.FOLDER / f"{trial_id}.json"
        bucket.pull(path)
        return self._load(Trial, path) if path.exists() else None

    def model(self, trial: Trial) -> Path | None:
        """The folder of a trial's model, or None; reference results have no models."""
        if trial.status != "done" or trial.model is None:
            return None
        folder = self.folder / trial.model
        return folder if folder.is_dir() else None

    def sweep(self) -> dict[str, Any] | None:
        """The resolved sweep file, its keys in order, or None."""
        path = self.folder / "sweep.json"
        if not path.exists():
            return None
        try:
            _checked(SweepRecord, path)
            return files.read_json(path)
        except ValueError as error:
            raise InputError(f"{path}: {error}; copy it again, or remove it") from None

    def timings(self) -> list[TimingPass]:
        """All timing passes, oldest first."""
        return sorted(self._read(TimingPass), key=lambda timing: (timing.created, timing.pass_id))

    def newest_passes(self) -> list[TimingPass]:
        """The passes, oldest first, that are comparable with the newest of their task and setting.

        Comparable passes have the same `conditions`.
        """
        timings = self.timings()
        newest = {(row.task, row.setting.label): row.conditions for row in timings}
        return [row for row in timings if row.conditions == newest[row.task, row.setting.label]]

    def maps(self) -> list[Map]:
        """All break-even maps, oldest first."""
        return sorted(self._read(Map), key=lambda row: (row.created, row.map_id))

    def write(self, record: Trial | TimingPass | Map) -> Path:
        """Write a record and return its file; only a trial replaces an older one with its id."""
        path = files.subfolder(self.folder, record.FOLDER) / f"{record.id}.json"
        if not isinstance(record, Trial) and path.exists():
            raise FileExistsError(f"{path}: a measurement is never overwritten")
        files.write_json(path, record.content())
        self._push(record, path)
        return path

    def pull(self, *names: str) -> None:
        """Push what is left here, then pull these files and folders; nothing without a bucket.

        Without names, what is read of a store is pulled.
        """
        self.push()
        bucket.pull(self.folder, *names or PULLED)

    def push(self) -> None:
        """Copy what was changed here to the bucket; nothing without one."""
        for path in bucket.unpushed(self.folder / Trial.FOLDER):
            if (trial := self._load(Trial, path)) is not None:
                self._push(trial, path)
        for path in self.folder.glob("*"):
            if path.name not in UNSHARED:
                bucket.push(path)

    def _push(self, record: Trial | TimingPass | Map, path: Path) -> None:
        """Pushes a record, a trial after its model; another training of it that is done stays."""
        if isinstance(record, Trial):
            theirs = _finished(bucket.read(path))
            if theirs is not None and _training(theirs) != _training(record):
                log.warning("%s: already done elsewhere, so that one is kept", path)
                shutil.rmtree(self.folder / "models" / record.id, ignore_errors=True)
                path.unlink(missing_ok=True)
                bucket.pull(path)
                return
            if record.model is not None:
                bucket.push(self.folder / record.model)
        bucket.push(path)

    def lock(self) -> AbstractContextManager[None]:
        """Locks the store against other processes; see `lotbench.store.files.lock`."""
        return files.lock(self.folder)

    def _read(self, kind: type[Kind]) -> list[Kind]:
        """The records of a kind, by file name."""
        paths = sorted((self.folder / kind.FOLDER).glob("*.json"))
        return [record for path in paths if (record := self._load(kind, path)) is not None]

    def _load(self, kind: type[Kind], path: Path) -> Kind | None:
        """The record of a file; None, with a warning, if the file is damaged."""
        try:
            stat = path.stat()
            state = stat.st_mtime_ns, stat.st_size, stat.st_ino
        except OSError as error:
            state = str(error)
        if path not in self._known or self._known[path][0] != state:
            record = None
            try:
                record = read_record(kind, path)
            except ValueError as error:
                log.warning("%s: skipped, %s", path, error)
            self._known[path] = state, record
        return self._known[path][1]


def read_record(kind: type[Kind], path: Path) -> Kind:
    """The record of a file."""
    record = _checked(kind, path)
    if record.id != path.stem:
        raise ValueError(f"its {kind.ID} is {record.id!r}, which is not its file name")
    return record


def _finished(content: bytes | None) -> Trial | None:
    """The trial of a file's content, if it is done."""
    try:
        trial = Trial.model_validate_json(content or b"")
    except ValidationError:
        return None
    return trial if trial.status == "done" else None


def _training(trial: Trial) -> tuple[object, ...]:
    """What tells one training of a trial from another, whatever its mark in a search."""
    return trial.status, trial.created, trial.evaluations


def _checked(kind: type[AnyRecord], path: Path) -> AnyRecord:
    try:
        return kind.model_validate(files.read_json(path))
    except ValidationError as error:
        raise ValueError(first_fault(error)) from None
    except OSError as error:
        raise ValueError(error.strerror) from None

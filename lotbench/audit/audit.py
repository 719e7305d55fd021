"""`audit`: every fault of a store, and what could not be checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from lotbench.audit import between, passes, trials
from lotbench.audit.fault import Fault
from lotbench.errors import InputError
from lotbench.store.files import read_json
from lotbench.store.record import complaint
from lotbench.store.records import Map, Stored, TimingPass, Trial

Kind = TypeVar("Kind", bound=Stored)


@dataclass
class Audit:
    """What the checks of one store found."""

    folder: Path
    faults: list[Fault] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """Files read, by kind."""
    unchecked: Counter[str] = field(default_factory=Counter)
    """What is missing, so that a check was left out, and in how many files."""


def audit(folder: Path) -> Audit:
    """Check every file of a store by itself and against the others.

    Raises
    ------
    InputError
        If the folder holds no trials.
    """
    if not (folder / Trial.FOLDER).is_dir():
        raise InputError(f"{folder}: no store (it has no folder {Trial.FOLDER!r})")
    found = Audit(folder)
    rows = dict(_read(Trial, found))
    timings = dict(_read(TimingPass, found))
    maps = dict(_read(Map, found))
    for path, trial in rows.items():
        found.faults += trials.faults(path, trial)
        found.unchecked.update(trials.unchecked(trial))
    found.faults += between.faults(rows)
    by_id = {row.trial_id: row for row in rows.values()}
    for path, timing in timings.items():
        found.faults += passes.faults(path, timing, by_id)
        found.unchecked.update(passes.unchecked(timing, by_id))
    for path, own in {**timings, **maps}.items():
        found.faults += trials.provenance(path, own)
    return found


def _read(kind: type[Kind], found: Audit) -> Iterator[tuple[str, Kind]]:
    """The records of a kind by path within the store; files that are no records are faults."""
    for file in sorted((found.folder / kind.FOLDER).glob("*.json")):
        path = f"{kind.FOLDER}/{file.name}"
        found.counts[kind.FOLDER] += 1
        try:
            record = kind.model_validate(read_json(file))
        except (OSError, ValueError) as error:
            why = complaint(error) if isinstance(error, ValidationError) else str(error)
            found.faults.append(Fault(path, "", f"not a record: {why}"))
            continue
        if record.id != file.stem:
            message = f"{record.id!r} is not the name of the file"
            found.faults.append(Fault(path, kind.ID, message))
        yield path, record

"""The results store: a JSON file per trial, timing pass and map, and the tidy frame made of them.

Layout of a store ``results/<sweep>``::

    sweep.json              the resolved sweep
    trials/<trial_id>.json  one trial, replaced as a whole when it is run again
    timings/<pass_id>.json  one timing pass of one setting, never overwritten
    maps/<map_id>.json      one break-even map of one setting, never overwritten

Many processes write at once and any of them may be killed at any moment: a file appears under its
name only once it is complete, and everything that does not end in ``.json`` is ignored.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lotbench.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

# What must be there, and as what, for a record to be read.
TRIAL_KEYS = {
    **dict.fromkeys(("trial_id", "status", "task", "method"), str),
    **{"seed": int, "params": dict},
}
DONE_KEYS = {"metric": str, "evaluations": list}
EVALUATION_KEYS = {"budget": dict, "split": str, "metrics": dict}
TIMING_KEYS = {"pass_id": str, "created": str, "setting": dict, "task": str, "contenders": list}
SETTING_KEYS = {"device": str, "threads": int, "batch_size": int, "dtype": str}
CONTENDER_KEYS = {"name": str, "speedup": dict}
# What need not be there, but if so, as this or null.
TRIAL_EXTRAS = {"config": dict, "teacher": dict, "training": dict, "machine": dict, "error": dict}
EVALUATION_EXTRAS = {"keep_ratio": list}
TIMING_EXTRAS = {"machine": dict, "versions": dict}
CONTENDER_EXTRAS = {"budget": dict, "trial_id": str, "speedup_padded": dict, "time_shares": dict}
FLOOR_KEYS = {"ratio": float}
MAP_KEYS = {"map_id": str, "created": str, "setting": dict, "backbone": dict, "cells": list}
# Always in the frame, in this order, even when the store is empty.
COLUMNS = (
    *("sweep", "trial_id", "task", "method", "seed", "status", "error", "created", "backbone"),
    "setting",
    *("split", "budget", "score_name", "score", "teacher_score"),
    *("flops", "dense_flops", "flops_speedup", "keep_ratio"),
    *("train_seconds", "steps", "precision", "threads", "cpu"),
)
# A null in a row (an undefined correlation, say) must not turn a whole column into objects.
NUMBERS = (
    *("score", "teacher_score", "flops", "dense_flops", "flops_speedup", "keep_ratio"),
    "train_seconds",
)


def write_json(path: Path, value: Any) -> Path:
    """The path, now holding ``value``, put there in one step: readers see all of it or nothing."""
    # Serialised before any file exists, so that a NaN or a foreign type leaves nothing behind.
    text = as_json(value)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Next to its target, because a rename is atomic only within one file system.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def as_json(value: Any) -> str:
    """The text of a file; a ValueError or TypeError where it would hold a NaN or a foreign type."""
    return json.dumps(value, indent=1, allow_nan=False)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps other sweeps and measurements out of a store.

    Raises
    ------
    InputError
        If one is there already, or the folder cannot be made.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror})") from error
    lock = FileLock(folder / "sweep.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"{folder}: another process is at work in this store; wait for it, or rename your sweep"
        ) from None
    try:
        yield
    finally:
        lock.release()


def write_row(folder: str | Path, row: Row) -> Path:
    """The file of one trial's row, replaced if the trial was run before."""
    return write_json(Path(folder) / "trials" / f"{row['trial_id']}.json", row)


def write_timing(folder: str | Path, timing: Row) -> Path:
    """The file of one timing pass; a pass that is already there is an error."""
    return _write_new(Path(folder) / "timings" / f"{timing['pass_id']}.json", timing)


def write_map(folder: str | Path, record: Row) -> Path:
    """The file of one break-even map; a map that is already there is an error."""
    return _write_new(Path(folder) / "maps" / f"{record['map_id']}.json", record)


def read_rows(folder: str | Path) -> list[Row]:
    """All readable trial rows, by trial id; a damaged file is named in a warning and skipped."""
    return _read(Path(folder) / "trials", "trial_id", _trial_complaint)


def read_timings(folder: str | Path) -> list[Row]:
    """All readable timing passes, oldest first; a damaged file is named and skipped."""
    passes = _read(Path(folder) / "timings", "pass_id", _timing_complaint)
    return sorted(passes, key=lambda timing: (timing["created"], timing["pass_id"]))


def read_maps(folder: str | Path) -> list[Row]:
    """All readable break-even maps, oldest first; a damaged file is named and skipped."""
    maps = _read(Path(folder) / "maps", "map_id", lambda record: _lacking(record, MAP_KEYS))
    return sorted(maps, key=lambda record: (record["created"], record["map_id"]))


def finished(folder: str | Path) -> set[str]:
    """The ids of the trials that need not be run again."""
    return {row["trial_id"] for row in read_rows(folder) if row["status"] == "done"}


def origin(timing: Row) -> tuple[Any, ...]:
    """What the passes of one column share: machine, libraries, and how the texts were picked."""
    setting, machine = timing["setting"], timing.get("machine") or {}
    versions = timing.get("versions") or {}
    libraries = versions.get("torch"), versions.get("transformers")
    return setting.get("device_name"), machine.get("cpu_id"), libraries, setting.get("picked")


def standing(timings: list[Row]) -> list[Row]:
    """The passes, oldest first, that have one `origin` with the newest of their task and label."""
    newest = {(t["task"], setting_label(t["setting"])): origin(t) for t in timings}
    return [t for t in timings if origin(t) == newest[t["task"], setting_label(t["setting"])]]


def setting_label(setting: Row) -> str:
    """A timing setting in one word, such as ``cpu-1t-b32-fp32``."""
    return "{device}-{threads}t-b{batch_size}-{dtype}".format_map(setting)


def frame(folder: str | Path) -> pd.DataFrame:
    """One row per trial and evaluation; a trial without any has one row, without scores.

    ``setting`` is equal for trials that differ in nothing but their seed. Speed-ups of the newest
    timing pass stand in ``real.<label>`` (against the fastest dense) with ``.low``, ``.high``,
    ``.padded`` (against the padded dense), ``.flagged`` (no different from 1, or noisy),
    ``.noisy`` (an interval wider than 10%) and ``.flops`` (the FLOPs speed-up on the timed texts
    alone), and the shares of its time in ``.share.<section>``, as far as they were recorded.
    Passes that are not `standing` are left out, with a warning.
    """
    import pandas as pd

    folder = Path(folder)
    if not (folder / "trials").is_dir():
        raise InputError(f"{folder}: no results here (a store has a folder 'trials')")
    real = _real_columns(read_timings(folder))
    records = []
    for row in read_rows(folder):
        trial = _trial_columns(folder, row)
        evaluations = row["evaluations"] if row["status"] == "done" else []
        if not evaluations:
            records.append(trial)
        for evaluation in evaluations:
            record = trial | _evaluation_columns(row, evaluation)
            # The dense baselines may be timed without belonging to a trial.
            for owner in (f"{row['method']} {row['seed']}", row["trial_id"]):
                record |= real.get((row["task"], owner, record["budget"]), {})
            records.append(record)
    names = {name: None for record in records for name in record if name not in COLUMNS}
    table = pd.DataFrame(records, columns=[*COLUMNS, *sorted(names, key=_column_order)])
    for name in table.columns:
        if name.endswith((".flagged", ".noisy")):
            table[name] = table[name].astype("boolean")
        elif name in NUMBERS or name.startswith(("metric.", "real.", "keep_ratio.")):
            table[name] = table[name].astype(float)
    return table


def noise_floors(folder: str | Path) -> dict[tuple[str, str], float]:
    """What dense against itself deviated from 1, by task and setting, in the newest pass."""
    return {
        (timing["task"], setting_label(timing["setting"])): timing["noise_floor"]["ratio"]
        for timing in read_timings(folder)
        if "noise_floor" in timing
    }


def timed_settings(table: pd.DataFrame) -> list[str]:
    """The labels of the timing settings in a frame, in column order."""
    return [name[5:] for name in table.columns if name.startswith("real.") and name.count(".") == 1]


def flat(prefix: str, values: Row) -> Row:
    """Nested values as dotted columns; a list becomes JSON text, which can be grouped by."""
    found: Row = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= flat(f"{prefix}.{name}", value)
        else:
            found[f"{prefix}.{name}"] = json.dumps(value) if isinstance(value, list) else value
    return found


def _write_new(path: Path, record: Row) -> Path:
    if path.exists():
        raise FileExistsError(f"{path}: what was measured is never overwritten")
    return write_json(path, record)


def _read(folder: Path, key: str, complaint: Any) -> list[Row]:
    """The rows of a folder by file name, without those that ``complaint`` objects to."""
    rows = []
    for path in sorted(folder.glob("*.json")):
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
            problem = complaint(row)
            if problem is None and row[key] != path.stem:
                problem = f"holds {key} {row[key]!r}, which is not its file name"
        except (OSError, ValueError) as error:
            problem = str(error)
        if problem is None:
            rows.append(row)
        else:
            warnings.warn(f"{path}: skipped, {problem}", stacklevel=3)
    return rows


def _lacking(row: Any, keys: dict[str, type], extras: dict[str, type] | None = None) -> str | None:
    """What is wrong with the shape of a JSON object, or None; ``extras`` may be absent or null."""
    if not isinstance(row, dict):
        return "not a JSON object"
    missing = [key for key in keys if key not in row]
    if missing:
        return f"no {', '.join(missing)}"
    given = {key: kind for key, kind in (extras or {}).items() if row.get(key) is not None}
    wrong = [key for key, kind in (keys | given).items() if not isinstance(row[key], kind)]
    return f"{wrong[0]} is {row[wrong[0]]!r}" if wrong else None


def _trial_complaint(row: Any) -> str | None:
    problem = _lacking(row, TRIAL_KEYS, TRIAL_EXTRAS)
    if problem is None and row["status"] == "done":
        problem = _lacking(row, DONE_KEYS)
        for evaluation in row["evaluations"] if problem is None else ():
            problem = problem or _lacking(evaluation, EVALUATION_KEYS, EVALUATION_EXTRAS)
    return problem


def _timing_complaint(timing: Any) -> str | None:
    problem = _lacking(timing, TIMING_KEYS, TIMING_EXTRAS)
    if problem is None:
        problem = _lacking(timing["setting"], SETTING_KEYS)
        if "noise_floor" in timing:
            problem = problem or _lacking(timing["noise_floor"], FLOOR_KEYS)
        for contender in timing["contenders"]:
            problem = problem or _lacking(contender, CONTENDER_KEYS, CONTENDER_EXTRAS)
    return problem


def _trial_columns(folder: Path, row: Row) -> Row:
    """What all evaluations of a trial share."""
    training, error = row.get("training") or {}, row.get("error")
    columns = {name: row[name] for name in ("trial_id", "task", "method", "seed", "status")}
    if error:
        step = f" (step {error['step']})" if error.get("step") is not None else ""
        columns["error"] = f"{error.get('kind')}: {error.get('message')}{step}"
    columns |= {
        "sweep": folder.resolve().name,
        "created": row.get("created"),
        "backbone": row.get("backbone"),
        "setting": _setting_hash(row),
        "score_name": row.get("metric"),
        "train_seconds": training.get("seconds"),
        "steps": training.get("steps"),
        "precision": training.get("precision"),
        "threads": training.get("threads"),
        "cpu": (row.get("machine") or {}).get("cpu"),
    }
    return columns | flat("param", row["params"])


def _evaluation_columns(row: Row, evaluation: Row) -> Row:
    """Scores and costs of one trained model at one budget."""
    ratios = evaluation.get("keep_ratio") or []
    teacher = (row.get("teacher") or {}).get("metrics") or {}
    columns = {name: evaluation.get(name) for name in ("flops", "dense_flops", "flops_speedup")}
    columns |= {f"keep_ratio.{layer}": ratio for layer, ratio in enumerate(ratios)}
    columns |= {f"metric.{name}": value for name, value in evaluation["metrics"].items()}
    columns |= flat("budget", evaluation["budget"])
    return columns | {
        "split": evaluation["split"],
        "budget": _budget_text(evaluation["budget"]),
        "score": evaluation["metrics"].get(row["metric"]),
        "teacher_score": teacher.get(evaluation["split"], {}).get(row["metric"]),
        "keep_ratio": sum(ratios) / len(ratios) if ratios else None,
    }


def _real_columns(timings: list[Row]) -> dict[tuple[str, str, str], Row]:
    """Wall-clock columns by (task, trial id or method and seed, budget); the newest pass wins."""
    real: dict[tuple[str, str, str], Row] = {}
    shown = standing(timings)
    for left_out in {t["pass_id"] for t in timings} - {t["pass_id"] for t in shown}:
        warnings.warn(
            f"timing {left_out} left out: the newest pass in its setting is of another machine, "
            "torch, transformers or choice of texts",
            stacklevel=3,
        )
    for timing in shown:
        label = f"real.{setting_label(timing['setting'])}"
        for contender in timing["contenders"]:
            baseline = f"{contender['name']} {timing['setting'].get('seed')}"
            owner = contender.get("trial_id") or baseline
            key = (timing["task"], owner, _budget_text(contender.get("budget") or {}))
            real.setdefault(key, {}).update(
                {
                    label: contender["speedup"].get("median"),
                    f"{label}.low": contender["speedup"].get("low"),
                    f"{label}.high": contender["speedup"].get("high"),
                    f"{label}.padded": (contender.get("speedup_padded") or {}).get("median"),
                    f"{label}.flagged": contender.get("flagged"),
                    f"{label}.noisy": contender.get("noisy"),
                    f"{label}.flops": contender.get("flops_speedup"),
                    **flat(f"{label}.share", contender.get("time_shares") or {}),
                }
            )
    return real


def _setting_hash(row: Row) -> str:
    """A short hash of everything in a trial but its seed and where its plugins lie."""
    config = {k: v for k, v in (row.get("config") or {}).items() if k not in ("seed", "plugins")}
    # Parameters as asked for, in the configuration: a default that is added later changes nothing.
    identity = [row["task"], row["method"], row.get("backbone"), config or row["params"]]
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _budget_text(budget: Row) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(budget.items()))


def _column_order(name: str) -> tuple[int, list[Any]]:
    """Groups of columns in a fixed order, numbers inside names as numbers (layer 2 before 10)."""
    groups = ["param", "budget", "metric", "keep_ratio", "real"]
    parts = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in name.split(".")]
    return groups.index(name.split(".")[0]), parts

"""The tidy frame of a store: one row per trial and evaluation, with its wall-clock columns."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from lotbench.errors import InputError
from lotbench.store.records import Evaluation, Trial, without_limit
from lotbench.store.store import Store
from lotbench.store.timed import (
    Columns,
    columns,
    flat,
    timed_models,
)

if TYPE_CHECKING:
    import pandas as pd

# Always in the frame, in this order, even if the store is empty.
COLUMNS = (
    *("sweep", "trial_id", "task", "method", "seed", "status", "error", "created", "backbone"),
    *("setting", "given"),
    *("split", "target", "budget", "examples", "score_name", "score", "teacher_score"),
    *("flops", "dense_flops", "flops_speedup", "keep_ratio"),
    *("train_seconds", "steps", "precision", "threads", "cpu"),
)
# Converted to float, since a null (an undefined correlation) makes a column of objects.
NUMBERS = (
    *("target", "score", "teacher_score", "flops", "dense_flops", "flops_speedup", "keep_ratio"),
    "train_seconds",
)


def frame(folder: str | Path) -> pd.DataFrame:
    """The results of a store, one row per trial and evaluation.

    A trial without evaluations has one row without scores.  Trials that differ only in
    their seed have the same ``setting``.  ``given`` has the parameters that their file gives, as
    JSON; ``param.<name>`` are all of them, with defaults.  ``target`` is the FLOPs speed-up that
    ``budget`` was searched for, and missing if the budget was given.  ``examples`` counts the texts
    of the split.

    Each timing setting, such as ``cpu-1t-b32``, has columns from its newest pass, for the backend
    in which the model is fastest and holds its score (see `lotbench.store.timed.best_backend`):

    - ``real.<label>``: ``x best``, the speed-up against the fastest dense model of any backend that
      holds its score, with its 95% interval in ``.low`` and ``.high``;
    - ``.backend``: the name of the backend;
    - ``.same``, with ``.low`` and ``.high``: ``x same``, against dense of the same backend;
    - ``.score``: the score in that backend, on the split of the row;
    - ``.seconds``: seconds per text; ``.p50``, ``.p90``, ``.p95``, ``.p99``: seconds of a call;
    - ``.flagged`` and ``.noisy``: see `lotbench.store.timing_parts.Speedup`;
    - ``.flops``: the FLOPs speed-up on the timed texts alone.

    Each backend has columns of its own under ``real.<label>-<backend>``: that column is ``x same``
    and ``.best`` is ``x best``, both with intervals; ``.padded`` is the speed-up against the padded
    dense model, and ``.share.<section>`` the share of the time that a section takes (torch only).
    An older pass has the columns of one backend, under a label with its number format
    (``cpu-1t-b32-fp32``).

    A pass with other `conditions` than the newest pass is skipped, with a warning.

    Raises
    ------
    InputError
        If the folder is not a store.
    """
    import pandas as pd

    store = Store(folder)
    if not (store.folder / Trial.FOLDER).is_dir():
        raise InputError(f"{folder}: no results here (a store has a folder 'trials')")
    real = timed_models(store)
    records = []
    for trial in store.trials():
        own = _trial_columns(trial) | {"sweep": store.folder.resolve().name}
        evaluations = trial.evaluations if trial.status == "done" else []
        if not evaluations:
            records.append(own)
        for evaluation in evaluations:
            record = own | _evaluation_columns(trial, evaluation)
            # A pass may time the dense baselines without a trial of theirs.
            for owner in (f"{trial.method} {trial.seed}", trial.trial_id):
                timed = real.get((trial.task, owner, record["budget"]), {})
                record |= columns(timed, evaluation.split)
            records.append(record)
    names = {name: None for record in records for name in record if name not in COLUMNS}
    table = pd.DataFrame(records, columns=[*COLUMNS, *sorted(names, key=_column_order)])
    types = {}
    for name in table.columns:
        if name.endswith((".flagged", ".noisy")):
            types[name] = "boolean"
        elif name.endswith(".backend"):
            continue
        elif name in NUMBERS or name.startswith(("metric.", "real.", "keep_ratio.")):
            types[name] = "float"
    # A copy joins the columns, else pandas warns of fragments.
    return table.astype(types).copy()


def noise_floors(folder: str | Path) -> dict[tuple[str, str], float]:
    """The noise floor's ratio in the newest pass, by task and setting."""
    return {
        (timing.task, timing.setting.label): timing.noise_floor.ratio
        for timing in Store(folder).timings()
        if timing.noise_floor is not None
    }


def timed_labels(table: pd.DataFrame) -> list[str]:
    """The labels of all columns ``real.<label>`` in a frame: settings, with and without backend."""
    return [name[5:] for name in table.columns if name.startswith("real.") and name.count(".") == 1]


def _trial_columns(trial: Trial) -> Columns:
    """The columns that all evaluations of a trial share."""
    columns = {name: getattr(trial, name) for name in ("trial_id", "task", "method", "seed")}
    columns |= {
        "status": trial.status,
        "created": trial.created,
        "backbone": trial.backbone,
        "setting": _setting_hash(trial),
        "given": json.dumps((trial.config or {}).get("params") or {}, sort_keys=True),
        "score_name": trial.metric,
        "cpu": trial.machine and trial.machine.cpu,
    }
    error, training = trial.error, trial.training
    if error and (error.kind or error.message):
        step = f" (step {error.step})" if error.step is not None else ""
        columns["error"] = f"{error.kind}: {error.message}{step}"
    if training:
        columns["train_seconds"] = training.seconds
        columns |= {name: getattr(training, name) for name in ("steps", "precision", "threads")}
    return columns | flat("param", trial.params)


def _evaluation_columns(trial: Trial, evaluation: Evaluation) -> Columns:
    """Scores and costs of one trained model at one budget."""
    metric, ratios = str(trial.metric), evaluation.keep_ratio or []
    teacher = (trial.teacher and trial.teacher.metrics) or {}
    columns = flat("budget", dict([evaluation.budget] if evaluation.budget else []))
    columns |= {f"keep_ratio.{layer}": ratio for layer, ratio in enumerate(ratios)}
    columns |= {f"metric.{name}": value for name, value in evaluation.metrics.items()}
    return columns | {
        "split": evaluation.split,
        "target": evaluation.target,
        "budget": str(evaluation.budget or ""),
        "examples": evaluation.examples,
        "score": evaluation.metrics.get(metric),
        "teacher_score": teacher.get(evaluation.split, {}).get(metric),
        "flops": evaluation.flops,
        "dense_flops": evaluation.dense_flops,
        "flops_speedup": evaluation.flops_speedup,
        "keep_ratio": sum(ratios) / len(ratios) if ratios else None,
    }


def _setting_hash(trial: Trial) -> str:
    """A short hash of a trial's configuration without its seed and plugin paths."""
    config = without_limit(trial.config or {})
    config = {k: v for k, v in config.items() if k not in ("seed", "plugins")}
    # The configuration has only the given parameters, so a new default changes no hash.
    identity = [trial.task, trial.method, trial.backbone, config or trial.params]
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _column_order(name: str) -> tuple[int, list[tuple[int, int, str]]]:
    """Sort key: groups in a fixed order, then numbers by value (layer 2 before layer 10)."""
    groups = ["param", "budget", "metric", "keep_ratio", "real"]
    parts = [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in name.split(".")]
    return groups.index(name.split(".")[0]), parts

"""The tidy frame of a store: one row per trial and evaluation, with its wall-clock columns."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lotbench.errors import InputError
from lotbench.store.record import Budget
from lotbench.store.records import Contender, Evaluation, TimingPass, Trial
from lotbench.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

Columns = dict[str, Any]
"""One row of the frame, or a part of it, by column."""

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
    of the split.  Each timing setting has columns from its newest pass:

    - ``real.<label>``: the speed-up against the fastest dense model, with its 95% interval in
      ``.low`` and ``.high``;
    - ``.padded``: the speed-up against the padded dense model;
    - ``.flagged`` and ``.noisy``: see `lotbench.store.records.Contender`;
    - ``.flops``: the FLOPs speed-up on the timed texts alone;
    - ``.share.<section>``: the share of the time that a section takes.

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
    real = _real_columns(store)
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
                record |= real.get((trial.task, owner, record["budget"]), {})
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
    """The noise floor's ratio in the newest pass, by task and setting."""
    return {
        (timing.task, timing.setting.label): timing.noise_floor.ratio
        for timing in Store(folder).timings()
        if timing.noise_floor is not None
    }


def timed_settings(table: pd.DataFrame) -> list[str]:
    """The labels of the timing settings in a frame, in column order."""
    return [name[5:] for name in table.columns if name.startswith("real.") and name.count(".") == 1]


def flat(prefix: str, values: Mapping[str, Any]) -> Columns:
    """Nested values as columns with dotted names; a list becomes JSON text, which is hashable."""
    found: Columns = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= flat(f"{prefix}.{name}", value)
        else:
            found[f"{prefix}.{name}"] = json.dumps(value) if isinstance(value, list) else value
    return found


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
    columns = flat("budget", evaluation.budget)
    columns |= {f"keep_ratio.{layer}": ratio for layer, ratio in enumerate(ratios)}
    columns |= {f"metric.{name}": value for name, value in evaluation.metrics.items()}
    return columns | {
        "split": evaluation.split,
        "target": evaluation.target,
        "budget": budget_text(evaluation.budget),
        "examples": evaluation.examples,
        "score": evaluation.metrics.get(metric),
        "teacher_score": teacher.get(evaluation.split, {}).get(metric),
        "flops": evaluation.flops,
        "dense_flops": evaluation.dense_flops,
        "flops_speedup": evaluation.flops_speedup,
        "keep_ratio": sum(ratios) / len(ratios) if ratios else None,
    }


def _real_columns(store: Store) -> dict[tuple[str, str, str], Columns]:
    """Wall-clock columns by (task, trial id or method and seed, budget); the newest pass wins."""
    real: dict[tuple[str, str, str], Columns] = {}
    shown = store.newest_passes()
    for skipped in {t.pass_id for t in store.timings()} - {t.pass_id for t in shown}:
        log.warning(
            "timing %s skipped: the newest pass in its setting has another machine, torch, "
            "transformers, choice of texts, protocol or engine; measure again to compare",
            skipped,
        )
    for timing in shown:
        for contender in timing.contenders:
            owner = contender.trial_id or f"{contender.name} {timing.setting.seed}"
            key = (timing.task, owner, budget_text(contender.budget or {}))
            real.setdefault(key, {}).update(_contender_columns(timing, contender))
    return real


def _contender_columns(timing: TimingPass, contender: Contender) -> Columns:
    label, padded = f"real.{timing.setting.label}", contender.speedup_padded
    return {
        label: contender.speedup.median,
        f"{label}.low": contender.speedup.low,
        f"{label}.high": contender.speedup.high,
        f"{label}.padded": padded and padded.median,
        f"{label}.flagged": contender.flagged,
        f"{label}.noisy": contender.noisy,
        f"{label}.flops": contender.flops_speedup,
        **flat(f"{label}.share", contender.time_shares or {}),
    }


def _setting_hash(trial: Trial) -> str:
    """A short hash of a trial's configuration without its seed and plugin paths."""
    config = {k: v for k, v in (trial.config or {}).items() if k not in ("seed", "plugins")}
    # The configuration has only the given parameters, so a new default changes no hash.
    identity = [trial.task, trial.method, trial.backbone, config or trial.params]
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def budget_text(budget: Budget) -> str:
    """The budget as the frame writes it: ``threshold=0.5``, or an empty text."""
    return " ".join(f"{name}={value}" for name, value in sorted(budget.items()))


def _column_order(name: str) -> tuple[int, list[tuple[int, int, str]]]:
    """Sort key: groups in a fixed order, then numbers by value (layer 2 before layer 10)."""
    groups = ["param", "budget", "metric", "keep_ratio", "real"]
    parts = [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in name.split(".")]
    return groups.index(name.split(".")[0]), parts

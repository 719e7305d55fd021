"""What a sweep is to do: its trials, each checked, less those that its store already has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lotbench import store
from lotbench.engine.backbone import read_config
from lotbench.errors import InputError
from lotbench.measure import timing
from lotbench.study.config import SweepConfig, TrialConfig, expand
from lotbench.study.trial import check_fits, trial_id

COMMON = {"backbone", "layers", "data_root", "data", "train", "teacher"}
"""What all trials of a task have in common in one store."""


@dataclass
class Plan:
    """The trials of a sweep and which of them are still to do."""

    folder: Path
    trials: dict[str, TrialConfig]
    todo: dict[str, TrialConfig]


def plan(sweep: SweepConfig, root: Path, max_trials: int | None = None) -> Plan:
    """The trials of a sweep, each resolved, so that bad parameters are told before any work.

    Raises
    ------
    InputError
        If a method, parameter, plugin or device is at fault, or the store holds trials that must
        not be compared with these.
    """
    if sweep.measure is not None:
        timing.settings(sweep.measure.devices, sweep.measure.threads, sweep.measure.dtypes)
    folder = (root / sweep.name).resolve()
    trials = {trial_id(config): config for config in map(_absolute, expand(sweep))}
    rows = [row for row in store.read_rows(folder) if row["status"] == "done"]
    _check_comparable(folder, rows, {config.task: config for config in trials.values()})
    done = {row["trial_id"] for row in rows}
    todo = {name: config for name, config in trials.items() if name not in done}
    if todo:
        backbone = read_config(sweep.backbone)
        for config in todo.values():
            check_fits(config, backbone.num_hidden_layers, backbone.hidden_size)
    return Plan(folder, trials, dict(list(todo.items())[:max_trials]))


def _check_comparable(
    folder: Path, rows: list[dict[str, Any]], tasks: dict[str, TrialConfig]
) -> None:
    """Refuses to add to a store whose trials of a task have another dense model behind them."""
    for row in rows:
        if row["task"] not in tasks or not row.get("config"):
            continue
        wanted = store.flat("", tasks[row["task"]].model_dump(mode="json", include=COMMON))
        held = store.flat("", {key: row["config"].get(key) for key in COMMON})
        for key in {**wanted, **held}:  # some are left out where they change nothing
            if held.get(key) != wanted.get(key):
                raise InputError(
                    f"{folder}: holds trials of {row['task']} with {key[1:]} {held.get(key)}, now "
                    f"it is {wanted.get(key)}, but one dense model must stand behind all of them; "
                    "give this sweep a name of its own (--set name=...)"
                )


def _absolute(config: TrialConfig) -> TrialConfig:
    """The trial with plugin files by their full path: workers run in folders of their own."""
    plugins = [str(Path(p).resolve()) if p.endswith(".py") else p for p in config.plugins]
    return config.model_copy(update={"plugins": plugins})

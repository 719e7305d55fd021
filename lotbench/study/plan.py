"""What a sweep is to do: its trials, each checked, less those that its store already has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lotbench import store
from lotbench.config.load import expand
from lotbench.config.sections import SweepConfig, TrialConfig
from lotbench.engine.loading import read_config
from lotbench.measure import launch
from lotbench.study.trial import check_comparable, check_fits, trial_id


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
        launch.settings(sweep.measure.devices, sweep.measure.threads, sweep.measure.dtypes)
    folder = (root / sweep.name).resolve()
    trials = {trial_id(config): config for config in map(_absolute, expand(sweep))}
    rows = [row for row in store.read_rows(folder) if row["status"] == "done"]
    for config in {config.task: config for config in trials.values()}.values():
        check_comparable(folder, rows, config)
    done = {row["trial_id"] for row in rows}
    # What has failed before comes last: it may do so again, and max_trials must get past it.
    failed = {row["trial_id"] for row in store.read_rows(folder)} - done
    left = [name for name in trials if name not in done]
    todo = {name: trials[name] for name in sorted(left, key=lambda name: name in failed)}
    if todo:
        backbone = read_config(sweep.backbone)
        for config in todo.values():
            check_fits(config, backbone.num_hidden_layers, backbone.hidden_size)
    return Plan(folder, trials, dict(list(todo.items())[:max_trials]))


def _absolute(config: TrialConfig) -> TrialConfig:
    """The trial with plugin files by their full path: workers run in folders of their own."""
    plugins = [str(Path(p).resolve()) if p.endswith(".py") else p for p in config.plugins]
    return config.model_copy(update={"plugins": plugins})

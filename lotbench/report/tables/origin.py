"""Where the numbers of a store are from: machines, versions, configurations, commands, faults."""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

from lotbench.report import text
from lotbench.report.tables.render import Table
from lotbench.report.text import PLUS_MINUS, TIMES
from lotbench.statistics.frames import error_text
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import Where
from lotbench.store.passes import TimingPass
from lotbench.store.record import Machine
from lotbench.store.rows import Trial

Config = dict[str, Any]
"""A configuration as JSON."""

UNKNOWN = "not recorded"
# Sections of a configuration that a sweep file shares among its trials.
SHARED = ("backbone", "layers", "train", "teacher")


class Configuration:
    """One configuration, which may have run with several seeds."""

    def __init__(self, trials: list[Trial]) -> None:
        first = trials[0]
        config: Config = first.config
        params = " ".join(f"{k}={v}" for k, v in config.get("params", {}).items())
        self.name = f"{first.task}, {first.method} {params}".strip()
        self.seeds = sorted({trial.seed for trial in trials})
        self.trials = [trial.trial_id for trial in trials]
        self.commits = sorted({trial.git_commit or UNKNOWN for trial in trials})
        # The trial file in YAML that runs it again, with the first seed.
        self.file = _yaml(_trial_file(config))


class Origin:
    """All that one needs to run a store again, from its records and its sweep file."""

    def __init__(self, study: StoreView) -> None:
        trials, passes, sweep = study.trials, study.passes, study.store.sweep()
        others = [names for trial in trials if sweep and (names := _differing(trial, sweep))]
        stale = len(others) == len(trials)
        self.facts = _facts(trials, passes)
        self.versions = _versions([*trials, *passes])
        self.sweep = _yaml(sweep) if sweep else None
        groups: dict[str, list[Trial]] = defaultdict(list)
        for trial in trials:
            groups[json.dumps({**trial.config, "seed": None}, sort_keys=True)].append(trial)
        self.configurations = [Configuration(group) for group in groups.values()]
        self.commands = _commands(study.folder, trials, passes, sweep is not None and not stale)
        # What the commands do not make again.
        self.notes = _notes(trials, others, sweep is not None)


def failures(study: StoreView) -> Table | None:
    """The failed trials, each with its error; None if there is none."""
    rows = [[run.trial.trial_id, error_text(run) or UNKNOWN] for run in study.failed]
    return Table("Failed trials", ["trial", "error"], [rows], [], texts=2) if rows else None


def wide_timings(study: StoreView) -> Table | None:
    """The models whose call or encoder has an interval wider than 10%; None if there is none."""
    rows = []
    for timing, own in study.clocks.timed.values():
        for part, times in (("call", own.call), ("encoder", own)):
            if times and times.noisy:
                speed = times.speedup
                half = f"{speed.median:.2f} {PLUS_MINUS}{(speed.high - speed.low) / 2:.2f}"
                wide = f"{100 * (speed.high - speed.low) / speed.median:.0f}%"
                where = text.timing_setting(Where.of(timing))
                rows.append([own.name, f"{where}, {own.backend}", part, half, wide])
    if not rows:
        return None
    columns = ["model", "timed on", "part", f"same backend {TIMES}", "width of the interval"]
    note = "measure again on a quieter machine or with more rounds (see `lotbench measure`)"
    return Table(
        "Timings with an interval wider than 10%", columns, [sorted(rows)], [note], texts=3
    )


def _facts(trials: list[Trial], passes: list[TimingPass]) -> list[tuple[str, str]]:
    """Machines, commits and the like: what it is, and its value."""
    days = sorted(trial.created[:10] for trial in trials)
    found = {
        "Trained on": [_machine(trial.machine) for trial in trials],
        "Timed on": [_machine(timing.machine) for timing in passes],
        "Trials ran": [" to ".join(dict.fromkeys([days[0], days[-1]]))] if days else [],
        "Commit of LoTBench": [own.git_commit or UNKNOWN for own in [*trials, *passes]],
        "Data": [_data(trial) for trial in trials if trial.data],
    }
    return [(name, "; ".join(dict.fromkeys(values))) for name, values in found.items() if values]


def _machine(machine: Machine) -> str:
    if machine.cpu is None:
        return UNKNOWN
    parts = [machine.cpu]
    parts += [text.count(machine.cores, "core")] if machine.cores else []
    parts += [f"{machine.memory_gib:g} GiB"] if machine.memory_gib else []
    parts += [gpu.get("name", "GPU") for gpu in machine.gpus or []]
    return ", ".join([*parts, *([machine.os] if machine.os else [])])


def _data(trial: Trial) -> str:
    assert trial.data is not None, "asked of trials with data"
    size = f", {trial.data.train} texts to train on" if trial.data.train else ""
    return f"{trial.task} {trial.data.fingerprint or UNKNOWN}{size}"


def _versions(records: list[Trial | TimingPass]) -> Table | None:
    found: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for name, version in record.versions.items():
            found[name].add(version)
    rows = [[name, ", ".join(sorted(found[name]))] for name in found]
    title = "Versions of Python and its packages"
    return Table(title, ["package", "version"], [rows], [], texts=2) if rows else None


def _differing(trial: Trial, sweep: Config) -> set[str]:
    """The sections in which a trial's configuration differs from the sweep file."""
    config: Config = trial.config
    same_task = config.get("data") == sweep["tasks"].get(trial.task)
    names = {name for name in SHARED if config.get(name) != sweep.get(name)}
    return names if same_task else names | {"tasks"}


def _notes(trials: list[Trial], others: list[set[str]], swept: bool) -> list[str]:
    notes = []
    if not swept:
        notes.append("The store has no sweep file; run the trial files below.")
    if others:
        which = "All" if len(others) == len(trials) else f"{len(others)} of {len(trials)}"
        names = text.listed(sorted(set.union(*others)))
        notes.append(
            f"{which} trials have another configuration than the sweep file (in {names}); run "
            "their trial files below."
        )
    if any((trial.git_commit or "").endswith("-dirty") for trial in trials):
        notes.append("Some trials ran with local changes to LoTBench that no commit holds.")
    return notes


def _trial_file(config: Config) -> Config:
    """A trial file with the configuration of a row; missing sections take their defaults."""
    named = {
        "task": {"name": config.get("task"), **_given(config.get("data", {}))},
        "method": {"name": config.get("method"), **config.get("params", {})},
    }
    same = {k: v for k, v in config.items() if k not in ("task", "data", "method", "params")}
    return _given({**same, **named})


def _given(values: Config) -> Config:
    """The values that are not null, which is what a missing key means."""
    return {key: value for key, value in values.items() if value is not None}


def _commands(
    folder: Path, trials: list[Trial], passes: list[TimingPass], swept: bool
) -> list[str]:
    """The shell commands that make the store again."""
    name = folder.resolve().name
    newest = sorted(trials, key=lambda own: (own.created, own.trial_id))
    commits = [own.git_commit for own in newest if own.git_commit]
    lines = [f"git checkout {commit.removesuffix('-dirty')}" for commit in commits[-1:]]
    if swept:
        lines.append(
            f"lotbench sweep {shlex.quote(f'{folder}/sweep.json')} --set name={name}-again"
        )
        again = f"results/{name}-again"
        lines += [f"lotbench measure {again}"] if passes else []
        lines.append(f"lotbench report {again}")
    return lines


def _yaml(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)

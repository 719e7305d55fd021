"""The stored models that are still to be timed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from lotbench import backends, engine, machine
from lotbench.budget import Budget
from lotbench.config.sections import MeasureConfig
from lotbench.engine import checkpoint
from lotbench.errors import InputError
from lotbench.measure import launch, protocol
from lotbench.measure.devices import device_name
from lotbench.measure.spec import DeviceSetting, Entry
from lotbench.store.passes import Picked, TimingPass, conditions
from lotbench.store.rows import Trial
from lotbench.store.store import Store
from lotbench.timing.cost import dense_rate, in_words, pass_texts
from lotbench.trial.checks import stored_config
from lotbench.trial.progress import rough

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selection:
    """The models of one task and one dense model that are to be timed on a device."""

    trials: list[Trial]
    """All trials with this dense model, and the dense trial if there is one."""
    device: str
    backends: list[str]
    batch_sizes: list[int]
    picked: Picked
    """How the timed texts are picked."""
    entries: dict[DeviceSetting, list[Entry]]
    """By setting, the models at each budget in each backend."""

    def seconds(self, config: MeasureConfig) -> float:
        """About how long the passes take."""
        models, trial = self.models(), stored_config(self.trials[0])
        points = [(trial.trial_id, own) for trial in self.trials for own in trial.evaluations]
        chosen = [own for name, own in points if (name, own.budget) in models]
        speedups = [own.flops_speedup for own in chosen if own.split == "validation"]
        texts = sum({own.split: own.examples for own in chosen}.values())
        flops = chosen[0].dense_flops * pass_texts(config, self.backends, speedups, texts)
        return sum(
            flops / dense_rate(trial.backbone, trial.layers, setting) for setting in self.entries
        )

    def models(self) -> set[tuple[str | None, Budget | None]]:
        """The trial and the budget of each model."""
        return {(each.trial_id, each.budget) for own in self.entries.values() for each in own}


def announced(selections: Sequence[Selection], config: MeasureConfig) -> list[str]:
    """What the passes time and how long that takes, a line each; with several the sum."""
    lines, total = [], 0.0
    for own in selections:
        first, seconds = own.trials[0], own.seconds(config)
        models, names = len(own.models()), len(own.backends)
        exported = len({name for name, _ in own.models()})
        where = f"timing {first.task}, seed {first.seed}, on {own.device}"
        counts = f"{models} model{'s' * (models > 1)}, {names} backend{'s' * (names > 1)}"
        lines.append(f"{where}: {counts}: {in_words(seconds, exported, own.backends)}")
        total += seconds
    return [*lines, f"timing: about {rough(total)} in all"] if len(lines) > 1 else lines


def select(
    store: Store, config: MeasureConfig, ids: set[str] | None, again: bool, plugins: Sequence[str]
) -> list[Selection]:
    """What is to be timed: all of it ``again``, or what no comparable pass of the store has."""
    trials = [trial for trial in _reported(store) if ids is None or trial.trial_id in ids]
    if not any(map(store.model, trials)):
        raise InputError(
            f"{store.folder}: no stored models to time; to train some, run the sweep with "
            "--results and another folder"
        )
    known = [] if again else store.newest_passes()
    picked = Picked(examples=config.examples, run=max(config.batch_sizes), queries=config.queries)
    found = []
    for own in _with_one_dense_model(trials):
        task, sizes = own[0].task, _batch_sizes(config, own[0])
        reduced = [trial for trial in own if trial.method != "dense"]
        if not reduced:
            log.info(
                "%s, seed %d: nothing but dense, so there is nothing to time", task, own[0].seed
            )
        models = [_entries(store, trial, config, plugins) for trial in reduced]
        settings = launch.settings(config.devices, config.threads)
        for device, on_device in groupby(settings, key=lambda setting: setting.device):
            names = backends.chosen(config.backends, device)
            where = device_name(device), machine.cpu_id()
            rules = protocol.VERSION, engine.VERSION
            today = conditions(where, machine.versions(), picked, rules, names)
            timed = _timed(each for each in known if each.task == task and each.conditions == today)
            # What shares a loaded model is together.
            reducing = [name for name in names if not backends.BY_NAME[name].compiled]
            wanted = [replace(e, backend=name) for own in models for name in reducing for e in own]
            entries = {
                setting: missing
                for setting in on_device
                if (missing := [e for e in wanted if not timed >= _needed(e, setting, sizes)])
            }
            if entries:
                found.append(Selection(own, device, names, sizes, picked, entries))
    return found


def check_targets(store: Store, config: MeasureConfig) -> None:
    """Refuses to time a target that no stored trial has."""
    every = [each.target for trial in _reported(store) for each in trial.evaluations]
    known = sorted({target for target in every if target is not None})
    for target in config.targets or ():
        if target not in known:
            names = ", ".join(f"{each:g}" for each in known) or "none"
            raise InputError(
                f"measure.targets: {target:g} is not a target of the trials of {store.folder} "
                f"(known: {names})"
            )


def _reported(store: Store) -> list[Trial]:
    """The finished trials but those of searches, of which no speed is reported."""
    return [trial for trial in store.done().values() if trial.reported]


def _with_one_dense_model(trials: list[Trial]) -> list[list[Trial]]:
    """The trials in groups with the same backbone, data, seed and teacher."""

    def key(trial: Trial) -> tuple[str, int, str]:
        return trial.task, trial.seed, stored_config(trial).teacher_key()

    return [list(members) for _, members in groupby(sorted(trials, key=key), key=key)]


def _batch_sizes(config: MeasureConfig, trial: Trial) -> list[int]:
    """The batch sizes that the validation split can fill."""
    counts = [each.examples for each in trial.evaluations if each.split == "validation"]
    texts = min(counts, default=0)
    for size in config.batch_sizes:
        if size > texts:
            log.warning("%s: %d texts are too few for a batch of %d", trial.task, texts, size)
    return [size for size in config.batch_sizes if size <= texts]


def _entries(
    store: Store, trial: Trial, config: MeasureConfig, plugins: Sequence[str]
) -> list[Entry]:
    """A trial's model at each budget to time; none without a model of the method's version."""
    folder = store.model(trial)
    if folder is None:
        return []
    try:
        checkpoint.method_of(folder, plugins)
    except InputError as error:
        log.warning("not timed: %s", error)
        return []
    budgets = [
        each.budget
        for each in trial.evaluations
        if each.split == "validation"
        and (not config.targets or each.target is None or each.target in config.targets)
    ]
    return [
        Entry(
            name=f"{trial.trial_id} {budget or ''}".strip(),
            trial_id=trial.trial_id,
            folder=str(folder.resolve()),
            budget=budget,
        )
        for budget in dict.fromkeys(budgets)
    ]


def _needed(entry: Entry, setting: DeviceSetting, sizes: list[int]) -> set[tuple[object, ...]]:
    """What `_timed` has of an entry that is timed in a setting at each batch size."""
    own = entry.trial_id, entry.budget, entry.backend
    return {(setting.device, setting.threads, size, *own) for size in sizes}


def _timed(passes: Iterable[TimingPass]) -> set[tuple[object, ...]]:
    """The models that were timed, or need not be, each with device, threads and batch size."""
    return {
        (own.device, own.threads, own.batch_size, each.trial_id, each.budget, each.backend)
        for record in passes
        for own in [record.setting]
        for each in (*record.contenders, *(record.unable or ()), *(record.slower or ()))
    }

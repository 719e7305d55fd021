"""Checks before any work: a store may take a trial, its disk has room, and its method fits."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lotbench.config.document import Document
from lotbench.config.sections import SweepConfig, TrialConfig
from lotbench.engine.config_of_backbone import read_config
from lotbench.engine.loading import weight_bytes
from lotbench.errors import InputError
from lotbench.plan.suggest import OPTUNA_STARTS
from lotbench.store.store import Store
from lotbench.trial.planned import PlannedTrial

log = logging.getLogger(__name__)

COMMON = ("backbone", "layers", "data_root", "data", "train", "teacher", "evaluate")
"""Settings that all trials of a task in one store have in common."""
ROOM = 32 * 2**20
"""Bytes for rows, logs and the other files of a model."""


def check_room(folder: Path, backbone: str, trials: int = 1) -> None:
    """Refuses a store on a disk without room for one model; warns if there is none for all."""
    size = weight_bytes(backbone)
    exists = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    free = shutil.disk_usage(exists).free
    if free < size + ROOM:
        raise InputError(
            f"{folder}: {free / 1e6:.0f} MB are free, but a trained model needs "
            f"{(size + ROOM) / 1e6:.0f}; free some, or use another disk with --results"
        )
    if free < trials * size + ROOM:
        log.warning(
            "%s: %.1f GB are free, but the models of %d trials need about %.1f; without room, rows "
            "are kept and models are not",
            folder,
            free / 1e9,
            trials,
            trials * size / 1e9,
        )


def check_comparable(store: Store, config: TrialConfig) -> None:
    """Refuses to add a trial to a store whose trials of its task have another dense model."""
    wanted = _common(config.model_dump(mode="json")) | {"suite": config.suite}
    for trial in store.done().values():
        if trial.task != config.task or not trial.config:
            continue
        held = _common(trial.config) | {"suite": trial.suite}
        for key in {**wanted, **held}:  # a setting that changes nothing is in neither
            if held.get(key) != wanted.get(key):
                raise InputError(
                    f"{store.folder}: holds trials of {trial.task} with {key} {held.get(key)}, now "
                    f"it is {wanted.get(key)}; all trials of a store need the same dense model, so "
                    "use another store (a sweep: --set name=..., a run: --results ...)"
                )


def _common(config: Mapping[str, Any]) -> dict[str, object]:
    """The settings of a configuration that all trials of a task have in common, by dotted name."""
    settings = dict(pair for key in COMMON for pair in _flat(key, config.get(key)))
    settings.pop("train.max_minutes", None)  # it changes no result
    return settings


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield name, value
        return
    for key, part in value.items():
        yield from _flat(f"{name}.{key}", part)


def check_fits(trials: Iterable[PlannedTrial], backbone: str) -> None:
    """Builds the methods for the backbone, so that what does not fit is found before training."""
    # Once for each setting, whatever its task and seed: building a method takes milliseconds.
    settings = {(trial.method, trial.contents): trial for trial in trials}
    if not settings:
        return
    first, *_ = settings.values()
    with first.place.document.at(("backbone",)):
        pretrained = read_config(backbone)
    for trial in settings.values():
        layers = trial.config.layers or pretrained.num_hidden_layers
        if layers > pretrained.num_hidden_layers:
            message = f"{layers}, but the backbone has only {pretrained.num_hidden_layers} layers"
            raise InputError(trial.place.document.fault(("layers",), message))
        try:
            trial.method(trial.params, layers, pretrained.hidden_size)
        except InputError as error:
            message = str(error).removeprefix(f"{trial.config.method}: ")
            raise InputError(trial.place.fault((), message)) from error
        except (Exception, SystemExit):
            continue  # a fault of the method's code: its trial fails and stores the traceback


def check_algorithm(sweep: SweepConfig, document: Document) -> None:
    """Refuses Optuna where it is missing, and says where it is of no use."""
    if sweep.search is None or sweep.search.algorithm != "optuna":
        return
    if find_spec("optuna") is None:
        message = "Optuna is not installed; pip install 'lotbench[optuna]', or use quasirandom"
        raise InputError(document.fault(("search", "algorithm"), message))
    if sweep.search.trials < OPTUNA_STARTS:
        log.warning(
            "search.trials: with %d trials Optuna hardly differs from random points; %d are enough "
            "to learn from",
            sweep.search.trials,
            OPTUNA_STARTS,
        )


def check_timed_targets(
    sweep: SweepConfig, document: Document, trials: Iterable[PlannedTrial]
) -> None:
    """Refuses to time a target that no trial is asked for, where others are."""
    asked = {target for trial in trials for target in trial.targets}
    for i, target in enumerate((sweep.measure and sweep.measure.targets) or ()):
        if asked and target not in asked:
            known = ", ".join(f"{target:g}" for target in sorted(asked))
            message = f"{target:g} is not a target of any method (known: {known})"
            raise InputError(document.fault(("measure", "targets", i), message))

"""Trials under the written names of their methods, and their newest evaluations."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Literal, Self

from lotbench.budget import Budget
from lotbench.store.rows import Evaluation, Look, Trial, without_limit

TARGET = "target"
Key = tuple[str, str, Budget | None]
"""Method, setting, and target or budget of a scored model; see `Row.at`."""
Values = Mapping[str, Any]
"""The parameters in which settings differ, by name; None where a row has no value."""


class Label(str):
    """The written name of a method, such as ``LoT (ours)``, with its look."""

    look: Look

    def __new__(cls, look: Look) -> Self:
        label = super().__new__(cls, look.label)
        label.look = look
        return label


@dataclass(frozen=True, eq=False)
class Run:
    """A trial under its written name."""

    trial: Trial
    method: Label
    """The written name, such as ``LoT (ours)``; variants of a method are told apart by it."""
    setting: str
    """A hash of the configuration without its seed; equal for the seeds of a setting."""

    @property
    def task(self) -> str:
        return self.trial.task

    @property
    def seed(self) -> int:
        return self.trial.seed

    @property
    def failed(self) -> bool:
        return self.trial.status == "failed"

    def teacher_score(self, split: str) -> float | None:
        """The main metric of the teacher on a split; None if it is not known."""
        metrics = (self.trial.teacher and self.trial.teacher.metrics) or {}
        return metrics.get(split, {}).get(str(self.trial.metric))


@dataclass(frozen=True, eq=False)
class Row:
    """One evaluation of a trial."""

    run: Run
    evaluation: Evaluation

    @property
    def split(self) -> Literal["validation", "selection"]:
        return self.evaluation.split

    @property
    def metric(self) -> str:
        """The main metric."""
        return str(self.run.trial.metric)

    @property
    def labels(self) -> str | list | None:
        """Labels of the texts; None if all metrics are means."""
        data = self.run.trial.data
        return ((data and data.labels) or {}).get(self.split)

    @property
    def at(self) -> Budget | None:
        """The target if the budget was searched for one, since it differs by seed; else the budget.

        A target is a FLOPs speed-up, and has the name ``target``.
        """
        target = self.evaluation.target
        return self.evaluation.budget if target is None else Budget(TARGET, target)

    @property
    def key(self) -> Key:
        """The scored model, of which this is one seed and split."""
        return self.run.method, self.run.setting, self.at

    def of_teacher(self) -> Row | None:
        """A row of the teacher instead, on the same texts; None without its predictions."""
        score = self.run.teacher_score(self.split)
        predictions = (self.run.trial.teacher and self.run.trial.teacher.predictions) or {}
        if score is None or self.split not in predictions:
            return None
        metrics = {self.metric: score}
        changes = {"predictions": predictions[self.split], "metrics": metrics}
        return Row(self.run, self.evaluation.model_copy(update=changes))

    @property
    def score(self) -> float | None:
        """The main metric; None where it is undefined."""
        return self.evaluation.metrics.get(self.metric)


def labels_of(trials: Sequence[Trial]) -> dict[str, Label]:
    """The written name of every trial, by trial id.

    A failed trial has no look; it takes that of a finished one with the same parameters, and
    without one its method's registered name.
    """
    labels = {trial.look.label: Label(trial.look) for trial in trials if trial.look}
    variants = {t.trial_id: (t.method, repr(sorted(t.params.items()))) for t in trials}
    finished = {variants[trial.trial_id]: trial.look for trial in trials if trial.look}
    names = {}
    for trial in trials:
        look = trial.look or finished.get(variants[trial.trial_id]) or Look(label=trial.method)
        names[trial.trial_id] = labels.setdefault(look.label, Label(look))
    return names


def runs_of(trials: Sequence[Trial]) -> list[Run]:
    """The trials under their written names, in their order."""
    labels = labels_of(trials)
    return [Run(trial, labels[trial.trial_id], setting_of(trial)) for trial in trials]


def newest_rows(runs: Iterable[Run]) -> list[Row]:
    """The evaluations of the newest finished trial of every task, method, setting and seed.

    A new version of a method leaves its older trials in the store.
    """
    done = [run for run in runs if not run.failed and run.trial.evaluations]
    done.sort(key=lambda run: run.trial.created)
    newest = {(run.task, run.method, run.setting, run.seed): run for run in done}
    rows = (Row(run, own) for run in newest.values() for own in run.trial.evaluations)
    # A budget that was found for two targets close to each other has a row for each.
    return list({(row.run, row.at, row.split): row for row in rows}.values())


def varying(runs: Iterable[Run]) -> dict[str, Values]:
    """The parameters that some trial file gives and in which settings differ, by setting.

    Where a file does not give one, it has the method's default from the row.
    """
    values: dict[str, Values] = {}
    names: dict[str, None] = {}
    for run in runs:
        if run.setting not in values:
            given: Any = run.trial.config.get("params", {})
            values[run.setting] = run.trial.params | given
            names |= dict.fromkeys(sorted(given))
    differing = [
        name
        for name in names
        if any(own.get(name) != other.get(name) for own, other in pairwise(values.values()))
    ]
    return {setting: {name: own.get(name) for name in differing} for setting, own in values.items()}


def centre(params: Mapping[str, Values], seeds: Mapping[str, int]) -> str:
    """The setting with most seeds, and of these the one that differs least from all others."""

    def far(setting: str) -> tuple[int, int]:
        changes = [change(params[other], params[setting]) for other in seeds]
        return -seeds[setting], sum(map(len, changes))

    return min(seeds, key=far)


def change(own: Values, other: Values) -> Values:
    """The parameters of one setting that differ from another's."""
    return {name: value for name, value in own.items() if value != other[name]}


def setting_of(trial: Trial) -> str:
    """A short hash of a trial's configuration without its seed, plugin paths and share of texts."""
    config = without_limit(trial.config)
    config = {k: v for k, v in config.items() if k not in ("seed", "plugins", "share")}
    # The configuration has only the given parameters, so a new default changes no hash.
    identity = [trial.task, trial.method, trial.backbone, config or trial.params]
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def training_costs(runs: Sequence[Run]) -> dict[str, float]:
    """Training time of every method against dense with the same seed: the median over its trials.

    Wall-clock times: trials train side by side, so a ratio is a rough one.  Methods without one are
    left out.
    """
    seconds: dict[tuple[str, int], list[float]] = defaultdict(list)
    for run in runs:
        training = run.trial.training
        if not run.failed and training and training.steps and training.seconds:
            seconds[run.method, run.seed].append(training.seconds)
    ratios: dict[str, list[float]] = defaultdict(list)
    for (method, seed), times in seconds.items():
        if dense := seconds.get(("dense", seed)):
            ratios[method] += [time / median(dense) for time in times]
    return {method: median(values) for method, values in ratios.items()}

"""The written names of methods, each with the look that its rows bring."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from lotbench.store.rows import Look, Trial


class Label(str):
    """The written name of a method, such as ``LoT (ours)``, with its look."""

    look: Look

    def __new__(cls, look: Look) -> Self:
        label = super().__new__(cls, look.label)
        label.look = look
        return label


def labels_of(trials: Iterable[Trial]) -> dict[str, Label]:
    """The written name of every trial, by trial id.

    A failed trial has no look; it takes that of a finished one with the same parameters, and
    without one its method's registered name.
    """
    trials = list(trials)
    labels = {trial.look.label: Label(trial.look) for trial in trials if trial.look}
    finished = {_variant(trial): trial.look for trial in trials if trial.look}
    names = {}
    for trial in trials:
        look = trial.look or finished.get(_variant(trial)) or Look(label=trial.method)
        names[trial.trial_id] = labels.setdefault(look.label, Label(look))
    return names


def _variant(trial: Trial) -> tuple[str, str]:
    return trial.method, repr(sorted(trial.params.items()))

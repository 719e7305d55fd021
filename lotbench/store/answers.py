"""What a store holds beside the tidy frame: predictions of every text, and targets not reached."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from lotbench.store.predictions import decode
from lotbench.store.store import Store

Key = tuple[str, str, str]
"""Trial id, split and budget, as in the frame."""


class Answers(NamedTuple):
    """Predictions and labels of one split, both of shape (N,)."""

    predictions: np.ndarray
    labels: np.ndarray


class Missed(NamedTuple):
    """A FLOPs speed-up that a trial was asked for and that no budget of it gives."""

    trial_id: str
    target: float
    nearest: float


def answers(folder: str | Path) -> dict[Key, Answers]:
    """The predictions of every evaluation that has them; older rows have none."""
    found: dict[Key, Answers] = {}
    for trial in Store(folder).trials():
        labels = (trial.data and trial.data.labels) or {}
        decoded = {split: decode(stored) for split, stored in labels.items()}
        for own in trial.evaluations:
            if own.predictions is not None and own.split in decoded:
                key = (trial.trial_id, own.split, str(own.budget or ""))
                found[key] = Answers(decode(own.predictions), decoded[own.split])
    return found


def missed(folder: str | Path) -> list[Missed]:
    """The targets that finished trials did not reach."""
    return [
        Missed(trial.trial_id, each.target, each.nearest)
        for trial in Store(folder).done().values()
        for each in trial.unreached or []
    ]

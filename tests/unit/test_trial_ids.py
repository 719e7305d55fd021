"""Golden ids, by which stored results and cached teachers are found.

A change here means that every stored result of the trial is lost.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lotbench.config.load import load_sweep
from lotbench.study.plan import plan

SWEEPS = Path(__file__).parents[2] / "sweeps"


def ids(sweep: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The teacher's key of each trial of a sweep, by trial id."""
    monkeypatch.setattr("lotbench.study.plan.PlannedTrial.check_fits", lambda *_: None)
    monkeypatch.setattr("lotbench.study.plan.read_config", lambda name: _Backbone)
    trials = plan(*load_sweep(SWEEPS / sweep), tmp_path).trials
    return {name: trial.config.teacher_key() for name, trial in trials.items()}


class _Backbone:
    """Replaces a backbone that would be downloaded."""

    num_hidden_layers, hidden_size = 12, 384


def test_teacher_key(monkeypatch, tmp_path) -> None:
    assert set(ids("bbc.yaml", monkeypatch, tmp_path).values()) == {"60483a5203910cd5"}

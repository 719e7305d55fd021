"""Time limits of `lotbench run`, `lotbench sweep` and `lotbench check`."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_cli import call

import lotbench
from lotbench import registry
from lotbench.conformance import checklist
from lotbench.conformance.subject import Subject
from lotbench.store.store import Store

ENDLESS = """
import re

from lotbench import deadline
from lotbench.reducer import TokenReducer

deadline.GRACE_SECONDS = 1.0

class Endless(TokenReducer):
    name = "endless"

    def after_step(self):
        while True: pass

class Stuck(TokenReducer):
    name = "stuck"

    def after_step(self):
        re.match("(a*)*b", "a" * 40)

class Unbuilt(TokenReducer):
    name = "unbuilt"

    def __init__(self, params, n_layers, width):
        while True: pass
"""


@pytest.fixture(autouse=True)
def _fresh(monkeypatch) -> None:
    monkeypatch.setattr(registry, "_plugins", {})


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "endless.py"
    path.write_text(ENDLESS)
    return path


@pytest.mark.slow
def test_an_endless_loop_ends_as_a_failed_row(trial_file, plugin, tmp_path) -> None:
    def run(name: str, **train):
        path = trial_file(name, train={"epochs": 1} | train, plugins=[str(plugin)])
        return lotbench.run(path, tmp_path / "store")

    assert run("dense").status == "done"  # the teacher is in the cache now
    row = run("endless", max_minutes=0.2)
    assert (row.status, row.error.kind) == ("failed", "time limit")
    assert row.error.message == (
        "took more than 12 s (train.max_minutes), in stage 'fine-tune', step 0 of 4 "
        "(endless.py, line 13, in after_step)"
    )
    assert row in Store(tmp_path / "store").trials()


@pytest.mark.slow
@pytest.mark.long
def test_a_sweep_goes_on_after_trials_that_never_end(sweep_file, plugin, tmp_path) -> None:
    path = sweep_file(
        plugins=[str(plugin)],
        methods={"endless": {}, "stuck": {}, "dense": {}},
        measure=None,
        train={"epochs": 1, "batch_size": 16, "max_minutes": 0.4},
    )
    done = call("sweep", path, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "1 trial ran, 0 were done before, 2 failed" in done.stdout
    rows = {row.method: row for row in Store(tmp_path / "results/small").trials()}
    assert rows["dense"].status == "done"
    assert rows["endless"].error.message.startswith("took more than 24 s (train.max_minutes), in s")
    assert rows["stuck"].error.message == (
        "took more than 24 s (train.max_minutes) in a call that could not be interrupted "
        "(endless.py, line 19, in after_step)"
    )
    assert "endless.py" in rows["stuck"].error.traceback


def test_a_rule_that_does_not_end_is_broken(plugin, monkeypatch) -> None:
    monkeypatch.setattr(checklist, "RULE_SECONDS", 0.5)
    unbuilt = next(cls for cls in registry.load_plugin(str(plugin)) if cls.name == "unbuilt")
    first, *others = checklist.examine(Subject(unbuilt))
    assert (first.outcome, first.detail) == (
        "failed",
        "took more than 0.5 s (endless.py, line 25, in __init__); a rule takes seconds",
    )
    assert {each.outcome for each in others} == {"not run"}

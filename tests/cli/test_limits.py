"""Time limits of a sweep's trials and teachers."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import process

import lotbench
from lotbench.store.store import Store

ENDLESS = """
import re
import time

from lotbench.reducer import TokenReducer
from lotbench.trial import progress

class Slow(TokenReducer):
    name = "slow"

    def after_step(self):
        progress.time.now += 7

class Endless(TokenReducer):
    name = "endless"

    def after_step(self):
        while True:
            try:
                time.sleep(1)
            except Exception:
                pass

class Stuck(TokenReducer):
    name = "stuck"

    def after_step(self):
        re.match("(a*)*b", "a" * 40)  # holds the interpreter for hours
"""


@pytest.fixture
def plugin(tmp_path) -> Path:
    path = tmp_path / "endless.py"
    path.write_text(ENDLESS)
    return path


@pytest.mark.slow
def test_a_slow_trial_ends_at_the_step_after_its_limit(trial_file, plugin, tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr("lotbench.trial.progress.time", clock)

    def run(name: str, **train):
        path = trial_file(name, train={"epochs": 1} | train, plugins=[str(plugin)])
        return lotbench.run(path, tmp_path / "store")

    assert run("dense").status == "done"  # the teacher is in the cache now
    row = run("slow", max_minutes=0.2)
    assert (row.status, row.error.kind) == ("failed", "time limit")
    assert row.error.message == (
        "took more than 12 s (train.max_minutes), in stage 'fine-tune', step 2 of 4"
    )
    assert row in Store(tmp_path / "store").trials()


@pytest.mark.slow
@pytest.mark.long
def test_a_sweep_goes_on_after_trials_that_never_end(sweep_file, plugin, tmp_path):
    path = sweep_file(
        plugins=[str(plugin)],
        methods={"endless": {}, "stuck": {}, "dense": {}},
        measure=None,
        train={"epochs": 1, "batch_size": 16, "max_minutes": 0.4},
    )
    done = process("sweep", path, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "1 trial ran, 0 done before, 2 failed" in done.stdout
    rows = {row.method: row for row in Store(tmp_path / "results/small").trials()}
    assert rows["dense"].status == "done"
    for name in ("endless", "stuck"):
        assert rows[name].error.kind == "time limit"
        assert rows[name].error.message == (
            "took more than 24 s (train.max_minutes) in a call that did not return, so its worker "
            "was ended; its last news was: fine-tune, step 0 of 7"
        )
    assert "tried again" not in done.stderr

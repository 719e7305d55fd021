"""Sweeps in this process, without Ray: rows, failures, limits, interruptions and resuming."""

import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from commands import app

from lotbench.cli.interruption import Interrupted
from lotbench.store.store import Store

pytestmark = pytest.mark.slow

PLUGIN = '''
import os
import sys
from pathlib import Path

import torch

from lotbench.reducer import Drop, TokenReducer
from lotbench.trial import progress

class Impatient(TokenReducer):
    """Is interrupted the first time, as by Ctrl-C."""
    name = "impatient"

    def before_layer(self, layer, tokens):
        grave = Path(__file__).with_name("grave")
        if not grave.exists():
            grave.touch()
            raise KeyboardInterrupt

class Leaving(TokenReducer):
    """Changes what torch computes with, and leaves."""
    name = "leaving"

    def before_layer(self, layer, tokens):
        torch.set_num_threads(3)
        torch.set_default_dtype(torch.float64)
        sys.exit(7)

class Slow(TokenReducer):
    """Takes longer than its limit in its first step."""
    name = "slow"

    def after_step(self):
        progress.time.now += 25 * 3600

class Crooked(TokenReducer):
    """Returns a mask of the wrong shape."""
    name = "crooked"

    def before_layer(self, layer, tokens):
        return Drop(tokens.layout.is_first[1:])

class Unbuilt(TokenReducer):
    """Cannot be built."""
    name = "unbuilt"

    def __init__(self, params, n_layers, width):
        super().__init__(params, n_layers, width)
        self.table = {}["absent"]

class Late(TokenReducer):
    """Comes after the others."""
    name = "late"
'''


METHODS = ("dense", "impatient", "leaving", "slow", "crooked", "unbuilt", "late")


def sweep(path: Path, *options: str) -> int:
    """The exit code."""
    return app("sweep", path, "--workers", 1, "--results", path.parent / "results", *options)


def test_trials_fail_one_by_one_and_an_interrupted_sweep_goes_on(
    sweep_file, tmp_path, monkeypatch, caplog, capsys
):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr("lotbench.trial.progress.time", clock)
    caplog.set_level(logging.INFO, "lotbench")
    (tmp_path / "mine.py").write_text(PLUGIN)
    path = sweep_file(
        plugins=[str(tmp_path / "mine.py")],
        methods={name: {} for name in METHODS},
        train={"epochs": 1, "batch_size": 16, "max_minutes": 24 * 60},
        measure=None,
    )
    with pytest.raises(Interrupted, match="interrupted; finished trials and timing passes are"):
        sweep(path)
    store = Store(tmp_path / "results/small")
    assert [row.method for row in store.trials()] == ["dense"]
    # The last one is left for another call.
    assert sweep(path, "--max-trials", "5") == 1
    shown = capsys.readouterr()
    assert "1 trial ran, 1 done before, 4 failed" in shown.out
    rows = {row.method: row for row in store.trials()}
    assert {name: row.error and row.error.kind for name, row in rows.items()} == {
        "dense": None,
        "impatient": None,
        "leaving": "SystemExit",
        "slow": "time limit",
        "crooked": "ValueError",
        "unbuilt": "KeyError",
    }
    assert "'crooked': before_layer of layer 0: keep has shape" in rows["crooked"].error.message
    assert "KeyError: 'absent' (mine.py, line " in caplog.text
    assert "took more than 24 h" in rows["slow"].error.message
    assert "took more than 24 h" in shown.err and "[5/5, " in caplog.text
    # The failed ones are tried again, but after those that never ran.
    assert not sweep(path, "--max-trials", "1")
    assert "1 trial ran, 2 done before, 0 failed" in capsys.readouterr().out
    done = store.done()
    assert {row.method for row in done.values()} == {"dense", "impatient", "late"}
    # What `leaving` did to torch has reached neither the trial after it nor this process.
    assert {row.training.threads for row in done.values()} == {1}
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (1, torch.float32)


def test_one_worker_needs_no_ray(sweep_file, tmp_path):
    path = sweep_file(methods={"dense": {}}, measure=None)
    blocked = "import sys; sys.modules['ray'] = None; from lotbench.cli import main; main()"
    command = [sys.executable, "-c", blocked, "sweep", str(path), "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "teacher 1/1: reviews, seed 0: accuracy " in done.stderr
    assert "[1/1, " in done.stderr and "1 trial ran, 0 done before, 0 failed" in done.stdout
    assert len(done.stdout.splitlines()) <= 25

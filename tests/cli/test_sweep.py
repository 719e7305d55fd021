"""Whole sweeps with Ray: trials, timing, figures, resuming, and plugins that fail."""

import json
import os
import re
import shutil
import socket
from pathlib import Path

import pytest
from commands import app, call, process

import lotbench
from lotbench.cluster import ray_runner as cluster
from lotbench.errors import InputError
from lotbench.store.store import Store

# Each starts Ray and trains: a quarter of a minute or more.
pytestmark = pytest.mark.slow

BROKEN = '''
import torch

from lotbench.reducer import Drop, TokenReducer

torch.set_num_threads(3)  # every worker imports this file

class Broken(TokenReducer):
    """Raises in its first layer."""
    name = "broken"

    def before_layer(self, layer, tokens):
        raise RuntimeError("no decision today")
'''

WORKING = '''
import os
from pathlib import Path

from lotbench.reducer import Drop, TokenReducer

class Halved(TokenReducer):
    """Keeps every other token; kills its process the first time."""
    name = "halved"

    def before_layer(self, layer, tokens):
        grave = Path("grave")
        if not grave.exists():
            grave.touch()
            os._exit(1)
        return Drop(tokens.position % 2 == 0)
'''


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("sweep")


def test_a_sweep_from_start_to_figures_and_again(sweep_file, room, monkeypatch):
    # One plugin is a file, named from where the sweep starts, the other an importable module.
    (room / "broken.py").write_text(BROKEN)
    (room / "modules").mkdir()
    (room / "modules/a_working_plugin.py").write_text(WORKING)
    monkeypatch.syspath_prepend(room / "modules")
    modules = [str(room / "modules"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, modules)))
    methods = {
        "dense": {},
        "lot": {"top_p": 0.3, "thresholds": [0.3, 0.7]},
        "broken": {},
        "halved": {},
    }
    path = sweep_file(plugins=["broken.py", "a_working_plugin"], methods=methods)
    done = process("sweep", path, cwd=room)
    # One method fails: the others finish, the exit code says that something failed.  Another takes
    # its worker with it at first, and is tried again.
    assert done.returncode == 1, done.stderr
    assert (room / "grave").exists()
    assert "halved seed=0: its worker died, tried again" in done.stderr
    assert re.search(r"\[1/4, \d+ s, about \d+ \w+ left\] ", done.stderr)
    assert "4/4, " in done.stderr and "3 trials ran, 0 done before, 1 failed" in done.stdout
    assert "RuntimeError: no decision today (broken.py, line 13, in before_layer)" in done.stderr
    assert "Traceback" not in done.stderr
    folder = room / "results/small"
    trials = {trial.method: trial for trial in Store(folder).trials()}
    assert {name: trial.status for name, trial in trials.items()} == {
        "dense": "done",
        "lot": "done",
        "halved": "done",
        "broken": "failed",
    }
    assert "no decision today" in trials["broken"].error.traceback
    assert {own.training.threads for own in trials.values() if own.training} <= {1, 4}
    # The stored sweep has every value, so that it makes the same trials again.
    sweep = json.loads((folder / "sweep.json").read_text())
    assert sweep["teacher"] == trials["lot"].config["teacher"]
    assert all((own.seconds or 0) > own.training.seconds for own in trials.values() if own.model)
    frame, timed = lotbench.results(folder), lotbench.timings(folder)
    assert frame[frame.status == "done"].teacher_score.notna().all()
    # Both budgets of lot; the timing processes import the sweep's own plugins.
    timed = timed[(timed.timed == "call") & (timed.reference == "best") & (timed.batch_size == 4)]
    best = timed.trial_id.value_counts()
    assert [best[trials[name].trial_id] for name in ("lot", "halved")] == [2, 1]
    names = {p.name for p in (folder / "figures").glob("*.png")}
    for figure in ("score-vs-flops", "score-vs-real", "real-vs-flops"):
        assert f"reviews-{figure}.png" in names

    written = {p: p.stat().st_mtime_ns for p in (folder / "trials").glob("*.json")}
    timings = set((folder / "timings").glob("*.json"))
    fewer = ("--set", f"methods={{dense: {{}}, lot: {methods['lot']}}}", "--workers", "1")
    again = call("sweep", path, *fewer, cwd=room)
    assert again.returncode == 0, again.stderr
    assert "all 2 trials are done" in again.stderr
    assert written == {p: p.stat().st_mtime_ns for p in (folder / "trials").glob("*.json")}
    assert timings == set((folder / "timings").glob("*.json"))

    # Rows without models, as reference results are, cannot be timed, and that is no failure.
    shutil.rmtree(folder / "models")
    bare = call("sweep", path, *fewer, cwd=room)
    assert bare.returncode == 0, bare.stderr
    assert "not timed: the rows here came without models" in bare.stderr


def test_a_failed_teacher_fails_its_trials_with_its_message(sweep_file, room):
    # The decay multiplies every weight by about -9 in each step.
    teacher = {"epochs": 4, "learning_rate": 1.0, "weight_decay": 10, "batch_size": 4}
    path = sweep_file(name="diverged", measure=None, teacher=teacher)
    done = call("sweep", path, "--workers", "1", cwd=room)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    failed = Store(room / "results/diverged").trials()
    assert [trial.error.kind for trial in failed] == ["non-finite loss"] * 3
    assert "teacher 1/1: reviews, seed 0: failed: " in done.stderr


def test_a_sweep_names_file_and_line_of_missing_data_before_ray_starts(
    sweep_file, room, monkeypatch
):
    monkeypatch.setattr(cluster, "run_trials", lambda *_: pytest.fail("Ray would start"))
    path = sweep_file(name="no-data", tasks={"reviews": {"source": str(room / "nowhere")}})
    with pytest.raises(InputError, match=rf"^{path}:{line(path, '  reviews:')}: .*no such folder"):
        app("sweep", path, "--results", room)


def test_a_sweep_names_file_and_line_of_wrong_data(sweep_file, reviews, room):
    wrong = {"source": str(reviews), "label": "stars"}
    path = sweep_file(name="wrong-data", tasks={"reviews": wrong})
    done = call("sweep", path, "--workers", "1", cwd=room)
    assert done.returncode == 2, done.stderr
    assert f"error: {path}:{line(path, '  reviews:')}: " in done.stderr
    assert "no column 'stars'" in done.stderr and "Traceback" not in done.stderr


def line(path: Path, text: str) -> int:
    """The number of the line with this text."""
    return path.read_text().splitlines().index(text) + 1


def test_an_unreachable_ray_address_is_reported_at_once(sweep_file, room):
    with socket.socket() as closed:  # bound, but not listening
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        done = process("sweep", sweep_file(name="nowhere"), "--address", address, cwd=room)
    assert done.returncode == 2
    assert f"--address {address}: no Ray cluster there" in done.stderr
    assert "Traceback" not in done.stderr

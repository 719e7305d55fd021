"""What is kept when a worker dies."""

import pytest
from commands import process

from lotbench.store.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.long]

DEADLY = """
import os
import signal
import sys

from lotbench.reducer import TokenReducer

class Stop(BaseException):
    pass

class Exits(TokenReducer):
    name = "exits"

    def before_layer(self, layer, tokens):
        sys.exit("enough")

class Stops(TokenReducer):
    name = "stops"

    def before_layer(self, layer, tokens):
        raise Stop("for good")

class Killed(TokenReducer):
    name = "killed"

    def before_layer(self, layer, tokens):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_every_trial_has_a_row_whatever_ends_its_worker(sweep_file, tmp_path):
    (tmp_path / "deadly.py").write_text(DEADLY)
    names = ("exits", "stops", "killed")
    methods = {"dense": {}, **{name: {} for name in names}}
    path = sweep_file(plugins=["deadly.py"], methods=methods, measure=None)
    done = process("sweep", path, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    trials = {trial.method: trial for trial in Store(tmp_path / "results/small").trials()}
    assert trials["dense"].status == "done"
    errors = {name: trials[name].error for name in names}
    assert (errors["exits"].kind, errors["stops"].kind) == ("SystemExit", "Stop")
    assert "enough (deadly.py, line 15, in before_layer)" in errors["exits"].message
    assert errors["killed"].kind == "worker died"
    assert errors["killed"].message.startswith("its process was killed, left or crashed")
    assert "1 trial ran, 0 done before, 3 failed" in done.stdout
    assert "3 failed" in (tmp_path / "results/small/README.md").read_text()

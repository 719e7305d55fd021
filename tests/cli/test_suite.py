"""A suite: a newcomer's method is trained alone and ranked among the others, then sent."""

import pytest
from commands import app

from lotbench.errors import InputError
from lotbench.store.store import Store

pytestmark = pytest.mark.slow

COPY = """
from baselines.static import Static as _Static


class Copy(_Static):
    name = "copy"
"""


def test_a_copy_of_static_ties_with_static(sweep_file, tmp_path, capsys):
    own = tmp_path / "copy.py"
    own.write_text(COPY)
    parts = {"suite": 1, "targets": [2], "measure": None, "compare": str(tmp_path / "small")}
    file = sweep_file(methods={"dense": {}, "static": {}, "first-k": {}}, **parts)
    options = "--results", tmp_path, "--workers", 1
    with pytest.raises(InputError, match="of the others here; --set compare=STORE"):
        app("sweep", file, *options, "--method", own)
    app("sweep", file, *options)
    capsys.readouterr()
    app("sweep", file, *options, "--method", own, "--tasks", "reviews")
    said = capsys.readouterr().out
    assert "1 trial ran" in said
    (line,) = [line for line in said.splitlines() if line.startswith("  copy 2\u00d7")]
    assert "of 3, " in line and "static" in line.partition("ties with")[2]
    (row,) = Store(tmp_path / "small-copy").trials()
    (static,) = [trial for trial in Store(tmp_path / "small").trials() if trial.method == "static"]
    assert (row.method, row.suite) == ("copy", 1)
    assert row.evaluations == static.evaluations


def test_an_unknown_task_is_refused(sweep_file, tmp_path):
    with pytest.raises(InputError, match="--tasks review: did you mean 'reviews'"):
        app("sweep", sweep_file(), "--results", tmp_path, "--tasks", "review")

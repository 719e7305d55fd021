"""A suite: a newcomer's method is trained alone and ranked among the others, then sent."""

import json
import zipfile

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


def test_a_store_is_sent_if_it_fits_the_suite(sweep_file, tmp_path, monkeypatch, capsys):
    search = {"algorithm": "random", "trials": 2}
    ratio = {"keep_ratio": {"uniform": [0.3, 0.6]}}
    parts = {"suite": 1, "targets": [2], "measure": None, "search": search, "seeds": [3]}
    file = sweep_file(methods={"static": ratio}, confirm={"seeds": [0], "best": 1}, **parts)
    monkeypatch.setattr("lotbench.cli.stores.SHIPPED", {"suite": file})
    app("sweep", file, "--results", tmp_path, "--workers", 1)
    store = tmp_path / "small"
    for row in store.glob("trials/*.json"):  # a commit of this tree may have changes
        row.write_text(json.dumps(json.loads(row.read_text()) | {"git_commit": "a" * 40}))
    capsys.readouterr()
    assert app("submit", store) == 0
    assert "Look   lotbench leaderboard results/reference/suite" in capsys.readouterr().out
    with zipfile.ZipFile(tmp_path / "small.zip") as archive:
        assert "small/sweep.json" in archive.namelist()
        assert sum(name.startswith("small/trials/") for name in archive.namelist()) == 3
    (confirmed,) = [row for row in store.glob("trials/*.json") if "-s0-" in row.name]
    content = json.loads(confirmed.read_text())
    confirmed.write_text(json.dumps(content | {"suite": 2, "git_commit": "a-dirty"}))
    capsys.readouterr()
    assert app("submit", store) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "nothing is bundled" in said
    assert "suite: 2, but this LoTBench has 1" in said
    assert "git_commit: a-dirty, but a clean commit is needed" in said


def test_an_unknown_task_is_refused(sweep_file, tmp_path):
    with pytest.raises(InputError, match="--tasks review: did you mean 'reviews'"):
        app("sweep", sweep_file(), "--results", tmp_path, "--tasks", "review")

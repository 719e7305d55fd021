"""A search: the same rows with Ray and in one process, interrupted or not."""

from typing import Any

import pytest
from commands import app, process

from lotbench.store.rows import Trial
from lotbench.store.store import Store

pytestmark = pytest.mark.slow

SEARCH: dict[str, Any] = {
    "search": {"trials": 2},
    "confirm": {"seeds": [0]},
    "targets": [1.5],
    "measure": None,
    "methods": {"lot": {"top_p": {"uniform": [0.2, 0.8]}, "decision_every": 2}},
}


def content(trial: Trial) -> dict[str, Any]:
    """What a row says but for times and the machine's state."""
    row = trial.content()
    for key in ("created", "seconds", "machine", "git_commit", "model"):
        row.pop(key, None)
    for part in (row["training"], row["teacher"]["training"]):
        part.pop("seconds", None)  # a teacher of vectors is not trained
    return row


@pytest.mark.long
def test_rows_do_not_depend_on_workers_or_interruptions(sweep_file, tmp_path, monkeypatch, capsys):
    whole = process("sweep", sweep_file(name="whole", **SEARCH), "--workers", "2", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    # Two of the search, and the better one again.
    assert "3 trials ran" in whole.stdout
    # In this process, where the teacher is trained again.
    monkeypatch.setenv("LOTBENCH_CACHE", str(tmp_path / "cache"))
    parts = "sweep", sweep_file(name="parts", **SEARCH), "--workers", 1
    for most, did in (("1", "1 trial ran, 0 done before"), ("9", "2 trials ran, 1 done before")):
        app(*parts, "--results", tmp_path / "results", "--max-trials", most)
        assert did in capsys.readouterr().out
    stores = [Store(tmp_path / "results" / name) for name in ("whole", "parts")]
    first, second = ([content(trial) for trial in store.trials()] for store in stores)
    assert first == second
    marks = {trial.trial_id: trial.search for trial in stores[0].trials()}
    areas = {name: own.area or 0 for name, own in marks.items() if own and own.part == "search"}
    (chosen,) = (own.chosen for own in marks.values() if own and own.part == "confirmation")
    assert len(areas) == 2 and areas[str(chosen)] == max(areas.values()) > 0
    # Models of the search are not kept: nobody reads them.
    assert len(list(stores[0].folder.glob("models/*"))) == 1

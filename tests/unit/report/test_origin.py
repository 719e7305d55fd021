"""How a store is run again: trial files, sweep files and commands."""

import json
from pathlib import Path

import pytest
import yaml
from stores import contender, evaluation, timing, trial, with_call, write

from lotbench.config.load import load_trial
from lotbench.errors import InputError
from lotbench.report.tables.origin import Origin, wide_timings
from lotbench.statistics.store_view import StoreView

ROOT = Path(__file__).parents[3]


def test_a_trial_file_runs_a_row_again(tmp_path):
    """For every configuration of a reference store."""
    folder = ROOT / "results" / "reference" / "rotten_tomatoes_all"
    study = StoreView(folder)
    trials = {trial.trial_id: trial for trial in study.trials}
    found = Origin(study)
    assert sum(len(own.trials) for own in found.configurations) == len(trials)
    for own in found.configurations:
        file = tmp_path / "trial.yaml"
        file.write_text(own.file, encoding="utf-8")
        config, _ = load_trial(file, [])
        row = trials[own.trials[0]].config
        again = config.model_dump(mode="json", by_alias=True)
        for name in ("task", "method", "params", "data", "seed", "backbone"):
            assert again[name] == row[name], name
        for name in ("train", "teacher"):
            assert {key: again[name][key] for key in row[name]} == row[name]


@pytest.mark.slow
def test_the_sweep_files_of_the_reference_stores_describe_their_trials():
    for folder in (ROOT / "results" / "reference").iterdir():
        found = Origin(StoreView(folder))
        assert not [note for note in found.notes if "another configuration" in note], folder


def test_commands_and_notes_tell_what_can_be_run_again(tmp_path):
    sweep = {"backbone": "b", "layers": None, "train": {}, "teacher": {}, "tasks": {"toy": {}}}
    same = {"backbone": "b", "layers": None, "train": {}, "teacher": {}, "data": {}, "seed": 0}
    (tmp_path / "sweep.json").write_text(json.dumps(sweep))
    rows = [evaluation(0.9, 1.0)]
    write(tmp_path, trial("a", "dense", rows, config=same, git_commit="abc-dirty"))
    other = same | {"train": {"epochs": 9}}
    write(tmp_path, trial("b", "ltp", rows, config=other, git_commit="abc"))
    write(tmp_path, timing("p", "2025", [contender("dense", 1.0, "a")]))
    found = Origin(StoreView(tmp_path))
    name = f"{tmp_path.name}-again"
    assert found.commands == [
        "git checkout abc",
        f"lotbench sweep {tmp_path}/sweep.json --set name={name}",
        f"lotbench measure results/{name}",
        f"lotbench report results/{name}",
    ]
    first, second = found.notes
    assert first.startswith("1 of 2 trials have another configuration")
    assert "(in train)" in first
    assert "local changes" in second
    assert yaml.safe_load(found.sweep) == sweep
    deep = '{"a": ' * 400 + "1" + "}" * 400
    for damaged in ("", "[1]", "{}", '{"tasks": [1]}', f'{{"tasks": {{"toy": {deep}}}}}'):
        (tmp_path / "sweep.json").write_text(damaged)
        with pytest.raises(InputError, match=r"sweep\.json: "):
            Origin(StoreView(tmp_path))


def test_a_wide_interval_is_listed_whether_of_the_call_or_of_the_encoder(tmp_path):
    write(tmp_path, trial("a", "lot", [evaluation(0.9, 2.0)]))
    rows = [contender(name, 2.0, noisy=name == "encoder") for name in ("call", "encoder", "none")]
    rows = [with_call(own | {"noisy": False}, 2.0, 0.1) | {"noisy": own["noisy"]} for own in rows]
    rows[0]["call"]["noisy"] = True
    write(tmp_path, timing("t", "2025-01-01", rows))
    assert [line[::2] for line in wide_timings(StoreView(tmp_path)).groups[0]] == [
        ["call", "call", "10%"],
        ["encoder", "encoder", "10%"],
    ]

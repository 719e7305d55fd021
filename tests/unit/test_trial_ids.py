"""Golden ids, by which stored results and cached teachers are found.

A change here means that every stored result of the trial is lost.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lotbench.config.load import load_sweep
from lotbench.study.plan import plan

SWEEPS = Path(__file__).parents[2] / "sweeps"


def ids(sweep: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The teacher's key of each trial of a sweep, by trial id."""
    monkeypatch.setattr("lotbench.study.plan.PlannedTrial.check_fits", lambda *_: None)
    monkeypatch.setattr("lotbench.study.plan.read_config", lambda name: _Backbone)
    trials = plan(*load_sweep(SWEEPS / sweep), tmp_path).trials
    return {name: trial.config.teacher_key() for name, trial in trials.items()}


class _Backbone:
    """Replaces a backbone that would be downloaded."""

    num_hidden_layers, hidden_size = 12, 384


@pytest.mark.parametrize(
    ("sweep", "count", "some"),
    [
        ("ablation_lot.yaml", 9, ["bbc_news-lot-s0-98847eebab"]),
        (
            "ablation_router.yaml",
            9,
            ["bbc_news-lot-s0-491539f4b5", "bbc_news-lot-fixed-s0-80fb104670"],
        ),
        (
            "bbc.yaml",
            26,
            [
                "bbc_news-dense-s0-1c77bc2400",
                "bbc_news-lot-s0-55f5f59924",
                "bbc_news-random-drop-s0-04471a3276",
                "bbc_news-ltp-s0-f3ce06e9a9",
                "bbc_news-power-bert-s0-7f25519ce4",
                "bbc_news-tr-bert-s0-d4edbd32bb",
                "bbc_news-first-k-s0-c3974d6469",
                "bbc_news-truncated-s0-3161089fa4",
            ],
        ),
        (
            "glue.yaml",
            408,
            [
                "sst2-dense-s0-c72846f181",
                "mrpc-tr-bert-s0-2abfbc986f",
                "rte-lot-s1-bcfa94501a",
                "qnli-tr-bert-s1-33c1726db8",
                "mnli-lot-s2-5f00267740",
                "qqp-random-drop-s2-734a0730fc",
                "stsb-lot-s0-186b430c78",
            ],
        ),
        (
            "imdb.yaml",
            24,
            [
                "imdb-dense-s0-2f1a0428e4",
                "imdb-lot-s0-64768f0b99",
                "imdb-ltp-s0-98e24627d4",
                "imdb-power-bert-s0-7104f6e8c6",
                "imdb-tr-bert-s0-c86d27802d",
                "imdb-random-drop-s0-f64eae300a",
                "imdb-first-k-s0-dfe7146a2b",
                "imdb-truncated-s0-e689fe13b2",
            ],
        ),
        (
            "rotten_tomatoes.yaml",
            22,
            [
                "rotten_tomatoes-dense-s0-0fbd57ea78",
                "rotten_tomatoes-lot-s0-43504bedd6",
                "rotten_tomatoes-random-drop-s0-09b29096d9",
                "rotten_tomatoes-ltp-s0-4d4479fed2",
                "rotten_tomatoes-power-bert-s0-f4a3525a83",
                "rotten_tomatoes-tr-bert-s0-1e04963219",
                "rotten_tomatoes-first-k-s0-1bfc2818f0",
                "rotten_tomatoes-truncated-s0-3be639d7f3",
            ],
        ),
    ],
)
def test_trial_ids(sweep, count, some, monkeypatch, tmp_path) -> None:
    found = ids(sweep, monkeypatch, tmp_path)
    assert len(found) == count
    assert set(some) <= set(found)


def test_teacher_key(monkeypatch, tmp_path) -> None:
    assert (
        ids("bbc.yaml", monkeypatch, tmp_path)["bbc_news-lot-s0-55f5f59924"] == "60483a5203910cd5"
    )

"""Names of methods and of the variants of Leap-of-Thought."""

from __future__ import annotations

import pytest
from stores import evaluation, failed, trial, write

from lotbench.report import looks
from lotbench.statistics.names import name
from lotbench.statistics.store_view import StoreView


@pytest.mark.parametrize(
    ("method", "params", "expected"),
    [
        ("lot", {}, "LoT (ours)"),
        ("lot", {"preset": "recommended", "decision_every": 1, "routing": "leap"}, "LoT (ours)"),
        ("lot", {"preset": "paper"}, "LoT (paper)"),
        ("lot", {"decision_every": 3}, "LoT (ours)"),
        ("lot", {"decision_every": 6}, "LoT (ours, one decision)"),
        ("lot", {"preset": "paper", "decision_every": 12}, "LoT (paper, one decision)"),
        ("lot", {"routing": "drop"}, "LoT (ours, drop)"),
        ("lot", {"decision_every": 6, "routing": "drop"}, "LoT (ours, one decision, drop)"),
        ("lot", {"router": "table", "decision_every": 1000}, "LoT (ours, table)"),
        ("lot", {"router": "table", "routing": "drop"}, "LoT (ours, table, drop)"),
        ("lot-fixed", {}, "LoT (fixed budget)"),
        ("power-bert", {}, "PoWER-BERT"),
        ("ltp", {}, "LTP"),
        ("tr-bert", {}, "TR-BERT"),
        ("tome", {"score": "similarity"}, "ToMe"),
        ("tome", {"score": "energy"}, "PiToMe"),
        ("transkimmer", {}, "Transkimmer"),
        ("adapler", {}, "AdapLeR"),
        ("length-drop", {}, "LengthDrop"),
        ("random-drop", {}, "random-drop"),
        ("mine", {"preset": "paper"}, "mine"),
    ],
)
def test_the_name_of_a_method(method, params, expected):
    assert name(method, params, layers=6) == expected


def test_every_variant_has_a_look_of_its_own():
    variants = [
        name("lot", {"preset": preset, "routing": routing, **decides}, layers=6)
        for preset in ("paper", "recommended")
        for decides in ({"decision_every": 1}, {"decision_every": 6}, {"router": "table"})
        for routing in ("leap", "drop")
    ]
    assert set(variants) == set(looks.LEAPS)
    assert len({colour for colour, _ in looks.LEAPS.values()}) == len(variants) == 12


def test_trials_are_named_one_by_one(tmp_path):
    # Two layers, so a decision for every two layers is the only one.
    params = ({}, {"decision_every": 2}, {"preset": "paper", "decision_every": 1})
    for number, own in enumerate(params):
        write(tmp_path, trial(f"a{number}", "lot", [evaluation(0.9, 2.0)], params=own))
    write(tmp_path, failed("b"))
    assert [run.method for run in StoreView(tmp_path).runs] == [
        "LoT (ours)",
        "LoT (ours, one decision)",
        "LoT (paper)",
        "LTP",
    ]

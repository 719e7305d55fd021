"""The worth of one change: settings in pairs at equal targets, by hand."""

import pytest
from simulated import Rows, hits
from stores import failed

from lotbench.report.tables.differences import differences
from lotbench.report.text import NONE, TIMES
from lotbench.statistics.runs import Run, centre, change, varying
from lotbench.store.rows import Trial


def test_a_setting_is_compared_in_pairs_at_the_targets_that_both_reach():
    rows = Rows()
    rows.add("dense", hits(180), hits(180), setting="d")
    for seed in (0, 1):
        rows.add("lot", hits(180), hits(170), 2, (2, 2), seed, "leap")
        rows.add("lot", hits(180), hits(150), 4, (4, 4), seed, "leap")
        rows.add("lot", hits(180), hits(166), 2, (2, 2.2), seed, "drop")
        rows.add("lot", hits(180), hits(130), 4, (4, 4.4), seed, "drop")
        rows.add("lot", hits(180), hits(100), 8, (8, 8), seed, "drop")
    rows.add("lot", hits(180), hits(170), 2, (2, 2), 0, "wide")
    rows.params = {
        "leap": {"routing": "leap", "width": 32},
        "drop": {"routing": "drop", "width": 32},
        "wide": {"routing": "leap", "width": 256},
    }
    (found,) = differences("toy", rows.study())
    # Of 200 texts, one is half a point.  4 fewer are 2 points, 20 fewer are 10; 8x has no partner.
    targets = [f"{target}{TIMES}" for target in (2, 4, 8)]
    assert found.columns == ["change", "area on selection", "speed", "mean", *targets]
    base, drop, wide = found.groups[0]
    # All are as good as dense on selection, 10 points above the floor: leap over two doublings of
    # speed, drop over three.
    name, tried = base[0].split("\n")
    assert name in ("width=32 routing=leap", "routing=leap width=32")
    assert tried == "2 seeds, 2 targets"
    assert base[1] == "20.0" and set(base[2:]) == {NONE}
    # On validation, drop is a tenth faster at both targets.
    assert drop[:3] == ["routing=drop\n2 seeds, 2 targets", "30.0", "1.10"]
    assert [float(cell.split()[0]) for cell in drop[3:6]] == [-6.0, -2.0, -10.0]
    # 20 of 200 texts differ, each draw has 20 of them give or take 4: the interval excludes 0.
    assert drop[5].endswith("*") and drop[6] == NONE
    # The same answers: no difference in any draw, over the one seed that both have.
    same = "0.0 (0.0 to 0.0)"
    assert wide == ["width=256\n1 seed, 1 target", "10.0", "1.00", same, same, NONE, NONE]


def test_rows_without_targets_have_no_table():
    rows = Rows()
    rows.add("dense", hits(180), hits(180), setting="d")
    rows.add("lot", hits(180), hits(170), None, (2, 2), 0, "a")
    rows.add("lot", hits(180), hits(160), None, (2, 2), 0, "b")
    rows.params = {"a": {"k": 1}, "b": {"k": 2}}
    assert differences("toy", rows.study()) == []


def test_the_centre_has_most_seeds_and_differs_least():
    params = {"a": {"x": 1, "y": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 3, "y": 1}}
    # a differs from b and c in one parameter each; b and c differ from one another in two.
    assert centre(params, {"a": 1, "b": 1, "c": 1}) == "a"
    assert centre(params, {"a": 1, "b": 1, "c": 2}) == "c"
    assert change(params["b"], params["c"]) == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("defaults", "files", "expected"),
    [
        # A parameter that never varies is left out, one that a file leaves out has its default.
        ({}, ({"x": 1, "y": 0.5}, {"x": 1}), ({"y": 0.5}, {"y": None})),
        (
            {"top_p": 0.5, "routing": "leap"},
            ({"top_p": 0.5}, {"routing": "drop"}),
            ({"routing": "leap"}, {"routing": "drop"}),
        ),
    ],
)
def test_settings_are_told_apart_by_what_varies(defaults, files, expected):
    runs = []
    for setting, params in zip("ab", files, strict=True):
        row = failed("t", "lot") | {"params": defaults, "config": {"params": params}}
        runs.append(Run(Trial.model_validate(row), "lot", setting))
    assert varying(runs) == dict(zip("ab", expected, strict=True))

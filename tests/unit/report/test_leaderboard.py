"""The leaderboard: stores of a suite joined, ranks with ties, always the same page."""

import csv
import json
from pathlib import Path

import pytest
from stores import contender, fill_predicted, predicted, timing, trial, with_call, write

from lotbench.errors import InputError
from lotbench.report.leaderboard import write as draw
from lotbench.statistics.store_view import StoreView

LABELS = {"labels": dict.fromkeys(("selection", "validation"), "1" * 200), "fingerprint": "f"}


def method(folder: Path, name: str, label: str, right: int, **more) -> dict:
    """Writes the row of a method at 4x with so many right answers, and returns it."""
    both = {"selection": right, "validation": right}
    rows = predicted(both, 4.0, budget={"k": 1}, target=4.0)
    row = trial(name, label, rows, data=LABELS, unreached=[], suite=1, **more)
    write(folder, row)
    return row


@pytest.fixture
def stores(tmp_path) -> list[Path]:
    """A store of a suite with dense (90%) and three methods, and one that joins it."""
    suite, mine = tmp_path / "suite", tmp_path / "mine"
    dense = predicted({"selection": 180, "validation": 180}, 1.0)
    write(suite, trial("d", "dense", dense, data=LABELS, suite=1))
    method(suite, "s", "static", 179)
    method(suite, "f", "first-k", 140)
    method(suite, "r", "random-drop", 100)
    # A dense model of its own, which would flatter it.
    worse = predicted({"selection": 100, "validation": 100}, 1.0)
    write(mine, trial("d", "dense", worse, data=LABELS, suite=1))
    method(mine, "m", "mine", 178)
    method(mine, "s", "static", 150)
    return [suite, mine]


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "leaderboard.csv").read_text().splitlines()))


def test_methods_of_two_stores_are_ranked_in_pairs(stores, tmp_path):
    draw([*map(StoreView, reversed(stores))], tmp_path)
    rows = table(tmp_path)
    columns = "method", "rank", "tied", "points", "store", "suite", "target"
    assert [tuple(row[name] for name in columns) for row in rows] == [
        ("mine", "1", "True", "-1", "mine", "1", "4"),
        ("static", "1", "True", "-0.5", "suite", "1", "4"),
        ("static, mine", "3", "False", "-15", "mine", "1", "4"),
        ("first-k", "4", "False", "-20", "suite", "1", "4"),
        ("random-drop", "5", "False", "-40", "suite", "1", "4"),
    ]


def test_the_same_stores_give_the_same_bytes(stores, tmp_path):
    for name, order in (("one", stores), ("two", stores[::-1])):
        draw([*map(StoreView, order)], tmp_path / name)
    for name in ("leaderboard.csv", "leaderboard.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_store_with_other_texts_does_not_join(stores, tmp_path):
    path = stores[1] / "trials" / "m.json"
    row = json.loads(path.read_text())
    path.write_text(json.dumps(row | {"data": LABELS | {"fingerprint": "g"}}))
    with pytest.raises(InputError, match="toy with seed 0 has other texts than in"):
        draw([*map(StoreView, stores)], tmp_path)


def test_stores_of_no_suite_are_not_compared(stores, tmp_path):
    fill_predicted(tmp_path / "own")
    draw([StoreView(tmp_path / "own"), StoreView(stores[0])], tmp_path)
    ranks = {(row["suite"], row["method"], row["target"]): row["rank"] for row in table(tmp_path)}
    assert ranks == {
        ("1", "static", "4"): "1",
        ("1", "first-k", "4"): "2",
        ("1", "random-drop", "4"): "3",
        ("", "LTP", "2"): "1",
        ("", "TR-BERT", "2"): "1",
        ("", "LTP", "4"): "1",
    }


def test_the_page_has_filters_calls_and_no_network(stores, tmp_path):
    own = with_call(contender("static", 3.0, "s", budget={"k": 1}), 2.5, 0.01)
    dense = with_call(contender("dense", 1.0, "d"), 1.0, 0.02)
    write(stores[0], timing("p", "2025", [dense, own]))
    draw([StoreView(stores[0])], tmp_path)
    page = (tmp_path / "leaderboard.html").read_text()
    assert "http" not in page and '<select name="target">' in page
    assert 'data-target="4" data-within="1"' in page and 'data-target="4" data-within=""' in page
    assert table(tmp_path)[0]["call"] == "2.5"


def test_a_store_without_the_targets_is_told(tmp_path):
    write(tmp_path, trial("d", "dense", predicted({"validation": 180}, 1.0), data=LABELS))
    with pytest.raises(InputError, match="no confirmed model at a target of 2, 4, 8"):
        draw([StoreView(tmp_path)], tmp_path)

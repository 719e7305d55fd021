"""Mean drops over several tasks, by hand."""

import pytest
from simulated import Rows, hits
from stores import fill_vectors

from lotbench.report.figures.all_tasks import figure
from lotbench.report.tables.all_tasks import all_tasks
from lotbench.report.text import NONE
from lotbench.statistics.drops import drops
from lotbench.statistics.store_view import StoreView


def task(**points):
    """Evidence with dense at 90% and methods that have one model at 4x each."""
    rows = Rows()
    rows.add("dense", hits(180), hits(180))
    for method, right in points.items():
        rows.add(method.replace("_", "-"), hits(right), hits(right), 4, (4.0, 4.0))
    return rows.evidence()


def test_mean_drops_by_hand():
    # The one model of each method, 5 points below at 4x, is its best one from 1x on.
    found = drops({"A": task(ltp=170, tr_bert=180), "B": task(ltp=176)})
    assert found.tasks["A"]["ltp"].value == pytest.approx(5)
    assert found.tasks["A"]["tr-bert"].value == pytest.approx(0)
    assert found.tasks["B"]["ltp"].value == pytest.approx(2)
    low, high = found.tasks["A"]["ltp"][1:]
    assert low < 5 < high
    # tr-bert is missing on B, and one method alone has nobody to be compared with.
    assert not found.mean
    assert all_tasks(found).columns == ["method", "A", "B"]


def test_the_mean_over_tasks_is_ranked_by_pairs():
    tasks = {"A": task(ltp=170, tr_bert=120), "B": task(ltp=176, tr_bert=176, first_k=100)}
    found = drops(tasks)
    assert found.mean["ltp"].value.value == pytest.approx((5 + 2) / 2)
    # 30 points below count as 10.
    assert found.mean["tr-bert"].value.value == pytest.approx((10 + 2) / 2)
    assert {method: own.rank for method, own in found.mean.items()} == {"ltp": 1, "tr-bert": 2}
    lines = {row[0]: row for row in all_tasks(found).groups[0]}
    assert lines["ltp"][3].startswith("3.5 (")
    assert lines["ltp"][4] == "1"
    assert lines["first-k"][1] == NONE
    assert lines["first-k"][3:] == [NONE, NONE]


def test_vectors_lose_up_to_thirty_points(tmp_path):
    vectors = StoreView(fill_vectors(tmp_path)).evidence["toy"]
    classes = Rows()
    classes.add("dense", hits(180), hits(180))
    for method, right in (("LoT (ours)", 170), ("LoT (ours, drop)", 100)):
        classes.add(method, hits(right), hits(right), 4, (4.0, 4.0))
    found = drops({"classes": classes.evidence(), "vectors": vectors})
    # In the mean over two doublings: (2.5 + 7.5) / 2 and (5 + 17.5) / 2 points on vectors.
    assert found.tasks["vectors"]["LoT (ours)"].value == pytest.approx(5)
    assert found.tasks["vectors"]["LoT (ours, drop)"].value == pytest.approx(11.25)
    assert found.mean["LoT (ours)"].value.value == pytest.approx((5 + 5) / 2)
    assert found.mean["LoT (ours, drop)"].value.value == pytest.approx((10 + 11.25) / 2)
    notes = all_tasks(found).notes
    assert "; at most 10 on classes and 30 on vectors, which also counts" in notes[0]
    assert notes[-1] == "in the mean a task on which larger drops count weighs more"


def test_one_task_and_tasks_without_a_common_range_are_not_compared():
    short = Rows()
    short.add("dense", hits(180), hits(180))
    short.add("ltp", hits(180), hits(180), 1.1, (1.1, 1.1))
    assert drops({"A": task(ltp=170)}) is None
    assert drops({"A": task(ltp=170), "B": short.evidence()}) is None


def test_the_best_is_at_the_top_of_figure_and_table():
    tasks = {"A": task(ltp=170, tr_bert=180), "B": task(ltp=176, tr_bert=170, first_k=178)}
    found = drops(tasks)
    best = ["tr-bert", "ltp", "first-k"]
    assert [row[0] for row in all_tasks(found).groups[0]] == best
    drawn = figure(found, [])
    assert [axes.get_title("left") for axes in drawn.axes] == ["A", "B", "all tasks"]
    assert [label.get_text() for label in drawn.axes[0].get_yticklabels()] == best
    places = [
        {line.get_ydata()[0]: line.get_xdata()[0] for line in axes.lines} for axes in drawn.axes
    ]
    expected = [{0: 0, 1: 5}, {0: 5, 1: 2, 2: 1}, {0: 2.5, 1: 3.5}]
    assert places == [pytest.approx(own, abs=1e-9) for own in expected]

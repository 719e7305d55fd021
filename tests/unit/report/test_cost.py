"""Training time against dense, by hand."""

import pytest
from stores import evaluation, fill_predicted, trial, write

from lotbench.report.figures.cost import figure
from lotbench.report.tables.overview import reach
from lotbench.report.text import NONE
from lotbench.statistics.runs import training_costs
from lotbench.statistics.store_view import StoreView


def trained(folder, name, method, seconds, seed=0):
    training = {"steps": 10, "seconds": seconds, "precision": "fp32", "threads": 1}
    write(folder, trial(name, method, [evaluation(0.9, 1.0)], seed=seed, training=training))


def test_training_is_against_dense_with_the_same_seed(tmp_path):
    for seed, dense in enumerate((10.0, 20.0, 40.0)):
        trained(tmp_path, f"d{seed}", "dense", dense, seed)
    # Half as long, one and a half times, and a quarter.
    for seed, seconds in enumerate((5.0, 30.0, 10.0)):
        trained(tmp_path, f"l{seed}", "ltp", seconds, seed)
    trained(tmp_path, "t9", "tr-bert", 5.0, seed=9)  # no dense has its seed
    assert training_costs(StoreView(tmp_path).runs_on("toy")) == {"LTP": 0.5, "dense": 1.0}


def changed(folder, pattern, seconds) -> StoreView:
    """A store, some of whose rows trained for so many seconds."""
    fill_predicted(folder)
    for row in (folder / "trials").glob(pattern):
        row.write_text(row.read_text().replace('"seconds": 2.5', f'"seconds": {seconds}'))
    return StoreView(folder)


def test_table_and_figure_show_it(tmp_path):
    study = changed(tmp_path, "l.json", 7.5)
    assert {line[0]: line[-1] for line in reach("toy", study).groups[0]} == {
        "LTP": "3.0\N{MULTIPLICATION SIGN}",
        "TR-BERT": "1.0\N{MULTIPLICATION SIGN}",
    }
    drawn = figure(study, "toy")
    (axes,) = drawn.axes
    areas = study.evidence["toy"].areas()
    points = {line.get_label(): (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines}
    assert points["LTP"] == pytest.approx((3.0, areas["LTP"].value.value))
    assert points["TR-BERT"] == pytest.approx((1.0, areas["TR-BERT"].value.value))


def test_without_training_times_there_is_neither_cell_nor_figure(tmp_path):
    study = changed(tmp_path, "*.json", "null")
    assert {line[-1] for line in reach("toy", study).groups[0]} == {NONE}
    assert figure(study, "toy") is None

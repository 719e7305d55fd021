"""The heat map of settings by budget, with cells worked by hand."""

import numpy as np
import pytest
from stores import evaluation, trial, write

from lotbench.report.figures import style
from lotbench.report.figures.settings import data, figure
from lotbench.report.text import TIMES
from lotbench.statistics.store_view import StoreView


def setting(folder, name, method, params, scores, own_budget=None):
    """A trial with a score per target, on both splits; ``own_budget`` is one without a target."""
    points = [
        evaluation(score, target, {"scale": target}, split=split, target=target)
        for target, score in scores.items()
        for split in ("selection", "validation")
    ]
    if own_budget is not None:
        points.append(evaluation(0.5, 1.7, {"scale": own_budget}))
    config = {"seed": 0, "plugins": [], "params": params}
    every = {"lambda": 0.1, "rate": 0.01} | params
    write(folder, trial(name, method, points, config=config, params=every))


@pytest.fixture
def store(tmp_path):
    splits = [evaluation(0.90, 1.0, split=split) for split in ("selection", "validation")]
    write(tmp_path, trial("d", "dense", splits))
    # In this order, so that neither names nor files are sorted by chance.
    setting(tmp_path, "a", "ltp", {"lambda": 1.0}, {2.0: 0.88, 4.0: 0.70, 8.0: 0.60}, 0.3)
    setting(tmp_path, "b", "ltp", {"lambda": 0.02}, {2.0: 0.91, 4.0: 0.89})
    setting(tmp_path, "c", "ltp", {}, {2.0: 0.90, 4.0: 0.85}, 0.4)
    setting(tmp_path, "e", "mine", {"k": 1}, {2.0: 0.90})
    setting(tmp_path, "f", "mine", {"k": 2}, {4.0: 0.90})
    return tmp_path


def test_settings_are_rows_and_targets_are_columns(store):
    # Those of "mine" share no target.
    (own,) = data(StoreView(store), "toy")
    assert (own.heat.title, own.parameters, own.budget) == ("LTP", ["lambda"], "FLOPs speed-up")
    # The default of lambda, 0.1, is from the row.  The middle has no loss and the first gains.
    assert own.heat.rows == ["0.02 *", "0.1", "1"]
    assert own.heat.columns == [f"{target}{TIMES}" for target in (2, 4, 8)]
    expected = [[1, -1, np.nan], [0, -5, np.nan], [-2, -20, -30]]
    assert own.heat.values == pytest.approx(np.array(expected), nan_ok=True)


def test_budgets_have_their_speedups(tmp_path):
    write(tmp_path, trial("d", "dense", [evaluation(0.90, 1.0)]))
    for weight, speed in ((0.1, 2.0), (0.5, 3.0)):
        points = [evaluation(0.88, speed, {"threshold": 0.3})]
        points.append(evaluation(0.86, 2 * speed, {"threshold": 0.7}))
        config = {"seed": 0, "plugins": [], "params": {"alpha": weight, "kind": "x"}}
        write(tmp_path, trial(f"t{weight}", "tr-bert", points, config=config))
    (own,) = data(StoreView(tmp_path), "toy")
    # Nothing is scored on selection, so no setting can be chosen.
    assert (own.heat.rows, own.heat.columns) == (["0.1", "0.5"], ["0.3", "0.7"])
    assert own.budget == "threshold"
    assert own.heat.texts == [
        [f"-2.0\n(2.0{TIMES})", f"-4.0\n(4.0{TIMES})"],
        [f"-2.0\n(3.0{TIMES})", f"-4.0\n(6.0{TIMES})"],
    ]


def test_what_the_figure_shows(store):
    with style.drawing():
        drawn = figure(StoreView(store), "toy")
        drawn.draw_without_rendering()
        panel, scale = drawn.axes
        assert panel.get_title(loc="left") == "LTP"
        assert scale.get_ylabel() == "Accuracy against dense\n(points)"
        shown = [own.get_text().replace("\N{MINUS SIGN}", "-") for own in panel.texts]
        assert shown == ["+1.0", "-1.0", "+0.0", "-5.0", "-2.0", "-20.0", "-30.0"]
        assert "Rows: LTP by lambda" in drawn.get_supxlabel()
        assert "*: the largest area on selection" in drawn.get_supxlabel()

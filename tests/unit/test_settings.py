"""The heat map of settings by budget, with cells worked by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest
from stores import evaluation, trial, write

from lotbench.report import style, words
from lotbench.report.content import read
from lotbench.report.html.grids import settings
from lotbench.report.html.page import write as write_page
from lotbench.report.plots import draw
from lotbench.report.rows import NONE
from lotbench.report.settings import setting_grids, setting_map


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


def test_settings_are_rows_and_targets_are_columns(store) -> None:
    # Those of "mine" share no target.
    (grid,) = setting_grids("toy", read(store))
    assert (grid.method, grid.parameters, grid.budget) == ("LTP", ["lambda"], "FLOPs speed-up")
    # The default of lambda, 0.1, is from the row.  The middle has no loss and the first gains.
    assert grid.settings == ["0.02 *", "0.1", "1"]
    assert grid.columns == [f"{target}{words.TIMES}" for target in (2, 4, 8)]
    expected = [[1, -1, np.nan], [0, -5, np.nan], [-2, -20, -30]]
    assert grid.gains == pytest.approx(np.array(expected), nan_ok=True)
    assert grid.speedups is None


def test_a_page_has_them_as_a_table(store) -> None:
    (own,) = setting_grids("toy", read(store))
    grid = settings(own, depth=10.0)
    assert (grid.title, grid.columns) == ("LTP", own.columns)
    rows = dict(grid.groups[0][1])
    assert [cell.text for cell in rows["1"]] == ["-2.0", "-20.0", "-30.0"]
    assert [cell.level for cell in rows["1"]] == pytest.approx([-0.2, -1, -1])
    assert rows["0.02 *"][0].level == pytest.approx(0.1)
    assert (rows["0.1"][0].text, rows["0.1"][2].text) == ("+0.0", NONE)
    (page,) = [path for path in write_page([store]) if path.suffix == ".html"]
    text = page.read_text(encoding="utf-8")
    assert "What each setting is worth" in text
    assert re.search(r'<td class="below" style="--level:0.\d\d">-2.0</td>', text)


def test_budgets_have_their_speedups(tmp_path) -> None:
    write(tmp_path, trial("d", "dense", [evaluation(0.90, 1.0)]))
    for weight, speed in ((0.1, 2.0), (0.5, 3.0)):
        points = [
            evaluation(0.88, speed, {"threshold": 0.3}),
            evaluation(0.86, 2 * speed, {"threshold": 0.7}),
        ]
        config = {"seed": 0, "plugins": [], "params": {"alpha": weight, "kind": "x"}}
        write(tmp_path, trial(f"t{weight}", "tr-bert", points, config=config))
    (grid,) = setting_grids("toy", read(tmp_path))
    # Nothing is scored on selection, so no setting can be chosen.
    assert (grid.settings, grid.budget, grid.columns) == (
        ["0.1", "0.5"],
        "threshold",
        ["0.3", "0.7"],
    )
    assert grid.speedups is not None
    assert grid.speedups.tolist() == [[2.0, 4.0], [3.0, 6.0]]


def test_what_the_figure_shows(store) -> None:
    content = read(store)
    rows = content.rows
    grids = setting_grids("toy", content)
    with style.drawing():
        figure = setting_map(rows, content.table, "Accuracy against dense (points)", grids)
        figure.draw_without_rendering()
        panel, scale = figure.axes
        assert panel.get_title(loc="left") == "LTP"
        assert panel.get_title(loc="right") == "lambda"
        assert scale.get_ylabel() == "Accuracy against dense\n(points)"
        shown = [text.get_text().replace("\N{MINUS SIGN}", "-") for text in panel.texts]
        assert shown == ["+1.0", "-1.0", "+0.0", "-5.0", "-2.0", "-20.0", "-30.0"]
        assert "*: the largest area on selection" in figure.get_supxlabel()


@pytest.mark.slow
def test_the_figure_is_drawn_with_the_others(store) -> None:
    names = {path.name for path in draw(store)}
    assert {f"toy-settings{suffix}" for suffix in style.FORMATS} <= names

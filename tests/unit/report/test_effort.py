"""What effort bought, in tables, sentences, figure and page, by hand."""

import re
from pathlib import Path
from typing import Any

import pytest
from simulated import mark
from stores import fill_predicted, predicted, trial, write

from lotbench.report import readme
from lotbench.report.figures import search, style
from lotbench.report.figures.draw import draw, missing
from lotbench.report.findings import findings
from lotbench.report.page.page import render, store_pages
from lotbench.report.tables.origin import failures
from lotbench.report.tables.search import effort, parameters, space, verdict
from lotbench.report.text import NONE
from lotbench.statistics.search import Order
from lotbench.statistics.store_view import StoreView

TEACHER = {"metrics": {split: {"accuracy": 0.5} for split in ("selection", "validation")}}
DATA = {"labels": {split: "1" * 200 for split in ("selection", "validation")}}
LOGARITHMIC = {"k": {"loguniform": [0.01, 1]}}


def row(name: str, method: str, area: float | None, seed: int, own: dict[str, Any], **more: Any):
    """A row of one model at 2x, whose height is its area; it failed without one."""
    right = round(200 * (0.5 + ((area or 0) - 10) / 100))
    models = predicted({"selection": right, "validation": right}, 2.0, target=2.0)
    found = trial(name, method, models, seed, search=own, teacher=TEACHER, data=DATA, seconds=90.0)
    if area is None:
        found |= {"status": "failed", "error": {"kind": "X", "message": "broken"}}
    return found | more


def fill_search(folder: Path, confirmed: bool = True) -> Path:
    """Searches of two methods with four trials, one failed; two fixed settings; confirmations."""
    for method, areas in (("ltp", [6, 6, 6, 6]), ("tr-bert", [2, None, 2, 26])):
        for index, area in enumerate(areas):
            own, value = mark(index, LOGARITHMIC, key=method), {"k": 0.01 * 10 ** (index / 2)}
            write(folder, row(f"{method}-{index}", method, area, 10, own, params=value))
    for index, area in enumerate((4, 14)):
        own = mark(0, {}, key=f"t{index}")
        write(folder, row(f"t-{index}", "truncated", area, 10, own, params={"layers": index}))
    for method, area in (("ltp", 6), ("tr-bert", 26)) if confirmed else ():
        for seed in (0, 1):
            own = {"key": method, "part": "confirmation", "chosen": f"{method}-3"}
            write(folder, row(f"{method}-c{seed}", method, area, seed, mark(3, LOGARITHMIC) | own))
    return folder


@pytest.fixture
def not_saved(monkeypatch):
    """Figures have their names, and no files."""
    monkeypatch.setattr(style, "save", lambda figure, path, _: [path.with_name(f"{path.name}.png")])


@pytest.fixture
def study(tmp_path) -> StoreView:
    return StoreView(fill_search(tmp_path))


def test_the_table_by_hand(study):
    table = effort("toy", study)
    assert table.columns == [
        *("method", "searched", "default", "after 1", "after 2", "after 3", "after 4", "minutes")
    ]
    rows = {line[0]: line[1:] for line in table.groups[0]}
    level = ["6.0\nrank 2", *["6.0\nrank 3"] * 3]
    fixed = ["14.0\nrank 1"] * 2 + ["14.0\nrank 2"] * 2
    # Of the areas 0, 2, 2 and 26: 30/4, (2 + 2 * 2 + 3 * 26) / 6 and (2 + 3 * 26) / 4.
    grown = [
        *("7.5\n0.0 to 26.0\nrank 2", "14.0\n2.0 to 26.0\nrank 1"),
        *("20.0\n2.0 to 26.0\nrank 1", "26.0\nrank 1"),
    ]
    assert rows == {
        "LTP": ["1 parameter\n4 trials", "6.0", *level, "6.0\n+ 3.0"],
        "TR-BERT": ["1 parameter\n4 trials, 1 failed", "2.0", *grown, "6.0\n+ 3.0"],
        "truncated": ["nothing\n2 settings", NONE, *fixed, "3.0"],
    }


def test_the_parameters_by_hand(study):
    table = parameters("toy", study)
    assert table.groups == [
        # Equal areas have no variance to explain; of three trials a curve leaves none over.
        [["LTP", "k", "0.01 to 1, logarithmic", "0.01", "0.01", "too few trials"]],
        [["TR-BERT", "k", "0.01 to 1, logarithmic", "0.01", "0.316228", "too few trials"]],
    ]


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"uniform": [0, 0.5]}, "0 to 0.5"),
        ({"loguniform": [1e-5, 1e-3]}, "1e-05 to 0.001, logarithmic"),
        ({"randint": [2, 6]}, "2 to 6, whole numbers"),
        ({"choice": ["leap", None, 3]}, "leap, default, 3"),
    ],
)
def test_spaces_in_words(own, words):
    assert space(own) == words


def order(trials: int, *ahead: tuple[str, str]) -> Order:
    ranks = {name: 1 + sum(name == behind for _, behind in ahead) for name in "abc"}
    return Order(trials, frozenset(ahead), ranks)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ([], ""),
        ([order(1), order(2)], "with equal trials for every method, all methods tie after 1 to 2"),
        (
            [order(1, ("a", "b"), ("a", "c")), order(2, ("a", "b"))],
            "depends on the number of trials: a is ahead after 1 trial; a and c tie after 2 tr",
        ),
        (
            [order(1, ("a", "b")), order(2), order(3, ("b", "a"))],
            "a and c tie after 1 trial; all methods tie after 2 trials; b and c tie after 3 trials."
            " b passes a at 3 trials.",
        ),
    ],
)
def test_the_verdict_says_where_the_conclusion_flips(found, sentence):
    assert sentence in verdict(found)


@pytest.mark.slow
def test_every_output_has_the_search(study, not_saved):
    files = draw(study)
    page = readme.page(study, files)
    assert "10 trials searched on TOY, seed 10; 1 failed. 4 trials confirmed, seeds 0 and 1" in page
    places = [page.index(part) for part in ("what effort bought", "searched parameters")]
    assert places == sorted(places) and "(figures/toy-search.png)" in page
    assert "Break-even" not in page
    assert findings("toy", study)[-1] == (
        "In the search, who is ahead depends on the number of trials: truncated is ahead after 1 "
        "trial; TR-BERT and truncated tie after 2 trials; TR-BERT is ahead after 3 to 4 trials. "
        "TR-BERT passes truncated at 3 trials."
    )
    stores = store_pages([study])
    html = render(stores, None, {}, "toy")
    assert html.index("<h3>What effort bought</h3>") < html.index("all models")
    table = failures(study)
    assert table is not None and table.groups[0][0] == ["tr-bert-1", "X: broken"]


def test_all_but_the_search_is_of_confirmed_trials(study):
    models = {(own.method, own.seeds) for own in study.validated("toy")}
    assert models == {("LTP", 2), ("TR-BERT", 2)}
    assert any(
        own.startswith("2 methods with 2 models (mean of 2") for own in findings("toy", study)
    )


@pytest.mark.slow
def test_a_store_without_a_search_shows_none(tmp_path):
    study = StoreView(fill_predicted(tmp_path))
    assert effort("toy", study) is parameters("toy", study) is search.figure(study, "toy") is None
    html = render(store_pages([study]), None, {}, "toy")
    assert "effort" not in re.sub(r"<(script|style)>.*?</\1>", "", html, flags=re.S)


@pytest.mark.slow
def test_a_search_without_a_choice_is_shown_alone(tmp_path, not_saved):
    study = StoreView(fill_search(tmp_path, confirmed=False))
    files = draw(study)
    assert [path.name for path in files] == ["toy-search.png"]
    assert missing(study) == [
        "toy: no figures but of the search, no trial is done and scored on validation"
    ]
    page = readme.page(study, files)
    assert "1 failed. None is confirmed yet." in page
    assert "what effort bought" in page and "(figures/toy-search.png)" in page
    (chapter,) = store_pages([study])[0].chapters
    assert not chapter.answer
    assert chapter.findings[-1].startswith("In the search, who is ahead depends")


def test_the_figure_has_a_curve_for_each_and_its_band(study):
    figure = search.figure(study, "toy")
    every, *panels, beside = figure.axes
    lines = {str(line.get_label()): line for line in every.lines}
    assert [*lines] == ["LTP", "TR-BERT", "truncated"]
    assert lines["TR-BERT"].get_ydata() == pytest.approx([7.5, 14, 20, 26])
    # Nothing more can be tried, so it goes on level.
    assert lines["truncated"].get_ydata() == pytest.approx([14] * 4)
    assert [panel.get_title(loc="left") for panel in panels] == [*lines]
    (band,) = panels[1].collections
    assert band.get_datalim(panels[1].transData).bounds == pytest.approx((1, 0, 3, 26))
    default = panels[1].lines[1].get_ydata()
    assert default == pytest.approx([2, 2])
    legend = beside.get_legend()
    assert legend is not None and len(legend.get_texts()) == 3

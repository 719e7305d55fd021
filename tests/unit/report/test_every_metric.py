"""Every metric in tables, on a store of vectors: see `stores.fill_vectors`."""

import re

import pytest
from stores import evaluation, fill_predicted, fill_vectors, trial, vectors, write

from lotbench.deploy.measured import measured
from lotbench.report import readme, text
from lotbench.report.figures import base, front
from lotbench.report.figures.draw import draw
from lotbench.report.page import page
from lotbench.report.tables.metrics import metrics
from lotbench.report.tables.models import models
from lotbench.report.tables.overview import overview
from lotbench.report.text import NONE, TIMES
from lotbench.statistics.store_view import StoreView


def test_every_model_has_every_metric_with_its_interval(tmp_path):
    table = models("toy", StoreView(fill_vectors(tmp_path)))
    assert table.columns[2:6] == ["seeds", "mrr", "overlap", "cosine"]
    leap, drop, dense = table.groups
    assert [row[0].removesuffix(" *") for row in (*leap, *drop, *dense)] == [
        *["LoT (ours)"] * 2,
        *["LoT (ours, drop)"] * 2,
        "dense",
    ]
    # 160 of 200 queries have 1 and 20 have 1/2: 1.96 standard errors of .026 are .046.
    # Every text has four of ten neighbours.  Cosines are .1 off: 1.96 x .1 / sqrt(200) = .014.
    cells = ["0.85 (0.81 to 0.89)", "40.0% (40.0 to 40.0)", "0.80 (0.79 to 0.81)"]
    assert leap[0] == ["LoT (ours) *", "target=2", "1", *cells, "-5.0", "75%", "2.00"]
    assert any(note.startswith("overlap: share of a text's ten nearest") for note in table.notes)


def test_areas_of_vectors_count_thirty_points(tmp_path):
    study = StoreView(fill_vectors(tmp_path))
    # Against .9 of dense, leaping is 5 and 10 points below at 2x and 4x, dropping 10 and 25.
    areas = study.evidence["toy"].areas()
    assert areas["LoT (ours)"].value.value == pytest.approx(27.5 + 22.5)
    assert areas["LoT (ours, drop)"].value.value == pytest.approx(25 + 12.5)
    table = overview("toy", study)
    assert table is not None and any("at most 30, which also" in own for own in table.notes)


def test_the_main_metric_is_drawn_as_everywhere(tmp_path):
    study = StoreView(fill_vectors(tmp_path))
    for own in study.validated("toy"):
        drawn = study.metrics["toy"][own.key]["mrr"]
        assert (drawn.score("validation") == own.drawn.score("validation")).all()


def test_methods_are_compared_with_the_first_in_pairs(tmp_path):
    table = metrics("toy", StoreView(fill_vectors(tmp_path)))
    assert table.title.startswith("TOY: every metric minus that of LoT (ours)")
    ((two, four),) = table.groups
    # At 2x, 20 of 200 texts lose a half: .05, with 1.96 standard errors of .15 / sqrt(200).
    same = "0.0 (0.0 to 0.0)"
    assert two[:3] == ["LoT (ours, drop)", f"2{TIMES}", "-5.0 (-7 to -3) *"]
    assert two[3:] == [same, same]
    assert four[2].startswith("-15.0 (") and four[2].endswith("*")


def test_other_texts_are_not_compared(tmp_path):
    fill_vectors(tmp_path)
    rows = vectors(100, 2.0, 0.8, target=2.0)
    other = {"metric": "mrr", "data": {"fingerprint": "other"}, "teacher": None}
    write(tmp_path, trial("k", "first-k", rows, **other))
    table = metrics("toy", StoreView(tmp_path))
    assert table.groups[1] == [["first-k", f"2{TIMES}", NONE, NONE, NONE]]


def test_scored_pairs_have_labels_beside_their_means(tmp_path):
    gold = [0, 1, 2, 3]
    # The pairs' cosines in the order of their scores, but for two neighbours.
    answers = {"overlap": "77777777", "cosine": [0.6, 1.0] * 4}
    own = {"metrics": {"spearman": 0.8, "overlap": 1.0, "cosine": 0.8}, "examples": 8}
    own = evaluation(None, 2.0, predictions=[0.1, 0.3, 0.2, 0.4], answers=answers, **own)
    data = {"labels": {"validation": gold}}
    write(tmp_path, trial("a", "first-k", [own], metric="spearman", data=data))
    table = models("toy", StoreView(tmp_path))
    assert table.columns[3:6] == ["spearman", "overlap", "cosine"]
    ((row,),) = table.groups
    # Ranks 1 3 2 4 against 1 2 3 4: 1 - 6 x 2 / (4 x 15).
    assert row[3].startswith("0.8")
    assert row[4] == "100.0% (100.0 to 100.0)" and row[5].startswith("0.8 (")


def test_classes_have_no_such_table(tmp_path):
    study = StoreView(fill_predicted(tmp_path))
    assert metrics("toy", study) is None
    assert "accuracy" in models("toy", study).columns


def test_the_axis_of_vectors_is_deep_and_names_the_metric(tmp_path):
    study = StoreView(fill_vectors(tmp_path))
    own = front.over_flops(study, "toy")
    # Dropping loses 25 hundredths at 4x.
    assert len(own.inside) == 5
    title = front.gain_title(own.metric, own.reference)
    assert title == "MRR@10 against dense (hundredths)"


def test_models_beyond_the_axis_are_named(tmp_path, monkeypatch):
    study = StoreView(fill_vectors(tmp_path))
    assert not front.over_flops(study, "toy").beyond
    monkeypatch.setattr(base, "FASTEST", 3.0)
    own = front.over_flops(study, "toy")
    assert own.beyond and all(each.flops.value > 3 for each in own.beyond)
    assert all(each.x.value <= 3 for each in own.shown)
    assert not {each.method for each in own.beyond} & {*own.open_ends}
    assert front.not_drawn(own)[-1].startswith("over 3 times as fast: ")


@pytest.mark.slow
def test_a_store_of_vectors_is_drawn_and_reported(tmp_path):
    study = StoreView(fill_vectors(tmp_path))
    files = draw(study)
    assert "toy-keep-ratio" in {path.stem for path in files}
    written = readme.page(study, files)
    assert "<summary>TOY: every metric minus that of LoT (ours), at equal targets<" in written
    html, *tables = page.write([study], tmp_path / "out.html")
    assert "MRR@10 against dense (hundredths)" in html.read_text(encoding="utf-8")
    assert {"-toy-metrics.csv", "-toy-models.csv"} <= {
        path.name.removeprefix(study.name) for path in tables
    }


@pytest.mark.parametrize(
    ("task", "metric", "data", "unit"),
    [
        ("imdb", "accuracy", {}, "texts"),
        ("stsb", "spearman", {"kind": None}, "texts"),
        ("stsb", "spearman", {"kind": "embedding"}, "pairs"),
        ("stsb", "overlap", {"kind": "embedding"}, "texts"),
        ("bbc_known_item", "mrr", {}, "texts"),
        ("bbc_headlines", "mrr", {}, "groups"),
        ("mine", "mrr", {"source": "bbc_headlines"}, "groups"),
        ("mine", "ndcg", {"source": "./x", "kind": "ranking"}, "groups"),
    ],
)
def test_what_a_draw_takes(tmp_path, task, metric, data, unit):
    rows = [evaluation(0.5, 2.0, metrics={metric: 0.5})]
    config = {"seed": 0, "plugins": [], "data": data}
    write(tmp_path, trial("a", "ltp", rows, task=task, metric=metric, config=config))
    assert text.unit_of(StoreView(tmp_path).runs) == unit


def test_a_card_has_every_metric(tmp_path):
    fill_vectors(tmp_path)
    (row,) = (own for own in StoreView(tmp_path).trials if own.trial_id == "leap")
    write(tmp_path, row.content() | {"model": "models/leap"})
    folder = tmp_path / "models" / "leap"
    folder.mkdir(parents=True)
    first, _, head, _, line, _ = measured(folder).split("\n")
    assert first.startswith("Trial `leap`: mrr, overlap and cosine on the validation split")
    assert head == "| budget | mrr | overlap | cosine | texts | FLOPs speed-up |"
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert [cell.split()[0] for cell in cells] == [
        *("threshold=0.3", "0.8500", "0.4000", "0.8000", "200", "2.00x")
    ]
    low, high = map(float, re.findall(r"\((.*) to (.*)\)", cells[3])[0])
    # 1.96 standard errors of 0.1 / sqrt(200).
    assert (low, high) == pytest.approx((0.786, 0.814), abs=0.003)

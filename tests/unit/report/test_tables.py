"""Tables on the terminal and in README.md show all points and failures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from lotbench.report.bootstrap import Estimate
from lotbench.report.content import read
from lotbench.report.overview import AT_LEAST, overview
from lotbench.report.rows import NONE
from lotbench.report.words import TIMES, score_with_interval, with_interval
from rich.console import Console
from stores import contender, evaluation, failed, fill, fill_predicted, timing, trial, write

from lotbench.report import readme
from lotbench.report.tables import render

NOTE = "the reference is the better of dense and the teacher on selection"


def printed(folder):
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(render(folder))
    return console.export_text()


def test_the_tables_show_scores_intervals_and_failures(tmp_path):
    text = printed(fill(tmp_path))
    (lot,) = [line for line in text.splitlines() if "threshold=0.3" in line]
    expected = "LoT (ours) * threshold=0.3 2, 1 timed 89.5% -0.5 75% 2.00"
    assert " ".join(lot.split()).startswith(expected)
    assert "1.80 ±0.10" in lot
    assert "~1.02 ±0.10" in text
    assert "!3.10 ±0.10" in text
    notes = " ".join(text.split())
    assert "dense against itself differs by 1.0% (cpu-1t-b1-fp32), 1.0% (cpu-1t-b32-fp32)" in notes
    assert "toy-ltp-s0-bad  NonFiniteLoss: task loss is nan (step 37)" in text


def test_without_scores_on_selection_nothing_is_chosen(tmp_path):
    content = read(fill(tmp_path))
    opening = overview("toy", content)
    assert opening is not None
    assert opening.title.endswith("within so many points of dense 90.0%")
    (row,) = [row for row in opening.groups[0] if row[0] == "LoT (ours)"]
    assert row[1:6] == [NONE] * 5
    assert any("models are chosen on selection (no texts)" in note for note in opening.notes)


def test_the_overview_has_choices_intervals_marks_and_missed_targets(tmp_path):
    fill_predicted(tmp_path)
    write(tmp_path, timing("p", "2025", [contender("l", 3.1, "l", budget={"scale": 2.0})]))
    opening = overview("toy", read(tmp_path))
    assert opening is not None
    assert opening.title == (
        "toy, largest FLOPs speed-up within so many points of dense 90.0% (86 to 94)"
    )
    ltp, other = opening.groups[0]
    # 2x is at 90.0 on selection, 4x at 89.0; on validation they are at 89.5 and 89.0.
    speedup, margin = ltp[1].splitlines()
    assert speedup.startswith(f"2.0{TIMES} (")
    assert margin.startswith("-0.5 (")
    speedup, _ = ltp[2].splitlines()
    assert speedup.startswith(f"{AT_LEAST} 4.0{TIMES} (")
    assert speedup.endswith(" tie")
    # Rank, settings, points, seeds, and training time against dense.
    assert ltp[5:10] == ["1", "1", "2", "1", f"1.0{TIMES}"]
    # The wall-clock speed-up of the model within 1 point.
    assert ltp[10] == "3.10 ±0.10"
    # TR-BERT missed 4x, so its end at 2x is not open.
    assert other[0] == "TR-BERT"
    assert other[1].startswith(f"2.0{TIMES} (2.0 to 2.0)")
    notes = " ".join(opening.notes)
    assert "selection (200 texts) and read on validation (200 texts)" in notes
    assert "did not reach (nearest speed-up): TR-BERT 4 (2.3)" in notes
    assert "no intervals" not in notes


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


def test_a_correlation_and_its_interval_are_fractions():
    assert score_with_interval(Estimate(0.8712, 0.852, 0.889), "pearson") == "0.87 (0.85 to 0.89)"
    assert score_with_interval(Estimate(0.8712, np.nan, np.nan), "pearson") == "0.871"


def test_an_old_store_says_that_it_has_no_intervals(tmp_path):
    both = [
        evaluation(score, 2.0, split=split)
        for score, split in ((0.9, "selection"), (0.88, "validation"))
    ]
    write(tmp_path, trial("l", "ltp", both))
    dense = [evaluation(0.9, 1.0, split=split) for split in ("selection", "validation")]
    write(tmp_path, trial("d", "dense", dense))
    opening = overview("toy", read(tmp_path))
    assert opening is not None
    assert opening.groups[0][0][1] == f"{AT_LEAST} 2.0{TIMES}\n-2.0"
    assert any("no intervals and no ties" in note for note in opening.notes)


def test_missing_scores_are_dashes(tmp_path):
    write(fill(tmp_path, batch_sizes=[]), trial("n", "ltp", [evaluation(None, 2.0)]))
    (row,) = [line for line in printed(tmp_path).splitlines() if "LTP" in line and "75%" in line]
    assert row.split() == ["LTP", "1", NONE, NONE, "75%", "2.00"]


def test_without_a_score_of_dense_the_points_are_listed(tmp_path):
    write(tmp_path, trial("l", "lot", [evaluation(0.9, 2.0)], teacher=None))
    text = printed(tmp_path)
    assert "toy, dense without a score" in text
    (row,) = [line for line in text.splitlines() if "75%" in line]
    assert row.split() == ["LoT", "(ours)", "1", "90.0%", NONE, "75%", "2.00"]


def test_the_readme_tells_what_the_store_holds(tmp_path):
    figures = [tmp_path / "figures" / name for name in ("toy-keep-ratio.png", "break-even-x.png")]
    path = readme.write(fill(tmp_path), figures)
    text = path.read_text()
    assert "`lotbench plot` writes this file" in text
    assert "5 trials on TOY, seeds 0 and 1; 1 failed." in text
    assert "The backbone is BERT (2 layers), `package:tiny_bert/model`." in text
    assert "Trained on Abacus 9000, 1 thread. Timed on Abacus 9000, 1 thread." in text
    lines = text.splitlines()
    assert lines.index("![toy-keep-ratio](figures/toy-keep-ratio.png)") < lines.index(
        "### toy, dense 90.0%"
    )
    assert lines[-1] == "![break-even-x](figures/break-even-x.png)"
    (lot,) = [line for line in lines if "threshold=0.3" in line]
    expected = (
        r"| LoT (ours) \* | `threshold=0.3` | 2, 1 timed | 89.5% | -0.5 | 75% | 2.00 |"
        " 1.80 ±0.10 | 1.80 ±0.10 |"
    )
    assert lot == expected
    widths = [line.count(" | ") for line in lines if line.startswith("|")]
    # The overview of two methods, then the list of four points; each with its two head lines.
    assert widths == [11] * 4 + [8] * 6
    assert lines.index("## TOY") < lines.index(f"- {NOTE}") < lines.index("### toy, dense 90.0%")
    assert readme.write(tmp_path, figures).read_text() == text


def test_the_readme_has_the_points_of_the_console_in_their_order(tmp_path):
    fill(tmp_path)
    text = readme.text(tmp_path, []).partition("### toy, dense")[2]
    rows = [line.split(" | ") for line in text.splitlines() if "| " in line]
    points = [" ".join(cell.strip(" |`") for cell in row).replace("\\", "") for row in rows[2:]]
    shown = [" ".join(line.split()) for line in printed(tmp_path).splitlines()]
    places = [shown.index(" ".join(point.split())) for point in points]
    assert len(places) == 4
    assert places == sorted(places)


def test_a_readme_not_written_by_lotbench_is_kept(tmp_path, caplog):
    (fill(tmp_path) / "README.md").write_text("mine")
    assert readme.write(tmp_path, []) is None
    assert "README.md: not replaced" in caplog.text
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_store_of_failures_has_a_readme(tmp_path):
    write(tmp_path, failed("bad"))
    assert "1 trial on TOY, seed 0; 1 failed." in readme.text(tmp_path, [])

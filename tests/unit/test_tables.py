"""Tables on the terminal and in README.md show all points and failures."""

from __future__ import annotations

import io

from rich.console import Console
from stores import evaluation, failed, fill, trial, write

from lotbench.report import readme
from lotbench.report.rows import NONE
from lotbench.report.tables import render


def printed(folder):
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(render(folder))
    return console.export_text()


def test_the_tables_show_scores_intervals_and_failures(tmp_path):
    text = printed(fill(tmp_path))
    (lot,) = [line for line in text.splitlines() if "threshold=0.3" in line]
    expected = "lot * threshold=0.3 2, 1 timed 89.5% (89.0 to 90.0) -0.5 75% 2.00"
    assert " ".join(lot.split()).startswith(expected)
    assert "1.80 ±0.10" in lot
    assert "~1.02 ±0.10" in text
    assert "!3.10 ±0.10" in text
    notes = " ".join(text.split())
    assert "dense against itself differs by 1.0% (cpu-1t-b1-fp32), 1.0% (cpu-1t-b32-fp32)" in notes
    assert "toy-ltp-s0-bad  NonFiniteLoss: task loss is nan (step 37)" in text
    (largest,) = [line for line in text.splitlines() if "FLOPs" in line and "lot" in line]
    # 89.5 at 2x is within half a point of 90.0; 85 at 4x is not within 2.
    assert largest.split()[3:6] == ["2.00", "2.00", "2.00"]


def test_missing_scores_are_dashes(tmp_path):
    write(fill(tmp_path, batch_sizes=[]), trial("n", "ltp", [evaluation(None, 2.0)]))
    (row,) = [line for line in printed(tmp_path).splitlines() if "ltp" in line and "75%" in line]
    assert row.split() == ["ltp", "1", NONE, NONE, "75%", "2.00"]


def test_without_a_score_of_dense_the_points_are_listed(tmp_path):
    write(tmp_path, trial("l", "lot", [evaluation(0.9, 2.0)], teacher=None))
    text = printed(tmp_path)
    assert "toy, dense without a score" in text
    (row,) = [line for line in text.splitlines() if "75%" in line]
    assert row.split() == ["lot", "1", "90.0%", NONE, "75%", "2.00"]


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
        r"| lot \* | `threshold=0.3` | 2, 1 timed | 89.5% (89.0 to 90.0) | -0.5 | 75% | 2.00 |"
        " 1.80 ±0.10 | 1.80 ±0.10 |"
    )
    assert lot == expected
    widths = {line.count(" | ") for line in lines if line.startswith("|")}
    assert widths == {8}
    assert readme.write(tmp_path, figures).read_text() == text


def test_the_readme_has_the_points_of_the_console_in_their_order(tmp_path):
    fill(tmp_path)
    rows = [line.split(" | ") for line in readme.text(tmp_path, []).splitlines() if "| " in line]
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

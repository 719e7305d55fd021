"""Figures are complete, readable and the same bytes when redrawn; tables hide no failure."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings

import pytest
from rich.console import Console
from stores import contender, evaluation, failed, timing, trial

from lotbench.report import style
from lotbench.report.breakdown import time_points, time_shares
from lotbench.report.pareto import points
from lotbench.report.plots import accuracy_vs_flops, draw, missing
from lotbench.report.tables import render
from lotbench.store import frame, write_row, write_timing

FIGURES = ("accuracy-vs-flops", "accuracy-vs-real", "keep-ratio", "real-vs-flops", "time-shares")


def fill(folder, timed=True):
    for seed in (0, 1):
        curve = [
            evaluation(0.89 + seed / 100, 2.0, {"threshold": 0.3}),
            evaluation(0.85, 4.0, {"threshold": 0.7}),
        ]
        write_row(folder, trial(f"l{seed}", "lot", curve, seed=seed))
    write_row(folder, trial("d", "dense", [evaluation(0.90, 1.0)]))
    write_row(folder, trial("m", "mine", [evaluation(0.80, 3.0)], params={"note": "[red]"}))
    write_row(folder, failed("toy-ltp-s0-bad"))
    if timed:
        rows = [
            contender("dense", 1.0, "d"),
            contender("mine", 1.02, "m", flagged=True),
            contender("lot", 1.8, "l0", budget={"threshold": 0.3}),
            contender("lot", 3.1, "l0", budget={"threshold": 0.7}, flagged=True, noisy=True),
        ]
        write_timing(folder, timing("p1", "2025", rows))
        write_timing(folder, timing("p2", "2025", rows, batch_size=1))
    return folder


def test_every_figure_twice_the_same_bytes(tmp_path):
    files = draw(fill(tmp_path))
    names = {f"toy-{name}{suffix}" for name in FIGURES for suffix in (".png", ".svg")}
    assert {path.name for path in files} == names
    assert {path.parent for path in files} == {tmp_path / "figures"}
    first = {path: path.read_bytes() for path in files}
    for path in files:
        path.unlink()
    # Another process, so that neither memory addresses nor hash seeds can agree by chance.
    code = f"from lotbench.report.plots import draw; draw({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {path: path.read_bytes() for path in files} == first
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in files if path.suffix == ".png")


@pytest.mark.filterwarnings("ignore:.*no timings")
def test_the_users_matplotlib_settings_change_nothing_and_stay(tmp_path):
    import matplotlib

    before = {path: path.read_bytes() for path in draw(fill(tmp_path, timed=False))}
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "yellow"}):
        after = {path: path.read_bytes() for path in draw(tmp_path)}
        assert matplotlib.rcParams["font.size"] == 20
    assert before == after


def test_without_timings_the_missing_figures_are_named(tmp_path):
    with pytest.warns(UserWarning, match=r"toy-accuracy-vs-real .* not drawn, no timings"):
        files = draw(fill(tmp_path, timed=False))
    assert {path.stem for path in files} == {"toy-accuracy-vs-flops", "toy-keep-ratio"}


def test_failures_alone_draw_nothing_and_say_so(tmp_path):
    write_row(tmp_path, failed("bad"))
    with pytest.warns(UserWarning, match="toy: no figures"):
        assert draw(tmp_path) == []
    (tmp_path / "trials" / "bad.json").unlink()
    assert missing(frame(tmp_path)) == ["no figures, the store has no trials"]


def test_scores_and_speedups_may_be_missing(tmp_path):
    fill(tmp_path)
    write_row(tmp_path, trial("n", "ltp", [evaluation(None, 2.0)]))
    write_row(tmp_path, trial("o", "ltp", [{"budget": {}, "split": "validation", "metrics": {}}]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(draw(tmp_path)) == 10
    render(tmp_path)


def test_what_the_flops_figure_shows(tmp_path):
    table = frame(fill(tmp_path))
    with style.drawing():
        figure = accuracy_vs_flops(points(table), table)
        axes = figure.axes[0]
        assert axes.get_ylabel() == "Accuracy (%)"
        assert {text.get_text() for text in axes.texts} == {"dense 90.0%", "\N{MINUS SIGN}1 point"}
        heights = {line.get_ydata()[0] for line in axes.lines if list(line.get_xdata()) == [0, 1]}
        assert sorted(heights) == pytest.approx([89.0, 90.0])
        # lot's front: the means of 89 and 90 at 2x, 85 at 4x.
        thick = [line for line in axes.lines if line.get_linewidth() == 1.6]
        fronts = [list(zip(*line.get_data(), strict=True)) for line in thick]
        assert [pytest.approx((2.0, 89.5)), pytest.approx((4.0, 85.0))] in fronts
        legend = [text.get_text() for text in figure.legends[0].texts]
        assert legend == ["lot", "dense", "mine"]
        caption = figure.get_supxlabel()
        assert "Abacus 9000, 1 thread, fp32" in caption
        assert "mean of 1 to 2 seeds" in caption
        assert "1 failed trial not shown" in caption


def test_what_the_figure_of_time_shows(tmp_path):
    table = frame(fill(tmp_path))
    rows = points(table)
    chosen = time_points(rows)
    assert list(chosen["method"]) == ["dense", "lot", "lot", "mine"]
    with style.drawing():
        figure = time_shares(rows, "Timed on Abacus 9000")
        one, many = figure.axes
        assert many.get_title() == "CPU, 1 thread, batch 32, fp32"
        # lot at 1.8x: 26% of its time is attention, 50% the feed-forward after it.
        attention, forward = many.containers[0][1], many.containers[1][1]
        assert attention.get_width() == pytest.approx(100 / 1.8 * 0.26)
        assert forward.get_x() == pytest.approx(attention.get_width())
        assert forward.get_width() == pytest.approx(100 / 1.8 * 0.5)
        (marks,) = many.lines
        assert list(marks.get_xdata()) == pytest.approx([100, 50, 25, 100 / 3])
        labels = [label.get_text() for label in one.get_yticklabels()]
        assert labels[1] == "lot  2.0\N{MULTIPLICATION SIGN}  89.5%"
        older = [name for name in rows if name.endswith("share.received_attention")]
        before = time_shares(rows.drop(columns=older), "Timed on Abacus 9000")
        assert "have it within attention" in before.get_supxlabel()
        assert "have it within attention" not in figure.get_supxlabel()


def test_timings_from_before_shares_draw_the_other_figures(tmp_path):
    fill(tmp_path, timed=False)
    old = contender("lot", 1.8, "l0", budget={"threshold": 0.3})
    for name in ("time_shares", "noisy"):
        old.pop(name)
    write_timing(tmp_path, timing("p1", "2025", [old]))
    with pytest.warns(UserWarning, match="toy-time-shares: not drawn, no timings with shares"):
        files = draw(tmp_path)
    assert {path.stem for path in files} == {f"toy-{name}" for name in FIGURES[:-1]}
    render(tmp_path)
    # Timed again in one setting: that one is drawn, without the models it leaves out.
    rows = [contender("lot", 1.8, "l0", budget={"threshold": 0.3})]
    write_timing(tmp_path, timing("p2", "2026", rows, batch_size=1))
    chosen = time_points(points(frame(tmp_path)))
    assert list(chosen["budget"]) == ["threshold=0.3"]
    assert len(draw(tmp_path)) == 10


def test_a_correlation_is_not_in_percent(tmp_path):
    row = trial("a", "lot", [evaluation(None, 2.0, metrics={"pearson": 0.85})], metric="pearson")
    write_row(tmp_path, row | {"teacher": {"metrics": {"validation": {"pearson": 0.88}}}})
    table = frame(tmp_path)
    with style.drawing():
        axes = accuracy_vs_flops(points(table), table).axes[0]
        assert axes.get_ylabel() == "Pearson correlation"
        assert "dense 0.880" in {text.get_text() for text in axes.texts}


def test_styles_are_fixed_and_told_apart():
    assert style.styles(["lot"])["lot"] == ("#D55E00", "o")
    many = style.styles([*style.KNOWN, *(f"plugin-{number}" for number in range(20))])
    assert len(set(many.values())) == len(many)
    alone = style.styles(["plugin-3"])["plugin-3"]
    assert style.styles(["lot", "plugin-3", "ltp"])["plugin-3"] == alone
    assert style.order(["mine", "dense", "lot", "a"]) == ["lot", "dense", "a", "mine"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.9, 12, [1, 1.5, 2, 3, 5, 7, 10]),
        (0.9, 60, [1, 2, 5, 10, 20, 50]),
        (0.97, 1.35, [1, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.35]),
    ],
)
def test_ticks_are_few_and_plain(low, high, expected):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    style.log_speedup(axes.xaxis, low, high)
    assert list(axes.get_xticks()) == expected
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"{t:g}" for t in expected]
    assert len(axes.get_xticks(minor=True)) == 0


def test_setting_in_words():
    assert style.pretty_setting("cpu-1t-b32-fp32") == "CPU, 1 thread, batch 32, fp32"
    assert style.pretty_setting("cuda:0-2t-b1-bf16") == "CUDA:0, 2 threads, batch 1, bf16"


def test_the_tables_show_scores_intervals_and_failures(tmp_path):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render(fill(tmp_path)))
    text = console.export_text()
    (lot,) = [line for line in text.splitlines() if "threshold=0.3" in line]
    told = "lot * threshold=0.3 2, 1 timed 89.5% -0.5 75% 2.00"
    assert " ".join(lot.split()).startswith(told)
    assert "1.80 ±0.10" in lot
    assert "~1.02 ±0.10" in text
    assert "!3.10 ±0.10" in text
    caption = " ".join(text.split())
    assert (
        "dense against itself differs by 1.0% (cpu-1t-b1-fp32), 1.0% (cpu-1t-b32-fp32)" in caption
    )
    assert "toy-ltp-s0-bad  NonFiniteLoss: task loss is nan (step 37)" in text
    (safe,) = [line for line in text.splitlines() if "FLOPs" in line and "lot" in line]
    # 89.5 at 2x is within half a point of 90.0; 85 at 4x is not within 2.
    assert safe.split()[3:6] == ["2.00", "2.00", "2.00"]


def test_a_collapsed_model_does_not_press_the_others_together(tmp_path):
    write_row(fill(tmp_path, timed=False), trial("z", "collapsed", [evaluation(0.30, 6.0)]))
    table = frame(tmp_path)
    figure = accuracy_vs_flops(points(table), table)
    assert figure.axes[0].get_ylim()[0] == pytest.approx(70)  # 20 points below dense, 90
    assert "more than 20 points below dense" in " ".join(t.get_text() for t in figure.texts)

"""Figures are complete and readable, and drawing again gives the same bytes."""

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from stores import contender, evaluation, failed, fill, fill_predicted, timing, trial, write

from lotbench.report import readme
from lotbench.report.figures import base, hero, speed, style, time_shares
from lotbench.report.figures.draw import FIGURES, draw, missing
from lotbench.report.figures.front import Front, axis_depth, flops_figure, over_flops, real_figure
from lotbench.statistics.bootstrap import Estimate
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import Where

# The store that `fill` makes has one setting of each method, no scores on selection, no search.
DRAWN = [name for name in FIGURES if name not in ("settings", "gain-vs-training", "search")]


@pytest.fixture
def only_laid_out(monkeypatch):
    """Figures are laid out but not written, which is faster and still shows layout warnings."""

    def lay_out(figure, path, formats):
        figure.draw_without_rendering()
        return [path.with_name(f"{path.name}.{form}") for form in formats]

    monkeypatch.setattr(style, "save", lay_out)


@pytest.mark.slow
def test_every_figure_twice_the_same_bytes(tmp_path):
    here, there = (fill(tmp_path / name, batch_sizes=[32]) for name in ("here", "there"))
    # Another process, so that neither memory addresses nor hash seeds can agree by chance.
    code = (
        "from lotbench.report.figures.draw import draw\n"
        "from lotbench.statistics.store_view import StoreView\n"
        f"draw(StoreView({str(there)!r}), ['png', 'svg', 'pdf'])"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as other:
        files = draw(StoreView(here), style.FORMATS)
    assert other.returncode == 0
    names = {f"toy-{name}.{form}" for name in DRAWN for form in style.FORMATS}
    assert {path.name for path in files} == names
    assert {path.parent for path in files} == {here / "figures"}
    again = {path.name: path.read_bytes() for path in (there / "figures").iterdir()}
    assert {path.name: path.read_bytes() for path in files} == again
    starts = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF-"}
    assert all(path.read_bytes().startswith(starts[path.suffix]) for path in files)
    contents = [path.read_bytes() for path in files]
    # Nor what a page tells of a model.
    assert not any(b"Date" in own or b"configuration" in own for own in contents)


@pytest.mark.slow
def test_the_users_matplotlib_settings_change_nothing_and_stay(tmp_path):
    import matplotlib

    before = {path: path.read_bytes() for path in draw(StoreView(fill(tmp_path, batch_sizes=[])))}
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "yellow"}):
        after = {path: path.read_bytes() for path in draw(StoreView(tmp_path))}
        assert matplotlib.rcParams["font.size"] == 20
    assert before == after


def test_without_timings_the_missing_figures_are_named(tmp_path, only_laid_out, caplog):
    files = draw(StoreView(fill(tmp_path, batch_sizes=[])))
    assert re.search(r"toy-score-vs-real, .* not drawn, no timings", caplog.text)
    assert {path.stem for path in files} == {"toy-score-vs-flops", "toy-keep-ratio"}


@pytest.mark.slow
def test_a_store_with_two_tasks_has_a_summary(tmp_path, only_laid_out):
    fill_predicted(tmp_path)
    assert "all-tasks" not in {path.stem for path in draw(StoreView(tmp_path))}
    study = StoreView(fill_predicted(tmp_path, "imdb"))
    files = draw(study)
    assert "all-tasks" in {path.stem for path in files}
    page = readme.page(study, files)
    assert (
        page.index("## All tasks") < page.index("(figures/all-tasks.png)") < page.index("## IMDB")
    )
    assert "Break-even" not in page


def test_failures_alone_draw_nothing_and_say_so(tmp_path, caplog):
    write(tmp_path, failed("bad"))
    assert draw(StoreView(tmp_path)) == []
    assert "toy: no figures" in caplog.text
    (tmp_path / "trials" / "bad.json").unlink()
    assert missing(StoreView(tmp_path)) == ["no figures, the store has no trials"]


@pytest.mark.slow
def test_scores_may_be_missing(tmp_path, only_laid_out):
    write(fill(tmp_path), trial("n", "ltp", [evaluation(None, 2.0)]))
    assert len(draw(StoreView(tmp_path))) == 5


def test_without_a_dense_score_nothing_is_drawn(tmp_path, caplog):
    write(tmp_path, trial("l", "lot", [evaluation(0.9, 2.0)], teacher=None))
    assert draw(StoreView(tmp_path)) == []
    assert "toy: no figures, neither dense nor the teacher" in caplog.text


def test_what_the_flops_figure_shows(tmp_path):
    with style.drawing():
        figure = flops_figure(StoreView(fill(tmp_path)), "toy")
        axes = figure.axes[0]
        assert figure.get_suptitle() == "TOY, BERT (2 layers), Abacus 9000, 1 thread"
        assert axes.get_ylabel() == "Accuracy against dense (points)"
        assert {own.get_text() for own in axes.texts} == {"dense 90.0%"}
        # lot's front, dense 90.0: the means of 89 and 90 at 2x, 85 at 4x.
        thick = [line for line in axes.lines if line.get_linewidth() == 1.6]
        fronts = [list(zip(*line.get_data(), strict=True)) for line in thick]
        assert [pytest.approx((2.0, -0.5)), pytest.approx((4.0, -5.0))] in fronts
        legend = [own.get_text() for own in figure.legends[0].texts]
        assert legend == ["LoT (ours)", "mine", "dense"]
        caption = " ".join(figure.get_supxlabel().split())
        assert "Trained in fp32" in caption
        assert "mean of 1 to 2 seeds" in caption
        assert "1 failed trial not shown" in caption
        assert "Not drawn" not in caption


def test_what_the_figure_of_time_shows(tmp_path):
    study = StoreView(fill(tmp_path))
    chosen = time_shares.chosen(study.validated("toy"))
    assert [own.method for own in chosen] == ["dense", "LoT (ours)", "LoT (ours)", "mine"]
    with style.drawing():
        figure = time_shares.figure(study, "toy")
        one, many = figure.axes
        assert figure.get_suptitle() == "TOY, BERT (2 layers), Abacus 9000, 1 thread"
        assert many.get_title() == "CPU, 1 thread, batch 32, torch-fp32"
        # lot at 1.8x: 26% of its time is attention, 50% the feed-forward after it.
        attention, forward = many.containers[0][1], many.containers[1][1]
        assert attention.get_width() == pytest.approx(100 / 1.8 * 0.26)
        assert forward.get_x() == pytest.approx(attention.get_width())
        assert forward.get_width() == pytest.approx(100 / 1.8 * 0.5)
        (marks,) = many.lines
        assert list(marks.get_xdata()) == pytest.approx([100, 50, 25, 100 / 3])
        labels = [label.get_text() for label in one.get_yticklabels()]
        assert labels[1] == "LoT (ours)  2.0\N{MULTIPLICATION SIGN}  89.5%"
        assert "have it within attention" not in figure.get_supxlabel()


def test_a_pass_may_lack_a_section_or_all_shares(tmp_path, only_laid_out, caplog):
    fill(tmp_path, batch_sizes=[])
    row = contender("lot", 1.8, "l0", budget={"threshold": 0.3})
    write(tmp_path, timing("p1", "2025", [row | {"time_shares": None}]))
    files = draw(StoreView(tmp_path))
    assert "toy-time-shares: not drawn, no timings with shares" in caplog.text
    assert {path.stem for path in files} == {
        f"toy-{name}" for name in DRAWN if name != "time-shares"
    }
    # Timed again in one setting: that one is drawn, without the models it leaves out.
    row["time_shares"].pop("received_attention")
    write(tmp_path, timing("p2", "2026", [row], batch_size=1))
    study = StoreView(tmp_path)
    (bars,) = time_shares.data(study.validated("toy"))
    assert [str(bar.model.at) for bar in bars.rows] == ["threshold=0.3"]
    figure = time_shares.figure(study, "toy")
    assert "have it within attention" in figure.get_supxlabel()


@pytest.mark.slow
def test_names_are_drawn_as_they_are(tmp_path):
    name = r"$\frac{1 $x$ \\"
    write(tmp_path, trial("d", "dense", [evaluation(0.90, 1.0)]))
    write(tmp_path, trial("m", name, [evaluation(0.89, 2.0), evaluation(0.7, 3.0, {"k": 1})]))
    draw(StoreView(tmp_path), ["svg"])
    svg = (tmp_path / "figures" / "toy-score-vs-flops.svg").read_text(encoding="utf-8")
    assert f"<!-- {name} -->" in svg


@pytest.fixture
def five(tmp_path):
    """A store with two methods besides dense and Leap-of-Thought."""
    curves = {
        "dense": {1.0: 900},
        "lot": {2.0: 900, 8.0: 880},
        "ltp": {2.0: 890, 4.0: 500},
        "first-k": {2.0: 895, 8.0: 870},
        "truncated": {2.0: 700},
    }
    for method, curve in curves.items():
        points = [
            evaluation(right / 1000, speed, {"k": speed}, split=split)
            for speed, right in curve.items()
            for split in ("selection", "validation")
        ]
        write(tmp_path, trial(method, method, points))
    return tmp_path


def test_the_hero_has_one_line_per_method_and_one_band(five):
    study = StoreView(five)
    lines = {line.method: line for line in hero.data(study, "toy")}
    # The better of the two controls alone.
    assert list(lines) == ["LoT (ours)", "LTP", "first-k"]
    assert lines["LoT (ours)"].speedups == [2.0, 8.0]
    assert lines["LoT (ours)"].gains == pytest.approx([0, -2])
    with style.drawing(hero.SETTINGS):
        figure = hero.figure(study, "toy")
    (axes,) = figure.axes
    labels = {own.get_text(): own.xy for own in axes.texts}
    assert labels["first-k"] == pytest.approx((8.0, -3.0))
    # LTP leaves the axis between 2x and 4x.
    assert 2 < labels["LTP"][0] < 4
    (band,) = axes.collections
    models = {(own.method, str(own.at)): own for own in study.validated("toy")}
    low, high = models["LoT (ours)", "k=8.0"].gain[1:]
    assert low < -2 < high
    assert {low, high} <= {y for path in band.get_paths() for _, y in path.vertices}


def test_the_hero_draws_a_bag_of_embeddings_as_a_level(five):
    rows = [
        evaluation(0.87, 500.0, split=split, keep_ratio=[0.0, 0.0])
        for split in ("selection", "validation")
    ]
    write(five, trial("truncated", "truncated", rows))
    study = StoreView(five)
    assert [line.method for line in hero.data(study, "toy")] == ["LoT (ours)", "LTP", "first-k"]
    with style.drawing(hero.SETTINGS):
        (axes,) = hero.figure(study, "toy").axes
    (label,) = (own for own in axes.texts if own.get_text() == "no layer")
    assert label.get_position()[1] == pytest.approx(-3)
    assert axes.get_xlim()[1] < 10


def test_the_hero_has_the_published_settings_beside_the_best(five):
    rows = [evaluation(0.8, 2.0, {"k": 2}, split=s) for s in ("selection", "validation")]
    look = {"label": "LoT (paper)", "role": "main", "order": 6, "published": True}
    write(five, trial("paper", "lot", rows, params={"preset": "paper"}, look=look))
    lines = [line.method for line in hero.data(StoreView(five), "toy")]
    assert lines == ["LoT (ours)", "LoT (paper)", "LTP", "first-k"]


def test_no_hero_of_two_methods(five):
    for name in ("ltp", "truncated"):
        (five / "trials" / f"{name}.json").unlink()
    assert hero.data(StoreView(five), "toy") == []


def test_a_correlation_is_not_in_percent(tmp_path):
    row = trial("a", "lot", [evaluation(None, 2.0, metrics={"pearson": 0.85})], metric="pearson")
    write(tmp_path, row | {"teacher": {"metrics": {"validation": {"pearson": 0.88}}}})
    with style.drawing():
        axes = flops_figure(StoreView(tmp_path), "toy").axes[0]
        assert axes.get_ylabel() == "Pearson correlation against teacher (hundredths)"
        assert "teacher 0.880" in {own.get_text() for own in axes.texts}


def test_the_axis_fits_most_reduced_models(tmp_path):
    # Below dense, 90.0: 0.4, 0.8, 1.2, 2.4 and 40 points.  The third quartile is 2.4: the axis may
    # reach twice that.  It ends with the interval at 2.4, rounded up to half a point.
    scores = (0.896, 0.892, 0.888, 0.876, 0.50)
    curve = [evaluation(score, 2.0 + n, {"k": n}) for n, score in enumerate(scores)]
    write(tmp_path, trial("d", "dense", [evaluation(0.90, 1.0)]))
    write(tmp_path, trial("l", "first-k", curve))
    figure = flops_figure(StoreView(tmp_path), "toy")
    axes = figure.axes[0]
    assert axes.get_ylim() == pytest.approx((-4 - 0.24, 0.24))
    marks = [y for line in axes.lines if line.get_marker() == "P" for y in line.get_ydata()]
    assert sorted(marks) == pytest.approx([-2.4, -1.2, -0.8, -0.4])
    assert "Not drawn, more than 4 below dense: 1 of first-k" in figure.get_supxlabel()


def test_intervals_and_open_ends_are_drawn(tmp_path):
    figure = flops_figure(StoreView(fill_predicted(tmp_path)), "toy")
    axes = figure.axes[0]
    # LTP at 2x and 4x, TR-BERT at 2x; dense against itself has no interval.
    upright = [
        segment
        for lines in axes.collections
        for segment in lines.get_segments()
        if segment[0][0] == segment[1][0] and segment[0][1] < segment[1][1]
    ]
    assert [segment[0][0] for segment in upright] == pytest.approx([2.0, 4.0, 2.0])
    assert all(low <= -0.5 <= high for (_, low), (_, high) in upright[:1])
    (arrow,) = [own for own in axes.texts if own.arrow_patch is not None]
    assert arrow.xy == pytest.approx((4.0, -1.0))
    caption = " ".join(figure.get_supxlabel().split())
    assert "bars: 95% intervals over texts and seeds" in caption
    assert "Arrow: no faster model of the method was scored" in caption


def test_of_many_methods_the_best_are_drawn_in_full(tmp_path):
    """Neither the legend nor a caption of three lines is in the way of another part."""
    splits = ("selection", "validation")
    write(tmp_path, trial("d", "dense", [evaluation(0.90, 1.0, split=own) for own in splits]))
    for number in range(16):
        scores = ((0.9 - number / 100, 2.0, {}), (0.2, 3.0, {"k": 1}))
        models = [evaluation(*score, split=own) for own in splits for score in scores]
        write(tmp_path, trial(f"m{number}", f"method {number}", models))
    with style.drawing():
        figure = flops_figure(StoreView(tmp_path), "toy")
        style.settle(figure)
        legend, caption = figure.legends[0].get_window_extent(), figure._supxlabel
        assert legend.y0 > caption.get_window_extent().y1
        assert legend.y1 < figure._suptitle.get_window_extent().y0
        assert figure.get_supxlabel().count("\n") < 3
        faint = {own.get_label() for own in figure.legends[0].legend_handles if own.get_alpha()}
    assert faint == {f"method {number}" for number in range(6, 16)}


def test_a_model_without_layers_does_not_stretch_the_clock(tmp_path):
    fill(tmp_path)
    write(tmp_path, trial("b", "truncated", [evaluation(0.85, 500.0)]))
    row = contender("truncated", 30.0, "b", flops_speedup=500.0)
    write(tmp_path, timing("far", "2026", [row]))
    figure = speed.figure(StoreView(tmp_path), "toy")
    assert all(axes.get_xlim()[1] < 10 for axes in figure.axes)
    assert "Not drawn, over 100 times as fast: truncated (-5)" in figure.get_supxlabel()
    assert real_figure(StoreView(tmp_path), "toy").axes[0].get_xlim()[1] < 10
    assert "truncated" not in {own.get_text() for own in figure.legends[0].texts}


def test_the_models_of_a_front_and_what_a_page_tells_of_them(tmp_path):
    own = over_flops(StoreView(fill_predicted(tmp_path)), "toy")
    found = {(each.model.method, each.x.value): each for each in own.shown}
    assert set(found) == {("LTP", 2.0), ("LTP", 4.0), ("TR-BERT", 2.0), ("dense", 1.0)}
    assert all(each.on_front and not each.hollow for each in own.shown)
    # No faster model of LTP was scored; TR-BERT says that it cannot reach 4x.
    assert own.open_ends == ["LTP"]
    fast = found["LTP", 4.0]
    assert fast.y.value == pytest.approx(-1.0)
    assert fast.y.low < -1 < fast.y.high
    tip = base.tip(fast.model)
    assert (tip[""], tip["configuration"]) == ("LTP", "target=4")
    assert tip["against the reference"] == "-1.0 (-3 to 0)"
    assert tip["FLOPs speed-up"] == "4.00\u00d7"


def test_models_within_noise_are_hollow_and_tips_have_the_clock(tmp_path):
    study = StoreView(fill(tmp_path))
    own = Front(study, "toy", study.validated("toy"), Where("cpu", 1, 1))
    hollow = {each.model.method: each.hollow for each in own.shown}
    assert hollow == {"LoT (ours)": True, "mine": True, "dense": False}
    (mine,) = [each for each in own.shown if each.model.method == "mine"]
    assert mine.x.value == 1.02
    tip = base.tip(mine.model)
    assert tip["CPU, 1 thread, batch 1"] == "1.0\u00d7 (0.9 to 1.1), in torch-fp32"


@pytest.mark.parametrize(
    ("below", "depth", "floor"),
    [
        # All near: no deeper than the deepest, in halves of a point.
        ([0.2, 0.3, 1.1], 1.5, 10),
        # All above dense.
        ([-3.0, -1.0], 0.5, 10),
        # Most within noise, one far away: at least 2 points.
        ([0.1, 0.1, 0.1, 0.1, 9.0], 2.0, 10),
        # Twice the third quartile, 2.0, would be 4; the last one before is at 2.7.
        ([1.0, 1.0, 2.0, 2.7, 9.0], 3.0, 10),
        # All far: at most as deep as areas are.
        ([20.0, 30.0], 10.0, 10),
        ([20.0, 24.2], 24.5, 30),
        ([34.0, 44.0], 30.0, 30),
    ],
)
def test_the_depth_of_the_axis(below, depth, floor):
    models = [SimpleNamespace(method="dense", gain=Estimate(0.0, -50.0, 50.0), floor=floor)]
    for drop in below:
        gain = Estimate(-drop, -drop, -drop)
        models.append(SimpleNamespace(method="lot", gain=gain, floor=floor))
    assert axis_depth(models) == depth


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.9, 12, [1, 1.5, 2, 3, 5, 7, 10]),
        (0.9, 60, [1, 2, 5, 10, 20, 50]),
        (0.02, 1.4, [0.02, 0.05, 0.1, 0.2, 0.5, 1]),
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

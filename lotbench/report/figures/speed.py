"""Real against FLOPs speed-up of the timed texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lotbench.report import text
from lotbench.report.figures import base, chart, style
from lotbench.report.figures.base import Shown
from lotbench.report.looks import GREY, PageMark, looks, order
from lotbench.report.tables.clock import real_speedups
from lotbench.statistics.scored import wheres
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import Where

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALONE = "the encoder alone"
ON_DIAGONAL = "On the diagonal, time falls as FLOPs do; below the dashed line, dense is faster"


def data(study: StoreView, task: str) -> dict[Where, list[Shown]]:
    """The models by timing setting: real (y) over FLOPs speed-up (x)."""
    found = {}
    for where in wheres(study.validated(task)):
        timed = [own for own in study.validated(task) if where in own.timed]
        x = {own: own.timed[where].flops for own in timed}
        found[where] = base.shown(timed, x.__getitem__, base.real(where), where)
    return found


def figure(study: StoreView, task: str) -> Figure | None:
    """The figure, one panel per timing setting; None without timings."""
    speeds, given = data(study, task), looks(study.methods(task))
    if not speeds:
        return None
    models = [own for own in study.validated(task) if own.timed]
    result, axes = base.panels(len(speeds), 2.9, 2.9)
    thin = {"color": GREY, "linewidth": 0.8}
    for panel, (where, shown) in zip(axes, speeds.items(), strict=True):
        panel.axline((1, 1), (2, 2), **thin, label="real = FLOPs")
        panel.axhline(1, **thin, linestyle=(0, (4, 2)), label="as fast as dense")
        for method in order(each.model.method for each in shown):
            ours = [each for each in shown if each.model.method == method]
            base.draw_intervals(panel, ours, given[method][0])
            base.draw_marks(panel, ours, given[method])
        if alone := _alone(shown, where):
            panel.plot(*zip(*alone, strict=True), ".", color=GREY, markersize=3, label=ALONE)
        panel.set_title(text.timing_setting(where))
        panel.set_xlabel("FLOPs speed-up (log scale)")
        panel.set_ylabel(base.real_axis(models, where))
    # The same limits on both axes, so that equality is the diagonal.
    both = [axis for panel in axes for axis in (panel.xaxis, panel.yaxis)]
    values = _values([each for own in speeds.values() for each in own])
    values += [y for where, own in speeds.items() for _, y in _alone(own, where)]
    style.speedup_limits(both, values)
    style.title(result, base.timed_title(study, task, wheres(models)))
    base.legend(result, models, given, lines=False)
    notes = [real_speedups(models, [*speeds]), *base.notes_on_models(models, study.runs_on(task))]
    style.caption(result, ["; ".join(notes)])
    return result


def _alone(shown: list[Shown], where: Where) -> list[tuple[float, float]]:
    """FLOPs speed-up and that of the encoder alone, of models whose calls were timed, too."""
    timed = [own.model.timed[where] for own in shown]
    return [(own.flops.value, own.encoder.value) for own in timed if own.call and own.encoder]


def page_charts(study: StoreView, task: str, marks: list[PageMark]) -> list[chart.Chart]:
    """The charts of a page, one per timing setting."""
    charts = []
    for where, shown in data(study, task).items():
        name, (low, high) = text.timing_setting(where), style.speedup_range(_values(shown))
        diagonal = [{"x": low, "y": low}, {"x": high, "y": high}]
        spec = chart.spec(
            f"Real speed-up over FLOPs speed-up, {name}. {chart.counted(shown)}",
            chart.values(shown, study.references[task]),
            chart.log_axis(low, high, "FLOPs speed-up (log scale)"),
            chart.log_axis(low, high, base.real_axis([each.model for each in shown], where)),
            marks,
            [
                chart.level(1, strokeDash=[4, 3]),
                {
                    "data": {"values": diagonal},
                    "mark": chart.GUIDE | {"type": "line"},
                    "encoding": chart.PLAIN,
                },
                chart.interval("y", "true"),
                chart.interval("x", "true"),
                chart.symbols([mark.method for mark in marks], "true", chart.LARGE, 1),
            ],
        )
        charts.append(chart.Chart(name, [ON_DIAGONAL], spec))
    return charts


def _values(shown: list[Shown]) -> list[float]:
    return base.ends(value for each in shown for value in (each.x, each.y))

"""Score against speed-up, with the front of every method: over FLOPs, and over real speed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from lotbench.report import text
from lotbench.report.figures import base, chart, style
from lotbench.report.figures.base import Shown
from lotbench.report.looks import GREY, PageMark, looks, order
from lotbench.report.tables.clock import real_speedups
from lotbench.statistics.reference import Reference
from lotbench.statistics.scored import DENSE_METHODS, Scored, wheres
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import Where

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Looks = dict[str, tuple[str, str]]

# The axis ends at least this many points below the reference, if a model lies below the axis:
# smaller differences are mostly noise.
SHALLOWEST = 2.0
# Faster models are named, not drawn: a bag of embeddings would leave no room for the others.
FASTEST = 100.0
# Space between the vertical bars of two methods, in points of type.
BAR = 1.2
# The same on a page, as a share of the axis.
PAGE_BAR = 0.0016
# Share of an axis that is left free at its ends.
MARGIN = 0.06
# Length of the arrow of an open end, in points of type.
ARROW = 16


class Front:
    """Scores over one kind of speed-up; the axis has room for all models up to `FASTEST`."""

    def __init__(
        self, study: StoreView, task: str, models: list[Scored], where: Where | None = None
    ) -> None:
        """``where`` is the timing setting of the speed-ups; None for FLOPs."""
        x = base.real(where) if where else attrgetter("flops")
        self.where, self.reference = where, study.references[task]
        self.beyond = [each for each in models if x(each).value > FASTEST]
        """Models that are faster than the axis goes."""
        self.models = [each for each in models if each not in self.beyond] or models
        """All models that the chart is about; those without a coordinate are not in ``shown``."""
        self.metric = self.models[0].metric
        self.shown = base.shown(self.models, x, attrgetter("gain"), where)
        self.depth = axis_depth(self.models)
        """Where the axis ends, in points below the reference."""
        self.inside = [own for own in self.shown if own.y.value >= -self.depth]
        """The models above the lower end of the axis."""
        gains = [(own.gain.value, own.gain.high) for own in self.models]
        high = float(np.nanmax([(0.0, 0.0), *gains]))
        margin = MARGIN * (high + self.depth)
        self.limits = -self.depth - margin, high + margin
        """The limits of the axis of gains, with room for all models and their intervals."""
        found, gone = study.evidence[task], {each.method for each in self.beyond}
        ends = () if where else filter(found.is_open, found.curves)
        self.open_ends = [method for method in ends if method not in gone]
        """The methods of which no faster model than the fastest one was scored."""


def over_flops(study: StoreView, task: str) -> Front:
    """Scores over FLOPs speed-ups.

    Without dense-packed: it saves no FLOPs, so its mark would hide that of dense.
    """
    return Front(study, task, [m for m in study.validated(task) if m.method != "dense-packed"])


def flops_figure(study: StoreView, task: str) -> Figure:
    """The figure over FLOPs; the front of a method with an open end ends in an arrow."""
    own, given = over_flops(study, task), looks(study.methods(task))
    figure, (axes,) = base.panels(1, 4.2, 3.1)
    _draw(axes, own, given, label_line=True)
    arrows = _draw_open_ends(axes, own, given)
    axes.set_xlabel("FLOPs speed-up over dense (log scale)")
    style.speedup_limits([axes.xaxis], base.ends(each.x for each in own.inside))
    runs = study.runs_on(task)
    formats = {run.trial.training.precision for run in runs if run.trial.training}
    precision = text.listed(sorted(each for each in formats if each))
    notes = [f"Trained in {precision}"] if precision else []
    if arrows:
        notes.append("arrow: no faster model of the method was scored")
    style.title(figure, text.title(runs, text.trained_on(runs)))
    _finish(figure, study, task, own, notes)
    return figure


def real_figure(study: StoreView, task: str) -> Figure | None:
    """The figure over real speed-ups, one panel per timing setting; None without timings."""
    models, given = [m for m in study.validated(task) if m.timed], looks(study.methods(task))
    if not models:
        return None
    fronts = {where: Front(study, task, models, where) for where in wheres(models)}
    figure, axes = base.panels(len(fronts), 3.1, 2.7)
    for index, (panel, where) in enumerate(zip(axes, fronts, strict=True)):
        last = (index + 1) % base.columns_of(len(fronts)) == 0 or index == len(fronts) - 1
        _draw(panel, fronts[where], given, label_line=last)
        panel.set_title(text.timing_setting(where))
        panel.set_xlabel(base.real_axis(models, where))
    values = base.ends(each.x for own in fronts.values() for each in own.inside)
    style.speedup_limits([panel.xaxis for panel in axes], values)
    style.title(figure, base.timed_title(study, task, wheres(models)))
    _finish(figure, study, task, next(iter(fronts.values())), [real_speedups(models, [*fronts])])
    return figure


def page_charts(study: StoreView, task: str, marks: list[PageMark]) -> list[chart.Chart]:
    """The charts of a page: over FLOPs, and over real speed-ups in each timing setting."""
    own = over_flops(study, task)
    notes = [*not_drawn(own), *base.notes_on_models(own.models, study.runs_on(task))]
    notes += ["an arrow: no faster model of the method was scored"] * bool(own.open_ends)
    notes.append(f"lines: {_intervals(study, task)}")
    charts = [chart.Chart("Score and FLOPs saved", notes, _spec(own, marks))]
    for where in wheres(study.validated(task)):
        timed = [each for each in study.validated(task) if where in each.timed]
        own = Front(study, task, timed, where)
        title = f"Score and real speed: {text.timing_setting(where)}"
        notes = [*not_drawn(own), real_speedups(timed, [where])]
        charts.append(chart.Chart(title, notes, _spec(own, marks)))
    return charts


def _spec(own: Front, marks: list[PageMark]) -> chart.Spec:
    seen, methods = own.inside, [mark.method for mark in marks]
    title = gain_title(own.metric, own.reference)
    low, high = style.speedup_range(base.ends(each.x for each in seen))
    drawn = order(each.model.method for each in own.shown)
    values = chart.values(own.shown, own.reference)
    last = {each.model.method: place for place, each in enumerate(own.shown)}
    for place, (value, each) in enumerate(zip(values, own.shown, strict=True)):
        method = each.model.method
        value["open"] = method in own.open_ends and place == last[method]
        value["shown"] = each.y.value >= -own.depth
        shift = PAGE_BAR * (drawn.index(method) - (len(drawn) - 1) / 2)
        value["bar"] = chart.rounded(value["x"] * (high / low) ** shift)
    where = own.where and text.timing_setting(own.where)
    label = base.real_axis(own.models, own.where) if own.where else "FLOPs speed-up (log scale)"
    against = f"real speed-up on {where}" if where else "FLOPs speed-up"
    axis = {
        "title": title,
        "scale": {"domain": list(own.limits), "nice": False},
        "axis": {"labelExpr": chart.SIGNED, "tickCount": 6},
    }
    return chart.spec(
        f"{title} over {against}. {chart.counted(seen)}",
        values,
        chart.log_axis(low, high, label),
        axis,
        marks,
        [
            chart.level(0),
            chart.name(text.reference(own.reference, own.metric), 0),
            chart.line("setting", "datum.curve", 1, 0.3),
            chart.line("method", "datum.front", 2, 1),
            chart.interval("y", "datum.front && datum.shown", {"x": {"field": "bar"}}),
            chart.interval("x", "datum.front && datum.shown"),
            chart.arrows(),
            chart.symbols(methods, "datum.shown && !datum.front", chart.SMALL, 0.45),
            chart.symbols(methods, "datum.shown && datum.front", chart.LARGE, 1),
        ],
    )


def gain_title(metric: str, reference: Reference) -> str:
    """The label of an axis of gains."""
    return f"{text.metric(metric)} against {reference.name} ({text.unit(metric)})"


def axis_depth(models: Iterable[Scored]) -> float:
    """The lower end of the axis in points below the reference, a multiple of 0.5.

    It is at most where areas are counted from (`Trial.floor`), and at most twice the depth within
    which three quarters of the reduced models lie, so that these fill the axis.  It is no deeper
    than the lowest model within these limits.
    """
    models = list(models)
    gains = [own.gain for own in models if own.method not in DENSE_METHODS]
    gains = [each for each in gains if math.isfinite(each.value)]
    if not gains:
        return SHALLOWEST
    limit = max(SHALLOWEST, 2 * float(np.quantile([-each.value for each in gains], 0.75)))
    depth = _up_to_half(min(models[0].floor, limit))
    inside = [each for each in gains if each.value >= -depth]
    if not inside:
        return depth
    least = 0.5 if len(inside) == len(gains) else SHALLOWEST
    lowest = float(np.nanmin([each[:2] for each in inside]))
    return min(depth, _up_to_half(max(-lowest, least)))


def not_drawn(own: Front) -> list[str]:
    """Notes for the caption: how many models of each method are below the axis, or beyond it."""
    hidden = [each.method for each in own.models if each.gain.value < -own.depth]
    counts = [f"{hidden.count(method)} of {method}" for method in order(hidden)]
    below = f"Not drawn, more than {own.depth:g} below {own.reference.name}"
    notes = [f"{below}: {', '.join(counts)}"] if counts else []
    far = [f"{each.method} {each.name} ({each.gain.value:+.0f})" for each in own.beyond]
    beyond = f"Not drawn, over {FASTEST:g} times as fast"
    return notes + ([f"{beyond}: {', '.join(far)}"] if far else [])


def _up_to_half(points: float) -> float:
    return math.ceil(2 * points) / 2


def _draw(axes: Axes, own: Front, given: Looks, label_line: bool) -> None:
    """Draws one panel: models, fronts and the line of the reference."""
    methods = order(each.method for each in own.models)
    for place, method in enumerate(methods):
        ours = [each for each in own.shown if each.model.method == method]
        colour = given[method][0]
        by_setting = sorted(ours, key=lambda each: each.model.setting)
        for _, curve in groupby(by_setting, lambda each: each.model.setting):
            # One trained model at several budgets.
            _line(axes, list(curve), colour, linewidth=0.6, alpha=0.6)
        # The line also goes to models below the axis.
        best = [each for each in ours if each.on_front]
        _line(axes, best, colour, linewidth=1.6, zorder=3)
        base.draw_intervals(axes, best, colour, BAR * (place - (len(methods) - 1) / 2))
        inside = [each for each in ours if each.y.value >= -own.depth]
        others = [each for each in inside if not each.on_front]
        base.draw_marks(axes, others, given[method], faint=True)
        base.draw_marks(axes, [each for each in inside if each.on_front], given[method])
    axes.set_ylabel(gain_title(own.metric, own.reference))
    style.points_axis(axes, *own.limits)
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    if label_line:
        axes.annotate(
            text.reference(own.reference, own.metric),
            (1, 0),
            xytext=(3, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color="#444444",
        )


def _line(axes: Axes, own: Sequence[Shown], colour: str, **shape: Any) -> None:
    axes.plot([each.x.value for each in own], [each.y.value for each in own], color=colour, **shape)


def _draw_open_ends(axes: Axes, own: Front, given: Looks) -> int:
    """Draws a dashed arrow to the right of each open end inside the axis; returns their number."""
    last = {each.model.method: each for each in own.shown}
    drawn = 0
    for method in order(own.open_ends):
        end = last[method]
        if end.y.value < -own.depth:
            continue
        shape = {"arrowstyle": "<-", "linestyle": (0, (2, 1.5)), "color": given[method][0]}
        # The arrow comes from the mark, and its end is at the (empty) text.
        place = {"xytext": (ARROW, 0), "textcoords": "offset points"}
        arrow = axes.annotate("", (end.x.value, end.y.value), **place, arrowprops=shape)
        arrow.set_in_layout(False)
        drawn += 1
    return drawn


def _intervals(study: StoreView, task: str) -> str:
    unit = text.unit_of(study.runs_on(task))
    return f"95% intervals over {unit} and seeds of models on a front"


def _finish(figure: Figure, study: StoreView, task: str, own: Front, notes: list[str]) -> None:
    """Adds legend and caption."""
    base.legend(figure, own.models, looks(study.methods(task)), lines=True)
    bars = f"vertical bars, side by side: {_intervals(study, task)}"
    notes = [*notes, bars, *base.notes_on_models(own.models, study.runs_on(task))]
    style.caption(figure, [*not_drawn(own), "; ".join(notes)])

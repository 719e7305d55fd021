"""Score against speed-up, with the front of every method: over FLOPs, and over real speed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from lotbench.report import text
from lotbench.report.figures import base, style
from lotbench.report.figures.base import Shown
from lotbench.report.looks import GREY, Style, looks, order
from lotbench.report.tables.clock import real_speedups
from lotbench.statistics.reference import Reference
from lotbench.statistics.scored import DENSE_METHODS, Scored, wheres
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import Where

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Looks = dict[str, Style]

# The axis ends at least this many points below the reference, if a model lies below the axis:
# smaller differences are mostly noise.
SHALLOWEST = 2.0
# Space between the vertical bars of two methods, in points of type.
BAR = 1.2
# Width of a single panel and its legend, in inches.
WIDE = 5.4
# Share of an axis that is left free at its ends.
MARGIN = 0.06
# Length of the arrow of an open end, in points of type.
ARROW = 16
# With more methods than `MOST` only those with the largest areas are drawn in full.
MOST, BEST = 8, 6


class Front:
    """Scores over one kind of speed-up; the axis has room for all models up to `base.FASTEST`."""

    def __init__(
        self, study: StoreView, task: str, models: list[Scored], where: Where | None = None
    ) -> None:
        """``where`` is the timing setting of the speed-ups; None for FLOPs."""
        flops = attrgetter("flops")
        x = base.real(where) if where else flops
        self.reference = study.references[task]
        self.models, self.beyond, self.named = base.apart(models, x, flops)
        """All models that the chart is about, also those without a coordinate, which are not in
        ``shown``; those that are faster than the axis goes; and the latter's note."""
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
        areas = found.areas() if len(found.methods) > MOST else {}
        ranked = sorted(areas, key=lambda method: -areas[method].value.value)
        self.faint = set(ranked[BEST:])
        """The methods that recede: of many, those with the smaller areas."""


def over_flops(study: StoreView, task: str) -> Front:
    """Scores over FLOPs speed-ups.

    Without dense-packed: it saves no FLOPs, so its mark would hide that of dense.
    """
    return Front(study, task, [m for m in study.validated(task) if m.method != "dense-packed"])


def flops_figure(study: StoreView, task: str) -> Figure:
    """The figure over FLOPs; the front of a method with an open end ends in an arrow."""
    own, given = over_flops(study, task), looks(study.methods(task))
    figure, (axes,) = base.panels(1, WIDE, 3.1)
    _draw(axes, own, given, label_line=True)
    arrows = _draw_open_ends(axes, own, given)
    axes.set_xlabel("FLOPs speed-up over dense (log scale)")
    style.speedup_limits([axes.xaxis], base.ends(each.x for each in own.inside))
    runs = study.runs_on(task)
    formats = {run.trial.training.precision for run in runs if run.trial.training}
    precision = text.listed(sorted(each for each in formats if each))
    notes = ["arrow: no faster model of the method was scored"] if arrows else []
    notes += [f"trained in {precision}"] if precision else []
    style.title(figure, text.title(runs, text.trained_on(runs)))
    _finish(figure, study, task, own, notes)
    return figure


def real_figure(study: StoreView, task: str) -> Figure | None:
    """The figure over real speed-ups, one panel per timing setting; None without timings."""
    models, given = [m for m in study.validated(task) if m.timed], looks(study.methods(task))
    if not models:
        return None
    fronts = {where: Front(study, task, models, where) for where in wheres(models)}
    figure, axes = base.panels(len(fronts), 3.4 if len(fronts) > 1 else WIDE, 2.9)
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
    """For the caption: which models are below the axis, or beyond it."""
    hidden = [each.method for each in own.models if each.gain.value < -own.depth]
    counts = [f"{hidden.count(method)} of {method}" for method in order(hidden)]
    if len(counts) > 2:
        counts = [f"{text.count(len(hidden), 'model')} of {len(counts)} methods"]
    below = f"more than {own.depth:g} below {own.reference.name}: {', '.join(counts)}"
    return [below] * bool(counts) + own.named


def _up_to_half(points: float) -> float:
    return math.ceil(2 * points) / 2


def _draw(axes: Axes, own: Front, given: Looks, label_line: bool) -> None:
    """Draws one panel: models, fronts and the line of the reference."""
    methods = order(each.method for each in own.models)
    barred = [method for method in methods if method not in own.faint]
    for method in methods:
        ours = [each for each in own.shown if each.model.method == method]
        look, faint = given[method], method in own.faint
        # The line also goes to models below the axis.
        best = [each for each in ours if each.on_front]
        inside = [each for each in ours if each.y.value >= -own.depth]
        base.draw_marks(axes, [each for each in inside if each.on_front], look, faint)
        if faint:
            _line(
                axes, method, best, color=look.line, linestyle=look.dash, linewidth=0.8, alpha=0.4
            )
            continue
        by_setting = sorted(ours, key=lambda each: each.model.setting)
        for _, curve in groupby(by_setting, lambda each: each.model.setting):
            # One trained model at several budgets.
            _line(axes, method, list(curve), color=look.line, linewidth=0.6, alpha=0.6)
        _line(axes, method, best, color=look.line, linestyle=look.dash, linewidth=1.6, zorder=3)
        place = barred.index(method) - (len(barred) - 1) / 2
        base.draw_intervals(axes, best, look.line, BAR * place)
        base.draw_marks(axes, [each for each in inside if not each.on_front], look, faint=True)
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


def _line(axes: Axes, method: str, own: Sequence[Shown], **shape: Any) -> None:
    (line,) = axes.plot([each.x.value for each in own], [each.y.value for each in own], **shape)
    style.tag(line, method)


def _draw_open_ends(axes: Axes, own: Front, given: Looks) -> int:
    """Draws a dashed arrow to the right of each open end inside the axis; returns their number."""
    last = {each.model.method: each for each in own.shown}
    drawn = 0
    for method in order(set(own.open_ends) - own.faint):
        end = last[method]
        if end.y.value < -own.depth:
            continue
        shape = {"arrowstyle": "<-", "linestyle": (0, (2, 1.5)), "color": given[method].line}
        # The arrow comes from the mark, and its end is at the (empty) text.
        place = {"xytext": (ARROW, 0), "textcoords": "offset points"}
        arrow = axes.annotate("", (end.x.value, end.y.value), **place, arrowprops=shape)
        arrow.set_in_layout(False)
        assert arrow.arrow_patch is not None, "it has arrowprops"
        style.tag(arrow.arrow_patch, method)
        drawn += 1
    return drawn


def _finish(figure: Figure, study: StoreView, task: str, own: Front, notes: list[str]) -> None:
    """Adds legend and caption."""
    base.legend(figure, own.models, looks(study.methods(task)), True, own.faint)
    runs = study.runs_on(task)
    notes = [*notes, f"bars: 95% intervals over {text.unit_of(runs)} and seeds"]
    if own.faint:
        notes.append(f"thin: all but the {BEST} methods with the largest areas")
    style.caption(figure, [*notes, *base.notes_on_models(own.models, runs)], not_drawn(own))

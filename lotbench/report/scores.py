"""Figures of the score relative to the reference, over the FLOPs or the wall-clock speed-up."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING

from lotbench.report import style, words
from lotbench.report.looks import GREY, looks, order
from lotbench.report.panels import (
    Devices,
    columns_of,
    draw_intervals,
    draw_points,
    legend,
    note_on_timings,
    notes_on_points,
    panels,
    timed_on,
)
from lotbench.report.pareto import DENSE, front, settings_of
from lotbench.report.reference import Reference

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The axis ends at most this many points below the reference.
DEEPEST = 10.0
# And at least this many, if a point lies below the axis: smaller differences are mostly noise.
SHALLOWEST = 2.0


# Space between the vertical bars of two methods, in points of type.
BAR = 1.2
# Length of the arrow of an open end, in points of type.
ARROW = 16


def accuracy_vs_flops(
    rows: pd.DataFrame, trials: pd.DataFrame, reference: Reference, open_ends: Collection[str] = ()
) -> Figure:
    """Score over FLOPs speed-up, with the front of every method.

    The front of a method in ``open_ends`` ends in an arrow: no faster model was scored.
    """
    # Without dense-packed: it saves no FLOPs, so its point would hide the point of dense.
    rows = rows[rows["method"] != "dense-packed"]
    figure, (axes,) = panels(1, 4.2, 3.1)
    _draw_scores(axes, rows, "flops_speedup", trials, reference, label_lines=True)
    arrows = _draw_open_ends(axes, rows, trials, open_ends)
    axes.set_xlabel("FLOPs speed-up over dense (log scale)")
    style.speedup_limits([axes.xaxis], _drawn(rows), ["flops_speedup"])
    precision = words.listed(words.distinct(trials["precision"]))
    trained = [f"Trained in {precision}"] if precision else []
    if arrows:
        trained.append("arrow: no faster model of the method was scored")
    _finish(figure, rows, trials, reference, words.trained_on(trials), trained)
    return figure


def accuracy_vs_real(
    rows: pd.DataFrame, trials: pd.DataFrame, reference: Reference, devices: Devices
) -> Figure:
    """Score over wall-clock speed-up, one panel per timing setting."""
    settings = settings_of(rows)
    reals = [f"real.{label}" for label in settings]
    rows = rows[rows[reals].notna().any(axis=1)]
    figure, axes = panels(len(settings), 3.1, 2.7)
    for index, (panel, label) in enumerate(zip(axes, settings, strict=True)):
        last = (index + 1) % columns_of(len(settings)) == 0 or index == len(settings) - 1
        _draw_scores(panel, rows, f"real.{label}", trials, reference, label_lines=last)
        panel.set_title(words.timing_setting(label))
        panel.set_xlabel("Real speed-up (log scale)")
    style.speedup_limits([panel.xaxis for panel in axes], _drawn(rows), reals)
    machine = timed_on(rows, devices)
    _finish(figure, rows, trials, reference, machine, [note_on_timings(rows)])
    return figure


def gain_title(metric: str, reference: Reference) -> str:
    """The label of the axis of gains."""
    return f"{words.metric(metric)} against {reference.name} ({words.unit(metric)})"


def axis_depth(rows: pd.DataFrame) -> float:
    """The lower end of the axis in points below the reference, a multiple of 0.5.

    It is at most 10, and at most twice the depth within which three quarters of the reduced models
    lie, so that these fill the axis.  It is no deeper than the lowest model within these limits.
    """
    reduced = rows[~rows["method"].isin(DENSE)].dropna(subset=["gain"])
    if not len(reduced):
        return SHALLOWEST
    limit = max(SHALLOWEST, 2 * float((-reduced["gain"]).quantile(0.75)))
    depth = _up_to_half(min(DEEPEST, limit))
    shown = reduced[reduced["gain"] >= -depth]
    if not len(shown):
        return depth
    least = 0.5 if len(shown) == len(reduced) else SHALLOWEST
    lowest = float(shown[["gain", "gain.low"]].min().min())
    return min(depth, _up_to_half(max(-lowest, least)))


def _up_to_half(points: float) -> float:
    return math.ceil(2 * points) / 2


def _draw_scores(
    axes: Axes,
    rows: pd.DataFrame,
    speedup: str,
    trials: pd.DataFrame,
    reference: Reference,
    label_lines: bool,
) -> None:
    """Draws one panel of scores over a speed-up: points, fronts and the line of the reference."""
    given, depth = looks(trials["method"]), axis_depth(rows)
    methods = order(rows["method"])
    for place, method in enumerate(methods):
        own = rows[rows["method"] == method].dropna(subset=[speedup, "gain"]).sort_values(speedup)
        colour = given[method][0]
        for _, curve in own.groupby("setting"):
            # One trained model at several budgets.
            axes.plot(curve[speedup], curve["gain"], color=colour, linewidth=0.6, alpha=0.6)
        on_front = front(own[speedup], own["gain"])
        # The line also goes to points below the axis.
        best = own[on_front]
        axes.plot(best[speedup], best["gain"], color=colour, linewidth=1.6, zorder=3)
        shift = BAR * (place - (len(methods) - 1) / 2)
        draw_intervals(axes, best, speedup, "gain", colour, shift)
        inside = own["gain"] >= -depth
        draw_points(axes, own[inside & ~on_front], speedup, "gain", given[method], faint=True)
        draw_points(axes, own[inside & on_front], speedup, "gain", given[method])
    metric = rows["score_name"].iloc[0]
    axes.set_ylabel(gain_title(metric, reference))
    _zoom(axes, depth, rows[["gain", "gain.high"]].max().max())
    _draw_reference(axes, words.reference(reference, metric) if label_lines else None)


def _draw_open_ends(
    axes: Axes, rows: pd.DataFrame, trials: pd.DataFrame, open_ends: Collection[str]
) -> int:
    """Draws a dashed arrow to the right of each open end inside the axis; returns their number."""
    given, depth = looks(trials["method"]), axis_depth(rows)
    drawn = 0
    for method in order(open_ends):
        own = rows[rows["method"] == method].dropna(subset=["flops_speedup", "gain"])
        last = own.sort_values("flops_speedup").iloc[-1]
        if last["gain"] < -depth:
            continue
        shape = {"arrowstyle": "<-", "linestyle": (0, (2, 1.5)), "color": given[method][0]}
        start = (last["flops_speedup"], last["gain"])
        # The arrow comes from the point, and its end is at the (empty) text.
        place = {"xytext": (ARROW, 0), "textcoords": "offset points"}
        arrow = axes.annotate("", start, **place, arrowprops=shape)
        arrow.set_in_layout(False)
        drawn += 1
    return drawn


def _zoom(axes: Axes, depth: float, highest: float) -> None:
    """Ends the axis ``depth`` points below the reference and at the highest point."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    high = max(0.0, highest)
    margin = 0.06 * (high + depth)
    axes.set_ylim(-depth - margin, high + margin)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(_signed))


def _signed(value: float, _: int) -> str:
    return f"{value:+g}".replace("-", "\N{MINUS SIGN}") if round(value, 6) else "0"


def _draw_reference(axes: Axes, label: str | None) -> None:
    """Draws the line of the reference, with ``label``, if given, in the right margin."""
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    if label:
        place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        axes.annotate(
            label, (1, 0), xytext=(3, 0), va="center", fontsize=7, color="#444444", **place
        )


def _finish(
    figure: Figure,
    rows: pd.DataFrame,
    trials: pd.DataFrame,
    reference: Reference,
    machine: str,
    notes: list[str],
) -> None:
    """Adds title, legend and caption."""
    if rows["gain.low"].notna().any():
        points = "95% intervals over texts and seeds of points on a front"
        notes = [*notes, f"vertical bars, side by side: {points}"]
    style.title(figure, words.title(trials, machine))
    legend(figure, rows["method"], trials, lines=True)
    notes = [*notes, *notes_on_points(rows, trials)]
    style.caption(figure, [*not_drawn(rows, reference), "; ".join(notes)])


def _drawn(rows: pd.DataFrame) -> pd.DataFrame:
    """The points above the lower end of the axis."""
    return rows[rows["gain"] >= -axis_depth(rows)]


def not_drawn(rows: pd.DataFrame, reference: Reference) -> list[str]:
    """Note for the caption, if there is one: how many points of each method lie below the axis."""
    depth = axis_depth(rows)
    hidden = rows[rows["gain"] < -depth]
    counts = [f"{(hidden['method'] == m).sum()} of {m}" for m in order(hidden["method"])]
    below = f"Not drawn, more than {depth:g} below {reference.name}"
    return [f"{below}: {', '.join(counts)}"] if counts else []

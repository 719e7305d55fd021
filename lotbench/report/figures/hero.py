"""The figure of a front page: five methods, and the interval of the main one as a band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lotbench.report import text
from lotbench.report.figures import style
from lotbench.report.figures.front import axis_depth, gain_title
from lotbench.report.looks import GREY, Style, look_of, looks, order
from lotbench.report.tables.clock import TIMED_DROP
from lotbench.statistics.scored import Scored, on_front
from lotbench.statistics.store_view import StoreView

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

# Large, since a README shows the figure at half its width.
SETTINGS: dict[RcKeyType, Any] = {
    "font.size": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "figure.titlesize": 13,
}
MOST_BASELINES, LEAST_METHODS = 3, 3
# Between a line and its label, in points of type.
GAP = 7
# Least distance of labels at the right end, as a share of the axis.
STEP = 0.09


class Line:
    """The front of a method; speed-ups grow along it and scores fall."""

    def __init__(self, method: str, models: list[Scored]) -> None:
        self.method, self.models = method, models
        self.speedups = [own.flops.value for own in models]
        """FLOPs speed-ups."""
        self.gains = [own.gain.value for own in models]
        """Points above the reference."""

    def speedup_at(self, gain: float) -> float:
        """Where the line falls to a gain; its end if it does not."""
        falling = [-each for each in self.gains]
        return float(np.exp(np.interp(-gain, falling, np.log(self.speedups))))


def data(study: StoreView, task: str) -> list[Line]:
    """The lines of the methods with the largest areas: a main one, three others and a control.

    Beside the main one is the one of the published settings, if there is another.  Empty if the
    task has no main method, or fewer than two of the others.
    """
    areas = study.evidence[task].areas() if task in study.evidence else {}
    models = [own for own in study.validated(task) if not own.is_bag]
    drawn = {own.method for own in models}

    def best(role: str, count: int = 1) -> list[str]:
        there = [name for name in order(areas) if look_of(name).role == role and name in drawn]
        chosen = sorted(there, key=lambda name: areas[name].value.value)[-count:]
        return [name for name in there if name in chosen]

    main = best("main")
    others = best("method", MOST_BASELINES) + best("control")
    if not main or len(others) < LEAST_METHODS - 1:
        return []
    published = [name for name in order(drawn) if look_of(name).published and name not in main]
    chosen = main + published[:1] + others
    return [Line(method, on_front(models, method)) for method in chosen]


def figure(study: StoreView, task: str) -> Figure | None:
    """The figure; None if the task has too few of the methods."""
    lines = data(study, task)
    if not lines:
        return None
    first, given = lines[0], looks(line.method for line in lines)
    models = [own for line in lines for own in line.models]
    result = style.figure(7, 4.2)
    axes = result.subplots()
    low, high = ([own.gain[side] for own in first.models] for side in (1, 2))
    colour = given[first.method].line
    axes.fill_between(first.speedups, low, high, color=colour, alpha=0.16, linewidth=0)
    axes.axhline(0, color=GREY, linewidth=1)
    if (bag := study.evidence[task].bag) is not None:
        axes.axhline(bag.gain.value, color=GREY, linewidth=1, linestyle=":")
        axes.text(1.03, bag.gain.value, "no layer", va="top", fontsize=11, color="#444444")
    for line in reversed(lines):
        shape = {"linewidth": 3.2 if line is first else 2.0, "marker": "o", "markersize": 4.5}
        axes.plot(line.speedups, line.gains, color=given[line.method].line, **shape)
    choices = study.evidence[task].choices(TIMED_DROP)
    for line in lines:
        if model := choices[line.method].model:
            ring = {"marker": "o", "markersize": 9, "markerfacecolor": "white", "zorder": 5}
            place = model.flops.value, model.gain.value
            axes.plot(*place, color=given[line.method].line, markeredgewidth=2, **ring)
    depth = axis_depth(models)
    ends = [line.speedup_at(-depth) for line in lines]
    style.log_speedup(axes.xaxis, 1, 1.05 * max(ends))
    style.points_axis(axes, -depth, max(*high, *(own.gain.value for own in models)))
    _label(axes, lines, given)
    metric, reference = models[0].metric, study.references[task]
    axes.set_xlabel("FLOPs speed-up over dense (log scale)")
    axes.set_ylabel(gain_title(metric, reference))
    place = {"xytext": (-4, 3), "textcoords": "offset points", "ha": "right"}
    words = text.reference(reference, metric)
    axes.annotate(words, (axes.get_xlim()[1], 0), **place, fontsize=11, color="#444444")
    runs = study.runs_on(task)
    result.suptitle(f"{text.task_name(task, runs)}, {text.backbones(runs)}", x=0.01, ha="left")
    note = f"Band: 95% interval of {first.method}; {text.seeds(models)}"
    if any(choices[line.method].model for line in lines):
        note = f"Ring: the fastest within {TIMED_DROP:g} point on selection\n{note}"
    result.supxlabel(note, x=0.01, ha="left", fontsize=10, color="#555555")
    return result


def _label(axes: Axes, lines: Sequence[Line], given: dict[str, Style]) -> None:
    """Writes the name of each method at the end of its line, or where the line leaves the axis."""
    from matplotlib.patheffects import withStroke

    def write(line: Line, x: float, y: float, right: bool, above: bool) -> None:
        """Writes a name next to a point."""
        axes.annotate(
            line.method.replace(", ", ",\n"),
            (x, y),
            xytext=(GAP if right else -GAP, GAP * above),
            textcoords="offset points",
            ha="left" if right else "right",
            va="bottom" if above else "center",
            path_effects=[withStroke(linewidth=3, foreground="white")],
            color=given[line.method].line,
            weight="bold" if line is lines[0] else "normal",
        )

    bottom, top = axes.get_ylim()
    step = STEP * (top - bottom)
    stay = sorted((own for own in lines if own.gains[-1] >= bottom), key=lambda own: -own.gains[-1])
    lowest = top
    for line in stay:
        lowest = min(line.gains[-1], lowest - step)
        write(line, line.speedups[-1], lowest, right=True, above=False)
    # Labels of lines that leave the axis are on the side with more room, one above the other.
    leave = sorted((own for own in lines if own not in stay), key=lambda o: o.speedup_at(bottom))
    places = [1.0, *(own.speedup_at(bottom) for own in leave), axes.get_xlim()[1]]
    gaps = np.diff(np.log(places))
    left = [own for own, gap, after in zip(leave, gaps, gaps[1:], strict=False) if gap > after]
    right = [own for own in reversed(leave) if own not in left]
    for is_right, group in ((False, left), (True, right)):
        for place, line in enumerate(group):
            height = bottom + place * step
            write(line, line.speedup_at(height), height, is_right, above=True)

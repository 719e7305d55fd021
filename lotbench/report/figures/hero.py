"""The figure of a README: five methods, and the interval of Leap-of-Thought as a band."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lotbench.report import text
from lotbench.report.figures import style
from lotbench.report.figures.front import axis_depth, gain_title
from lotbench.report.looks import CONTROLS, GREY, LEAPS, looks
from lotbench.statistics.scored import Scored, on_front
from lotbench.statistics.study import Study

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
LEAP = "LoT (ours, one decision)"
BASELINES = ("PoWER-BERT", "LTP", "TR-BERT")
LEAST_METHODS = 3
# Between a line and its label, in points of type.
GAP = 7
# Least distance of labels at the right end, as a share of the axis.
STEP = 0.09


@dataclass(frozen=True)
class Line:
    """The front of a method; speed-ups grow along it and scores fall."""

    method: str
    models: list[Scored]

    @property
    def speedups(self) -> list[float]:
        """FLOPs speed-ups."""
        return [own.flops.value for own in self.models]

    @property
    def gains(self) -> list[float]:
        """Points above the reference."""
        return [own.gain.value for own in self.models]


def data(study: Study, task: str) -> list[Line]:
    """The lines: Leap-of-Thought, whose interval is drawn, the baselines and the best control.

    Empty if the task has no Leap-of-Thought, or fewer than three of these methods.
    """
    areas = study.evidence[task].areas() if task in study.evidence else {}

    def best(names: Iterable[str]) -> list[str]:
        there = [name for name in names if name in areas]
        return sorted(there, key=lambda name: areas[name].value.value)[-1:]

    leap = [LEAP] if LEAP in areas else best(LEAPS)
    others = [name for name in BASELINES if name in areas] + best(CONTROLS)
    if not leap or len(others) < LEAST_METHODS - 1:
        return []
    models = study.validated(task)
    return [Line(method, on_front(models, method)) for method in leap + others]


def figure(study: Study, task: str) -> Figure | None:
    """The figure; None if the task has too few of the methods."""
    from matplotlib.figure import Figure

    lines = data(study, task)
    if not lines:
        return None
    first, given = lines[0], looks(line.method for line in lines)
    models = [own for line in lines for own in line.models]
    result = Figure(figsize=(7, 4.2), layout="constrained")
    axes = result.subplots()
    low, high = ([own.gain[side] for own in first.models] for side in (1, 2))
    colour = given[first.method][0]
    axes.fill_between(first.speedups, low, high, color=colour, alpha=0.16, linewidth=0)
    axes.axhline(0, color=GREY, linewidth=1)
    for line in reversed(lines):
        shape = {"linewidth": 3.2 if line is first else 2.0, "marker": "o", "markersize": 4.5}
        axes.plot(line.speedups, line.gains, color=given[line.method][0], **shape)
    style.log_speedup(axes.xaxis, 1, 1.05 * max(own.flops.value for own in models))
    depth = axis_depth(models)
    style.points_axis(axes, -depth, max(*high, *(own.gain.value for own in models)))
    _label(axes, lines, depth, given)
    metric, reference = models[0].metric, study.references[task]
    axes.set_xlabel("FLOPs speed-up over dense (log scale)")
    axes.set_ylabel(gain_title(metric, reference))
    dense = {"xytext": (4, 3), "textcoords": "offset points", "fontsize": 11, "color": "#444444"}
    axes.annotate(text.reference(reference, metric), (1, 0), **dense)
    runs = study.runs_on(task)
    result.suptitle(f"{text.task_name(task)}, {text.backbones(runs)}", x=0.01, ha="left")
    note = f"Band: 95% interval of {first.method}; {text.seeds(models)}"
    result.supxlabel(note, x=0.01, ha="left", fontsize=10, color="#555555")
    return result


def _label(
    axes: Axes, lines: Sequence[Line], depth: float, given: dict[str, tuple[str, str]]
) -> None:
    """Writes the name of each method at the end of its line, or where the line leaves the axis."""
    weights = {line.method: "bold" if line is lines[0] else "normal" for line in lines}

    def write(line: Line, x: float, y: float, gap: tuple[float, float], place: str) -> None:
        axes.annotate(
            line.method.replace(", ", ",\n"),
            (x, y),
            xytext=gap,
            textcoords="offset points",
            ha=place,
            va="center" if gap[1] == 0 else "bottom",
            color=given[line.method][0],
            weight=weights[line.method],
        )

    stay = sorted((line for line in lines if line.gains[-1] >= -depth), key=lambda o: -o.gains[-1])
    bottom, top = axes.get_ylim()
    lowest = top
    for line in stay:
        lowest = min(line.gains[-1], lowest - STEP * (top - bottom))
        write(line, line.speedups[-1], lowest, (GAP, 0), "left")
    # Where each line leaves the axis; its label is on the side with more room.
    leave = {
        line.method: float(np.interp(depth, [-y for y in line.gains], np.log(line.speedups)))
        for line in lines
        if line not in stay
    }
    places = [0.0, *sorted(leave.values()), float(np.log(axes.get_xlim()[1]))]
    for line in lines:
        if line.method in leave:
            x = leave[line.method]
            index = places.index(x, 1)
            left = x - places[index - 1] > places[index + 1] - x
            gap = (-GAP if left else GAP, GAP)
            write(line, math.exp(x), -depth, gap, "right" if left else "left")

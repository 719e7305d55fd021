"""The figures of a store, drawn from the store alone: ``draw("results/quickstart")``.

Per task, as PNG and SVG in ``figures/``: ``<task>-accuracy-vs-flops``, ``<task>-accuracy-vs-real``,
``<task>-real-vs-flops``, ``<task>-time-shares`` and ``<task>-keep-ratio``. Redrawing gives the same
bytes.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lotbench.report import style
from lotbench.report.breakdown import time_points, time_shares
from lotbench.report.pareto import (
    DENSE,
    along_front,
    dense_scores,
    front,
    points,
    reduced_points,
    settings_of,
)
from lotbench.store import frame, read_timings, setting_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Rows a method may take in the keep-ratio figure: enough for the shape of its front.
KEEP_ROWS = 6
# Scores further below dense than this share are off the axis.
DEEPEST = 0.2


def draw(folder: str | Path) -> list[Path]:
    """The files of all figures that the store has data for; the others are named in a warning."""
    table = frame(folder)
    timings = read_timings(folder)
    for sentence in missing(table):
        warnings.warn(sentence, stacklevel=2)
    files = []
    with style.drawing():
        for task, rows in points(table).groupby("task"):
            trials = table[table["task"] == task]
            devices = _devices([timing for timing in timings if timing["task"] == task])
            figures = {"accuracy-vs-flops": accuracy_vs_flops(rows, trials)}
            if settings_of(rows):
                figures["accuracy-vs-real"] = accuracy_vs_real(rows, trials, devices)
                figures["real-vs-flops"] = real_vs_flops(rows, trials, devices)
            if len(time_points(rows)):
                figures["time-shares"] = time_shares(rows, _timed(rows, devices))
            if len(reduced_points(rows)):
                figures["keep-ratio"] = keep_ratio(rows, trials)
            for name, figure in figures.items():
                files += style.save(figure, Path(folder) / "figures" / f"{task}-{name}")
    return files


def missing(table: pd.DataFrame) -> list[str]:
    """One sentence per figure that cannot be drawn from a frame: which, and why."""
    sentences = []
    rows = points(table)
    for task in table["task"].unique():
        own = rows[rows["task"] == task]
        if not len(own):
            sentences.append(f"{task}: no figures, no trial is done and scored on validation")
            continue
        if not settings_of(own):
            names = f"{task}-accuracy-vs-real and {task}-real-vs-flops"
            sentences.append(f"{names}: not drawn, no timings (see `lotbench measure`)")
        elif not len(time_points(own)):
            name = f"{task}-time-shares"
            sentences.append(f"{name}: not drawn, no timings with shares (see `lotbench measure`)")
        if not len(reduced_points(own)):
            sentences.append(f"{task}-keep-ratio: not drawn, no reduced model has keep ratios")
    return sentences or ([] if len(table) else ["no figures, the store has no trials"])


def accuracy_vs_flops(rows: pd.DataFrame, trials: pd.DataFrame) -> Figure:
    """Score over FLOPs speed-up, with the front of every method."""
    # Packing alone saves no FLOPs: its point would hide that of dense.
    rows = rows[rows["method"] != "dense-packed"]
    figure, (axes,) = _panels(1, 4.2, 3.1)
    _scores(axes, rows, "flops_speedup", trials, named=True)
    axes.set_xlabel("FLOPs speed-up over dense (log scale)")
    style.speedup_limits([axes.xaxis], rows, ["flops_speedup"])
    _finish(figure, rows, trials, f"Trained on {style.machine(trials)}", scores=True)
    return figure


def accuracy_vs_real(rows: pd.DataFrame, trials: pd.DataFrame, devices: dict[str, str]) -> Figure:
    """Score over wall-clock speed-up, one panel per timing setting."""
    settings = settings_of(rows)
    figure, panels = _panels(len(settings), 3.1, 2.7)
    for index, (axes, label) in enumerate(zip(panels, settings, strict=True)):
        last = (index + 1) % _columns(len(settings)) == 0 or index == len(settings) - 1
        _scores(axes, rows, f"real.{label}", trials, named=last)
        axes.set_title(style.pretty_setting(label))
        axes.set_xlabel("Real speed-up (log scale)")
    reals = [f"real.{label}" for label in settings]
    style.speedup_limits([axes.xaxis for axes in panels], rows, reals)
    _finish(figure, rows, trials, _timed(rows, devices), scores=True)
    return figure


def real_vs_flops(rows: pd.DataFrame, trials: pd.DataFrame, devices: dict[str, str]) -> Figure:
    """Wall-clock over FLOPs speed-up: how much of the promise arrives, one panel per setting.

    Both are of the timed texts, where the pass counted their FLOPs.
    """
    settings = settings_of(rows)
    figure, panels = _panels(len(settings), 2.9, 2.9)
    looks = style.styles(trials["method"])
    thin = {"color": style.GREY, "linewidth": 0.8}
    for axes, label in zip(panels, settings, strict=True):
        real, flops = f"real.{label}", f"real.{label}.flops"
        axes.axline((1, 1), (2, 2), **thin, label="real = FLOPs")
        axes.axhline(1, **thin, linestyle=(0, (4, 2)), label="as fast as dense")
        for method in style.order(rows["method"]):
            own = rows[rows["method"] == method].dropna(subset=[real])
            _bars(axes, own, flops, real, 1.0, looks[method][0])
            _marks(axes, own, flops, real, 1.0, looks[method])
        axes.set_title(style.pretty_setting(label))
        axes.set_xlabel("FLOPs speed-up (log scale)")
        axes.set_ylabel("Real speed-up (log scale)")
    # The same limits both ways, so that the line of equality is the diagonal.
    both = [axis for axes in panels for axis in (axes.xaxis, axes.yaxis)]
    shown = [f"real.{label}{end}" for label in settings for end in ("", ".flops")]
    style.speedup_limits(both, rows, shown)
    _finish(figure, rows, trials, _timed(rows, devices), scores=False)
    return figure


def keep_ratio(rows: pd.DataFrame, trials: pd.DataFrame) -> Figure:
    """Share of tokens computed in every layer, for points on each method's front."""
    from matplotlib.figure import Figure

    reduced = reduced_points(rows)
    layers = [name for name in rows if name.startswith("keep_ratio.")]
    methods = style.order(reduced["method"])
    chosen = {method: along_front(reduced, method, KEEP_ROWS) for method in methods}
    heights = [len(own) for own in chosen.values()]
    width = max(1.9 + 0.33 * len(layers), 3.6)
    height = 0.75 + 0.2 * sum(heights) + 0.28 * len(heights)
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(len(chosen), 1, sharex=True, squeeze=False, height_ratios=heights)
    for axes, (method, own) in zip(grid[:, 0], chosen.items(), strict=True):
        percent = 100 * own[layers].to_numpy(float)
        image = axes.imshow(percent, cmap="cividis", vmin=0, vmax=100, aspect="auto")
        for (line, layer), value in np.ndenumerate(percent):
            if math.isfinite(value):
                tone = {"fontsize": 6, "color": "#222222" if value > 55 else "white"}
                axes.text(layer, line, f"{value:.0f}", ha="center", va="center", **tone)
        axes.set_title(method, loc="left", fontweight="bold", pad=3)
        axes.set_yticks(range(len(own)), own.apply(style.cost_and_score, axis=1))
        axes.set_xticks(range(len(layers)), [str(layer + 1) for layer in range(len(layers))])
        axes.tick_params(length=0)
        axes.grid(False)
        axes.spines[:].set_visible(False)
    grid[-1, 0].set_xlabel("Layer")
    bar = {"aspect": 25, "shrink": min(0.9, 2.5 / height), "anchor": (0, 1)}
    figure.colorbar(image, ax=list(grid[:, 0]), label="Tokens computed (%)", **bar)
    score = style.metric(rows["score_name"].iloc[0])[0].removesuffix(" (%)")
    small = f"Beside the rows: FLOPs speed-up and {score} of points on each method's front"
    where = f"Trained on {style.machine(trials)}; {style.seeds(reduced)}"
    style.caption(figure, [small, where])
    return figure


def _scores(
    axes: Axes, rows: pd.DataFrame, speedup: str, trials: pd.DataFrame, named: bool
) -> None:
    """One panel of scores over a speed-up: all points, each method's front, the dense reference."""
    metric = rows["score_name"].iloc[0]
    label, scale = style.metric(metric)
    looks = style.styles(trials["method"])
    for method in style.order(rows["method"]):
        own = rows[rows["method"] == method].dropna(subset=[speedup, "score"]).sort_values(speedup)
        colour = looks[method][0]
        for _, curve in own.groupby("setting"):
            # One trained model at several thresholds.
            thin = {"color": colour, "linewidth": 0.6, "alpha": 0.6}
            axes.plot(curve[speedup], scale * curve["score"], **thin)
        _bars(axes, own, speedup, "score", scale, colour)
        on_front = front(own[speedup], own["score"])
        _marks(axes, own[~on_front], speedup, "score", scale, looks[method], faint=True)
        best = own[on_front]
        axes.plot(best[speedup], scale * best["score"], color=colour, linewidth=1.6, zorder=3)
        _marks(axes, best, speedup, "score", scale, looks[method])
    axes.set_ylabel(label)
    dense = dense_scores(trials).get(rows["task"].iloc[0], math.nan)
    if math.isfinite(dense):
        style.dense_lines(axes, dense, metric, named)
        # What has collapsed would press everything else together.
        axes.set_ylim(bottom=max(axes.get_ylim()[0], scale * (dense - DEEPEST)))


def _marks(
    axes: Axes,
    own: pd.DataFrame,
    x: str,
    y: str,
    scale: float,
    look: tuple[str, str],
    faint: bool = False,
) -> None:
    """The points of a method; hollow where the wall-clock speed-up drowns in the timing noise."""
    hollow = np.zeros(len(own), bool)
    for name in (f"{x}.flagged", f"{y}.flagged"):
        if name in own:
            # Dense is within the noise of dense by definition.
            hollow |= own[name].fillna(False).to_numpy(bool) & ~own["method"].isin(DENSE)
    mark = style.mark(*look) | {"linestyle": ""}
    if faint:
        mark |= {"markersize": 4, "alpha": 0.4, "zorder": 4}
    edge = {"markerfacecolor": "white", "markeredgecolor": look[0], "markeredgewidth": 1}
    axes.plot(own[x][~hollow], scale * own[y][~hollow], **mark)
    axes.plot(own[x][hollow], scale * own[y][hollow], **(mark | edge))


def _bars(axes: Axes, own: pd.DataFrame, x: str, y: str, scale: float, colour: str) -> None:
    """Intervals in both directions; those of a single seed have no length, except for timings."""
    thin = {"color": colour, "linewidth": 0.7, "alpha": 0.6, "zorder": 2}
    across = (own[f"{x}.low"], own[f"{x}.high"])
    axes.hlines(scale * own[y], *across, **thin)
    axes.vlines(own[x], scale * own[f"{y}.low"], scale * own[f"{y}.high"], **thin)


def _panels(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` panels of the given size that share their axes."""
    from matplotlib.figure import Figure

    columns = _columns(count)
    lines = math.ceil(count / columns)
    figure = Figure(figsize=(1.3 + width * columns, 0.4 + height * lines), layout="constrained")
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    panels = list(grid.flat)
    for spare in panels[count:]:
        spare.set_visible(False)
    for axes in panels:
        axes.tick_params(labelbottom=True, labelleft=True)
    return figure, panels[:count]


def _columns(count: int) -> int:
    return count if count <= 3 else 2 if count == 4 else 3


def _finish(
    figure: Figure, rows: pd.DataFrame, trials: pd.DataFrame, where: str, scores: bool
) -> None:
    """Adds the legend beside the panels and the caption under them.

    Figures of ``scores`` draw fronts as lines, on an axis that ends at `DEEPEST`.
    """
    from matplotlib.lines import Line2D

    looks = style.styles(trials["method"])
    line = "-" if scores else ""
    handles = [
        Line2D([], [], linestyle=line, linewidth=1.6, label=method, **style.mark(*looks[method]))
        for method in style.order(rows["method"])
    ]
    extra, _ = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles=[*handles, *extra], loc="outside right upper")
    failed = int((trials["status"] == "failed").sum())
    notes = [style.seeds(rows)]
    dense = dense_scores(trials).get(rows["task"].iloc[0], math.nan)
    if scores and (rows["score"] < dense - DEEPEST).any():
        notes.append(f"scores more than {100 * DEEPEST:.0f} points below dense lie off the axis")
    if rows["seeds"].max() > 1:
        notes[0] += ", bars from smallest to largest"
    if failed:
        notes.append(f"{failed} failed trial{'' if failed == 1 else 's'} not shown")
    style.caption(figure, [where, "; ".join(notes)])


def _devices(timings: list[dict[str, Any]]) -> dict[str, str]:
    """The name of the device behind every timing label; the newest pass wins, as in the frame."""
    return {
        setting_label(timing["setting"]): timing["setting"].get("device_name", "unknown device")
        for timing in timings
    }


def _timed(rows: pd.DataFrame, devices: dict[str, str]) -> str:
    """The first caption line of a wall-clock figure: on what it was timed, and how to read it."""
    settings = settings_of(rows)
    threads = sorted({int(label.rsplit("-", 3)[1][:-1]) for label in settings})
    dtypes = sorted({label.rsplit("-", 1)[1] for label in settings})
    parts = [*sorted({devices[label] for label in settings}), style.in_threads(threads), *dtypes]
    reduced = rows[~rows["method"].isin(DENSE)]
    noisy = any(reduced[f"real.{label}.flagged"].fillna(False).any() for label in settings)
    hollow = "; hollow: within timing noise" if noisy else ""
    return f"Timed on {', '.join(parts)}, against the fastest dense model{hollow}"

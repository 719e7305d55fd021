"""The figure of time by section: one stacked bar per model; its length is the model's time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lotbench.report import looks, style, words
from lotbench.report.panels import Devices, timed_on
from lotbench.report.pareto import DENSE, along_front, reduced_points
from lotbench.store.timed import without_backend

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The sections of a timing pass in the order of the bars, with their names and colours.
SECTIONS = {
    "attention": ("attention", looks.BLUE),
    "feed_forward": ("feed-forward", looks.SKY),
    "received_attention": ("attention received", looks.PURPLE),
    "decisions": ("decisions (routers, ranks)", looks.VERMILLION),
    "gather_scatter": ("gather and scatter", looks.YELLOW),
    "rest": ("embedding and head", looks.GREY),
}
# Most bars of a method.
BARS = 3


def time_points(rows: pd.DataFrame) -> pd.DataFrame:
    """The points in the figure: the dense models, and some points of each method's front."""
    import pandas as pd

    timed = rows[rows[_columns(rows)].notna().any(axis=1)]
    own = reduced_points(timed)
    parts = [timed[timed["method"] == method] for method in DENSE]
    parts += [along_front(own, method, BARS) for method in looks.order(own["method"])]
    return pd.concat(parts, ignore_index=True)


def time_shares(rows: pd.DataFrame, trials: pd.DataFrame, devices: Devices) -> Figure:
    """Time by section, relative to the fastest dense model, for points on each method's front.

    There is one panel per timing setting.  A mark shows where the bar would end if time were
    proportional to the FLOPs of the timed texts.
    """
    from matplotlib.figure import Figure

    chosen = time_points(rows)
    labels = [name.split(".")[1] for name in _columns(chosen) if chosen[name].notna().any()]
    columns = min(len(labels), 2)
    lines = math.ceil(len(labels) / columns)
    # In inches.  Width: 3.9 for names and legend.  Height: 0.9 for title and caption, 0.7 for the
    # title and labels of a panel, 0.19 for a bar.
    size = (3.9 + 2.6 * columns, 0.9 + lines * (0.7 + 0.19 * len(chosen)))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for spare in grid.flat[len(labels) :]:
        spare.set_visible(False)
    for axes, label in zip(grid.flat, labels, strict=False):
        _bars(axes, chosen, label)
    grid[0, 0].set_yticks(range(len(chosen)), chosen.apply(_name, axis=1))
    grid[0, 0].invert_yaxis()
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", fontsize=7)
    style.title(figure, words.title(trials, timed_on(chosen, devices)))
    small = "Beside the bars: FLOPs speed-up and score of points on each method's front"
    of_backend = " of the same backend" * any(without_backend(name) != name for name in labels)
    notes = [f"Timed against the fastest dense model{of_backend}"]
    notes.append(f"{small}; {words.seeds(chosen)}")
    if any(_share(chosen, label, "received_attention").isna().all() for label in labels):
        notes.append("Passes without attention received have it within attention")
    style.caption(figure, notes)
    return figure


def _bars(axes: Axes, chosen: pd.DataFrame, label: str) -> None:
    time = 100 / chosen[f"real.{label}"].to_numpy(float)
    place, left = np.arange(len(chosen)), np.zeros(len(chosen))
    for section, (name, colour) in SECTIONS.items():
        width = np.nan_to_num(time * _share(chosen, label, section).to_numpy(float))
        axes.barh(place, width, left=left, height=0.75, color=colour, label=name)
        left += width
    shown = np.isfinite(time)
    flops = 100 / chosen[f"real.{label}.flops"].to_numpy(float)
    mark = {"marker": "|", "markersize": 9, "markeredgewidth": 1.5, "color": looks.BLACK}
    axes.plot(flops[shown], place[shown], **mark, linestyle="", label="FLOPs of dense (%)")
    axes.set_title(words.timing_setting(label))
    axes.set_xlabel("Time, fastest dense = 100")
    axes.margins(y=0.01)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)


def _share(rows: pd.DataFrame, label: str, section: str) -> pd.Series:
    """A section's share of the time; missing if the pass did not measure the section."""
    name = f"real.{label}.share.{section}"
    return rows.reindex(columns=[name])[name]


def _columns(rows: pd.DataFrame) -> list[str]:
    """The columns ``real.<label>.share.attention``, which every pass with shares has."""
    return [name for name in map(str, rows) if name.endswith(".share.attention")]


def _name(point: pd.Series) -> str:
    return f"{point['method']}  {words.cost_and_score(point)}"

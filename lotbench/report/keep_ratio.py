"""The figure of the share of tokens that each layer computes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lotbench.report import style, words
from lotbench.report.looks import order
from lotbench.report.pareto import along_front, reduced_points

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# Most rows of a method, enough to show the shape of its front.
MOST_ROWS = 6


def keep_ratio(rows: pd.DataFrame, trials: pd.DataFrame) -> Figure:
    """Share of tokens computed in each layer, for points on each method's front."""
    from matplotlib.figure import Figure

    reduced = reduced_points(rows)
    layers = [name for name in map(str, rows) if name.startswith("keep_ratio.")]
    methods = order(reduced["method"])
    chosen = {method: along_front(reduced, method, MOST_ROWS) for method in methods}
    heights = [len(own) for own in chosen.values()]
    width = max(2.1 + 0.33 * len(layers), 4.6)
    height = 1.25 + 0.2 * sum(heights) + 0.28 * len(heights)
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
        axes.set_yticks(range(len(own)), own.apply(words.cost_and_score, axis=1))
        axes.set_xticks(range(len(layers)), [str(layer + 1) for layer in range(len(layers))])
        axes.tick_params(length=0)
        axes.grid(False)
        axes.spines[:].set_visible(False)
    grid[-1, 0].set_xlabel("Layer")
    bar = {"aspect": 25, "shrink": min(0.9, 2.5 / height), "anchor": (0, 1)}
    figure.colorbar(image, ax=list(grid[:, 0]), label="Tokens computed (%)", **bar)
    style.title(figure, words.title(trials, words.trained_on(trials)))
    small = "Beside the rows: FLOPs speed-up and score of points on each method's front"
    style.caption(figure, [f"{small}; {words.seeds(reduced)}"])
    return figure

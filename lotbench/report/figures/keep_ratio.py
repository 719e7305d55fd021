"""The share of tokens that each layer computes, along each method's front."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lotbench.report import text
from lotbench.report.figures import style
from lotbench.report.figures.base import reduced
from lotbench.report.figures.heat import HeatMap, draw
from lotbench.report.looks import order
from lotbench.statistics.scored import evenly, on_front
from lotbench.statistics.store_view import StoreView

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Most rows of a method, enough to show the shape of its front.
MOST_ROWS = 6


def data(study: StoreView, task: str) -> list[HeatMap]:
    """Percent of the tokens by model and layer, one map per method."""
    models = [own for own in reduced(study.validated(task)) if math.isfinite(own.gain.value)]
    layers = max((len(own.keep_ratios) for own in models), default=0)
    maps = []
    for method in order(own.method for own in models):
        own = evenly(on_front(models, method), MOST_ROWS)
        values = np.full((len(own), layers), np.nan)
        for row, model in zip(values, own, strict=True):
            row[: len(model.keep_ratios)] = [100 * ratio for ratio in model.keep_ratios]
        texts = [[text.NONE if math.isnan(x) else f"{x:.0f}" for x in row] for row in values]
        columns = [str(layer + 1) for layer in range(layers)]
        maps.append(HeatMap(method, list(map(text.cost_and_score, own)), columns, values, texts))
    return maps


def figure(study: StoreView, task: str) -> Figure | None:
    """The figure, one panel per method; None if no reduced model has a score."""
    from matplotlib.colors import Normalize

    maps = data(study, task)
    if not maps:
        return None
    columns = 1 if len(maps) == 1 else 2
    lines = [maps[at : at + columns] for at in range(0, len(maps), columns)]
    heights = [max(len(own.rows) for own in line) for line in lines]
    width = max(0.9 + columns * (1.2 + 0.33 * len(maps[0].columns)), 4.6)
    height = 1.25 + 0.2 * sum(heights) + 0.28 * len(heights)
    result = style.figure(width, height)
    grid = result.subplots(len(lines), columns, squeeze=False, height_ratios=heights)
    panels = list(grid.flat)
    norm = Normalize(0, 100)
    images = [draw(axes, own, "cividis", norm) for axes, own in zip(panels, maps, strict=False)]
    for place, axes in enumerate(panels):
        axes.set_ylim(heights[place // columns] - 0.5, -0.5)
        axes.tick_params(labelbottom=place // columns == len(lines) - 1)
    for axes in grid[-1]:
        axes.set_xlabel("Layer")
    for axes in panels[len(maps) :]:
        axes.set_visible(False)
    bar = {"aspect": 25, "shrink": min(0.9, 2.5 / height), "anchor": (0, 1)}
    result.colorbar(images[0], ax=list(panels), label="Tokens computed (%)", **bar)
    runs = study.runs_on(task)
    style.title(result, text.title(runs, text.trained_on(runs)))
    small = "Next to the rows: FLOPs speed-up and score of models on each method's front"
    style.caption(result, [f"{small}; {text.seeds(reduced(study.validated(task)))}"])
    return result

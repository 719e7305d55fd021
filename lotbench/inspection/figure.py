"""Routes and shares as figures."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lotbench.inspection.route import COLOURS, WORDS, Fate, Route
from lotbench.inspection.split import Kept
from lotbench.report.figures import style
from lotbench.report.figures.heat import HeatMap, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

log = logging.getLogger(__name__)

LONGEST = 80
"""Most tokens of a figure; a longer text is cut there, and the title says so."""


def of_text(routes: Sequence[Route], path: Path) -> list[Path]:
    """Layers by tokens for every model, one above the other."""
    from matplotlib.patches import Patch

    shown = routes[0].tokens[:LONGEST]
    saliency = routes[0].saliency
    heights = [0.6 + 0.2 * len(route.fates) for route in routes] + [0.5] * (saliency is not None)
    width = max(6.0, 1.2 + 0.21 * len(shown))
    with style.drawing():
        figure = style.figure(width, 1.3 + sum(heights))
        axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, route in zip(axes, routes, strict=False):
            _grid(axis, route, len(shown))
        if saliency is not None:
            axes[-1].bar(range(len(shown)), saliency[: len(shown)], color="#555555", width=0.8)
            axes[-1].set(xlim=(-0.5, len(shown) - 0.5), yticks=[])
            axes[-1].set_title("teacher's saliency", loc="left")
            axes[-1].spines["left"].set_visible(False)
        for axis in axes:
            axis.grid(False)
            axis.set_xticks([])
        axes[-1].set_xticks(range(len(shown)), shown, rotation=90)
        patches = [Patch(color=COLOURS[fate], label=WORDS[fate]) for fate in reversed(Fate)]
        figure.legend(handles=patches, loc="outside lower left", ncols=len(patches))
        every = len(routes[0].tokens)
        cut = "" if every <= LONGEST else f" (its first {LONGEST} of {every} tokens)"
        style.title(figure, f"One text through the layers{cut}")
        with warnings.catch_warnings(record=True) as caught:
            warnings.filterwarnings("always", "Glyph .* missing from font")
            files = style.save(figure, path, style.FORMATS)
    if any("Glyph" in str(one.message) for one in caught):  # one for each character and format
        log.warning("%s: the font lacks some characters; the HTML page shows them", files[0])
    return files


def _grid(axis: Axes, route: Route, n_tokens: int) -> None:
    """The fates as colours; the router's probability of what was decided is written inside."""
    from matplotlib.colors import ListedColormap

    fates = route.fates[:, :n_tokens]
    layers = len(fates)
    axis.imshow(
        fates,
        cmap=ListedColormap([COLOURS[fate] for fate in Fate]),
        vmin=min(Fate) - 0.5,
        vmax=max(Fate) + 0.5,
        aspect="auto",
        interpolation="nearest",
    )
    axis.tick_params(length=0)
    for line in np.arange(-0.5, n_tokens):  # white lines between the cells
        axis.axvline(line, color="white", linewidth=0.6)
    for line in np.arange(-0.5, layers):
        axis.axhline(line, color="white", linewidth=0.6)
    for (layer, place), value in np.ndenumerate(route.confidence[:, :n_tokens]):
        if np.isfinite(value):
            colour = "white" if fates[layer, place] == Fate.PROCESSED else "#333333"
            text = axis.text(place, layer, f"{100 * value:.0f}", color=colour, size=4.5)
            text.set(ha="center", va="center")
    axis.set_yticks(range(layers), [str(layer + 1) for layer in range(layers)])
    axis.set_ylabel("layer")
    axis.set_title(route.title, loc="left")
    for spine in axis.spines.values():
        spine.set_visible(False)


def of_split(models: Sequence[Kept], path: Path) -> list[Path]:
    """Heat maps of every model: kinds of tokens by layer, and places by layer."""
    from matplotlib.colors import Normalize

    with style.drawing():
        figure = style.figure(7.5, 0.7 + 2.1 * len(models))
        axes = figure.subplots(len(models), 2, squeeze=False)
        for row, model in zip(axes, models, strict=True):
            names = (f"{model.name}: ", "")
            for axis, name, (title, shares) in zip(row, names, model.tables.items(), strict=True):
                values = 100 * np.array([*shares.values()])
                columns = [str(layer + 1) for layer in range(values.shape[1])]
                texts = [[f"{share:.0f}" for share in line] for line in values]
                heat = HeatMap(name + title, [*shares], columns, values, texts)
                draw(axis, heat, "Blues", Normalize(0, 115))
                axis.set_xlabel("layer")
        count = f"{models[0].texts} texts"
        style.title(figure, f"Share of the tokens that layers compute, in percent, {count}")
        return style.save(figure, path, style.FORMATS)

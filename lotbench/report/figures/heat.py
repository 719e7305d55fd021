"""Heat maps: coloured cells with numbers, in figures and on pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lotbench.report import text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.image import AxesImage

DARK_TEXT, LIGHT_TEXT = "#222222", "white"
# Cells of a lower luma (brightness from 0 to 1) have light text.
DARK = 0.45
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class HeatMap:
    """Values by row and column."""

    title: str
    rows: list[str]
    columns: list[str]
    values: np.ndarray
    """NaN where there is none; shape (rows, columns)."""
    texts: list[list[str]]
    """What stands in each cell that has a value; shape (rows, columns)."""


@dataclass(frozen=True)
class HeatCell:
    """A cell of a page."""

    text: str
    level: float
    """From 0 to 1, or from -1 to 1 around a middle; 0 without a value."""


@dataclass(frozen=True)
class HeatGrid:
    """Heat maps of a page that share their columns, one table each."""

    title: str
    corner: str
    """Heading of the first column."""
    columns: list[str]
    groups: list[tuple[str, list[tuple[str, list[HeatCell]]]]]
    """Title and rows by map."""
    note: str


def draw(axes: Axes, own: HeatMap, cmap: str, norm: Normalize, fontsize: float = 6) -> AxesImage:
    """Draws a heat map on axes under its title, the first row at the top."""
    image = axes.imshow(own.values, cmap=cmap, norm=norm, aspect="auto")
    luma = image.to_rgba(own.values)[..., :3] @ LUMA
    for (row, column), value in np.ndenumerate(own.values):
        if np.isfinite(value):
            tone = LIGHT_TEXT if luma[row, column] < DARK else DARK_TEXT
            cell = own.texts[row][column].replace("-", text.MINUS)
            place = {"ha": "center", "va": "center", "fontsize": fontsize, "color": tone}
            axes.text(column, row, cell, **place)
    axes.set_title(own.title, loc="left", fontweight="bold", pad=3)
    axes.set_xticks(range(len(own.columns)), own.columns)
    axes.set_yticks(range(len(own.rows)), own.rows)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return image


def grid(
    title: str, corner: str, maps: Sequence[HeatMap], level: Callable[[float], float], note: str
) -> HeatGrid:
    """The heat maps for a page; ``level`` places a value between -1 or 0 and 1."""

    def cell(value: float, words: str) -> HeatCell:
        if not np.isfinite(value):
            return HeatCell(text.NONE, 0)
        return HeatCell(words, max(-1.0, min(1.0, level(value))))

    groups = [
        (
            own.title,
            [
                (name, [cell(*each) for each in zip(map(float, values), texts, strict=True)])
                for name, values, texts in zip(own.rows, own.values, own.texts, strict=True)
            ],
        )
        for own in maps
    ]
    return HeatGrid(title, corner, maps[0].columns, groups, note)

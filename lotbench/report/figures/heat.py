"""Heat maps: coloured cells with numbers."""

from __future__ import annotations

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
    """What stands in each cell, a dash without a value; shape (rows, columns)."""


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

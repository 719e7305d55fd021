"""Heat maps: coloured cells with numbers, in figures and on pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


@dataclass(frozen=True)
class HeatGrid:
    """Heat maps of a page that share their columns, one table each."""

    title: str
    corner: str
    """Heading of the first column."""
    maps: list[HeatMap]
    level: Callable[[np.ndarray], np.ndarray]
    """Places values from 0 to 1, or from -1 to 1 around a middle."""
    note: str

    def rows(self, own: HeatMap) -> Iterator[tuple[str, list[tuple[str, float]]]]:
        """Name, and text and level by cell, of each row of a map; 0 without a value."""
        levels = np.nan_to_num(np.clip(self.level(own.values), -1, 1))
        for name, texts, row in zip(own.rows, own.texts, levels, strict=True):
            yield name, list(zip(texts, row, strict=True))


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

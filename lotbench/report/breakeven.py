"""The figure of a break-even map: speed-up by length and keep ratio, one panel per batch size."""

from __future__ import annotations

import math
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lotbench.report import style, words
from lotbench.report.looks import BLACK
from lotbench.store.records import Cell, Map
from lotbench.store.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(folder: str | Path) -> list[Path]:
    """Draw the newest map of each setting, and return the files ``figures/break-even-<setting>``.

    A store without maps gives no files (see `lotbench measure --map`).
    """
    newest = {record.setting.label: record for record in Store(folder).maps()}
    files = []
    with style.drawing():
        for label, record in newest.items():
            figure = break_even(record)
            files += style.save(figure, Path(folder) / "figures" / f"break-even-{label}")
    return files


def break_even(record: Map) -> Figure:
    """The heat maps of a map; the line at speed-up 1 is where reduction starts to pay."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    cells = sorted(record.cells, key=lambda cell: (cell.batch_size, cell.length))
    panels = {size: list(own) for size, own in groupby(cells, lambda cell: cell.batch_size)}
    medians = [speed.median for cell in cells for speed in cell.speedups]
    # Symmetric around 1 on the log scale, so that the neutral colour means break-even.
    reach = max(1.01, *medians, *(1 / median for median in medians))
    norm = LogNorm(1 / reach, reach)
    figure = Figure(figsize=(0.8 + 2.6 * len(panels), 3.3), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (size, own) in zip(grid, panels.items(), strict=True):
        _heat_map(axes, own, norm)
        axes.set_title(f"Batch {size}")
    grid[0].set_ylabel("Tokens per text")
    setting, backbone = record.setting, record.backbone
    model = f"{words.backbone_name(backbone.name)} ({words.count(backbone.layers, 'layer')})"
    machine = words.machine_name(setting.device_name)
    threads = words.in_threads([setting.threads])
    style.title(figure, f"Break-even map, {model}, {machine}, {threads}")
    fewest = min(cell.rounds for cell in cells)
    style.caption(
        figure,
        [
            f"Speed-up over the fastest dense model, {setting.dtype}; at least {fewest} rounds",
            f"Layers {backbone.width} wide; random tokens leap, routers of width "
            f"{setting.router_width} run",
            "Line: break-even; ~: the interval holds 1",
        ],
    )
    return figure


def _heat_map(axes: Axes, cells: list[Cell], norm: Any) -> None:
    keeps = [speed.keep for speed in cells[0].speedups]
    values = np.array([[speed.median for speed in cell.speedups] for cell in cells])
    axes.imshow(values, cmap="PuOr_r", norm=norm, aspect="auto", origin="lower")
    for line, cell in enumerate(cells):
        for column, speed in enumerate(cell.speedups):
            undecided = "~" if speed.low <= 1 <= speed.high else ""
            dark = abs(math.log(speed.median)) > 0.7 * math.log(norm.vmax)
            tone = {"fontsize": 7, "color": "white" if dark else "#222222"}
            text = f"{undecided}{speed.median:.2f}"
            axes.text(column, line, text, ha="center", va="center", **tone)
    _draw_break_even(axes, values >= 1)
    axes.set_xticks(range(len(keeps)), [f"{100 * keep:g}%" for keep in keeps])
    axes.set_yticks(range(len(cells)), [str(cell.length) for cell in cells])
    axes.set_xlabel("Tokens computed")
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _draw_break_even(axes: Axes, pays: np.ndarray) -> None:
    """Draws a line between cells where reduction pays and cells where it does not."""
    line = {"color": BLACK, "linewidth": 1.6}
    for row, column in np.argwhere(pays[1:] != pays[:-1]):
        axes.plot([column - 0.5, column + 0.5], [row + 0.5, row + 0.5], **line)
    for row, column in np.argwhere(pays[:, 1:] != pays[:, :-1]):
        axes.plot([column + 0.5, column + 0.5], [row - 0.5, row + 0.5], **line)

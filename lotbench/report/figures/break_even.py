"""Break-even maps: speed-up by length of the text and keep ratio."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from lotbench.report import text
from lotbench.report.figures import style
from lotbench.report.figures.heat import HeatMap, draw
from lotbench.report.looks import BLACK
from lotbench.store.maps import Map

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def data(record: Map) -> list[HeatMap]:
    """Speed-ups by length and keep ratio, one map per batch size."""
    cells = sorted(record.cells, key=lambda cell: (cell.batch_size, cell.length))
    columns = [f"{100 * speed.keep:g}%" for speed in cells[0].speedups]
    maps = []
    for size, group in groupby(cells, lambda cell: cell.batch_size):
        rows = list(group)
        values = np.array([[speed.median for speed in cell.speedups] for cell in rows])
        texts = [
            [f"{'~' * (speed.low <= 1 <= speed.high)}{speed.median:.2f}" for speed in cell.speedups]
            for cell in rows
        ]
        maps.append(HeatMap(f"Batch {size}", [str(c.length) for c in rows], columns, values, texts))
    return maps


def figure(record: Map) -> Figure:
    """The figure; the line at speed-up 1 is where reduction starts to pay."""
    from matplotlib.colors import LogNorm

    maps = data(record)
    medians = [float(value) for heat in maps for value in heat.values.flat]
    # Symmetric around 1, so that the neutral colour means break-even.
    reach = max(1.01, *medians, *(1 / median for median in medians))
    result = style.figure(0.8 + 2.6 * len(maps), 3.3)
    panels = result.subplots(1, len(maps), squeeze=False)[0]
    for axes, own in zip(panels, maps, strict=True):
        draw(axes, own, "PuOr_r", LogNorm(1 / reach, reach), fontsize=7)
        _draw_line(axes, own.values >= 1)
        axes.invert_yaxis()
        axes.set_xlabel("Tokens computed")
    panels[0].set_ylabel("Tokens per text")
    setting, backbone = record.setting, record.backbone
    model = f"{text.backbone_name(backbone.name)} ({text.count(backbone.layers, 'layer')})"
    machine = text.machine_name(setting.device_name)
    threads = text.in_threads([setting.threads])
    style.title(result, f"Break-even map, {model}, {machine}, {threads}")
    fewest = min(cell.rounds for cell in record.cells)
    style.caption(
        result,
        [
            f"Speed-up over the fastest dense model, {setting.dtype}; at least {fewest} rounds",
            f"layers {backbone.width} wide; random tokens leap, routers of width "
            f"{setting.router_width} run",
            "line: break-even; ~: the interval holds 1",
        ],
    )
    return result


def _draw_line(axes: Axes, pays: np.ndarray) -> None:
    """Draws a line between cells where reduction pays and cells where it does not."""
    line = {"color": BLACK, "linewidth": 1.6}
    for row, column in np.argwhere(pays[1:] != pays[:-1]):
        axes.plot([column - 0.5, column + 0.5], [row + 0.5, row + 0.5], **line)
    for row, column in np.argwhere(pays[:, 1:] != pays[:, :-1]):
        axes.plot([column + 0.5, column + 0.5], [row - 0.5, row + 0.5], **line)

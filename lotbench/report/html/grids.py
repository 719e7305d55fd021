"""Tables of a page with colours or bars: keep ratios, settings, time, break-even maps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from lotbench.report import words
from lotbench.report.breakdown import SECTIONS, time_points
from lotbench.report.keep_ratio import MOST_ROWS
from lotbench.report.looks import order
from lotbench.report.pareto import along_front, reduced_points
from lotbench.report.rows import NONE, is_missing
from lotbench.report.settings import SettingGrid
from lotbench.store.records import KeepSpeedup, Map

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Cell:
    """A cell with a colour."""

    text: str
    level: float
    """From 0 to 1, or from -1 to 1 around a middle; 0 without a number."""


@dataclass(frozen=True)
class Grid:
    """Tables of coloured cells, one per group."""

    title: str
    corner: str
    """Heading of the first column."""
    columns: list[str]
    groups: list[tuple[str, list[tuple[str, list[Cell]]]]]
    """Rows by group."""
    note: str


@dataclass(frozen=True)
class Bar:
    """The time of one model, in percent of that of the fastest dense model."""

    method: str
    point: str
    """FLOPs speed-up and score."""
    total: float
    parts: list[float | None]
    """By section; None if the pass did not measure it."""
    flops: float | None
    """The FLOPs, in percent of dense."""


@dataclass(frozen=True)
class Bars:
    """Time by section in one timing setting, one bar per model."""

    title: str
    sections: list[tuple[str, str]]
    """Name and colour, in the order of the bars."""
    rows: list[Bar]
    longest: float
    """The largest total."""


def keep_ratios(rows: pd.DataFrame) -> Grid | None:
    """Tokens computed in each layer, for points on each method's front."""
    reduced = reduced_points(rows)
    if not len(reduced):
        return None
    layers = [name for name in map(str, rows) if name.startswith("keep_ratio.")]
    groups = []
    for method in order(reduced["method"]):
        lines = [
            (words.cost_and_score(point), [_share(point[name]) for name in layers])
            for _, point in along_front(reduced, method, MOST_ROWS).iterrows()
        ]
        groups.append((method, lines))
    columns = [str(layer + 1) for layer in range(len(layers))]
    note = "Percent of all tokens; beside the rows: FLOPs speed-up and score of points on a front."
    return Grid("Tokens computed in each layer", "Layer", columns, groups, note)


def settings(own: SettingGrid, depth: float) -> Grid:
    """What each setting of a method is worth at each budget or target.

    ``depth`` is how many points below the reference have the full colour.
    """
    speedups = np.full_like(own.gains, np.nan) if own.speedups is None else own.speedups
    lines = [
        (setting, [_gain(*cell, depth) for cell in zip(gains, speeds, strict=True)])
        for setting, gains, speeds in zip(own.settings, own.gains, speedups, strict=True)
    ]
    note = f"Rows: {', '.join(own.parameters)}. Columns: {own.budget}."
    return Grid(own.method, "Setting", own.columns, [(own.method, lines)], note)


def time_bars(rows: pd.DataFrame) -> list[Bars]:
    """Time by section, relative to the fastest dense model, for points on each method's front."""
    chosen = time_points(rows) if len(rows) else rows
    names = [name for name in map(str, chosen) if name.endswith(".share.attention")]
    labels = [name.split(".")[1] for name in names if chosen[name].notna().any()]
    found = []
    for label in labels:
        timed = chosen.dropna(subset=[f"real.{label}"])
        bars = [_bar(point, label) for _, point in timed.iterrows()]
        longest = max(max(bar.total, bar.flops or 0) for bar in bars)
        setting = words.timing_setting(label)
        found.append(Bars(setting, list(SECTIONS.values()), bars, longest))
    return found


def break_even(record: Map) -> Grid:
    """The speed-up of a map by text length and keep ratio, one table per batch size."""
    cells = sorted(record.cells, key=lambda cell: (cell.batch_size, cell.length))
    medians = [speed.median for cell in cells for speed in cell.speedups]
    reach = max(1.01, *medians, *(1 / median for median in medians))
    groups = []
    for size, own in groupby(cells, lambda cell: cell.batch_size):
        lines = [
            (f"{cell.length} tokens", [_speedup(speed, reach) for speed in cell.speedups])
            for cell in own
        ]
        groups.append((f"Batch {size}", lines))
    columns = [f"{100 * speed.keep:g}%" for speed in cells[0].speedups]
    note = (
        "Speed-up over the fastest dense model by length of the text and tokens computed; blue: "
        "faster, orange: slower, ~: the interval holds 1."
    )
    return Grid(record.setting.label, "Computed", columns, groups, note)


def _bar(point: pd.Series, label: str) -> Bar:
    total, flops = 100 / point[f"real.{label}"], point[f"real.{label}.flops"]
    shares = [point.get(f"real.{label}.share.{section}") for section in SECTIONS]
    return Bar(
        point["method"],
        words.cost_and_score(point),
        total,
        [None if is_missing(share) else total * share for share in shares],
        None if is_missing(flops) else 100 / flops,
    )


def _share(value: float) -> Cell:
    return Cell(NONE, 0) if is_missing(value) else Cell(f"{100 * value:.0f}", value)


def _gain(gain: float, speedup: float, depth: float) -> Cell:
    if math.isnan(gain):
        return Cell(NONE, 0)
    at = "" if math.isnan(speedup) else f" ({speedup:.1f}{words.TIMES})"
    return Cell(f"{round(gain, 1) + 0.0:+.1f}{at}", max(-1.0, min(1.0, gain / depth)))


def _speedup(speed: KeepSpeedup, reach: float) -> Cell:
    """A speed-up with its place between ``1 / reach`` (-1) and ``reach`` (1), on a log scale."""
    mark = "~" * (speed.low <= 1 <= speed.high)
    return Cell(f"{mark}{speed.median:.2f}", math.log(speed.median) / math.log(reach))

"""Shared parts of figures with points: panels, marks, intervals, legend and captions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lotbench.report import words
from lotbench.report.looks import looks, mark, order
from lotbench.report.pareto import DENSE, backends_of, labels_of, settings_of
from lotbench.store.records import TimingPass
from lotbench.store.timed import without_backend

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Devices = Mapping[str, set[str]]
"""The names of the devices behind every timing label."""


def panels(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` panels of the given size, in inches, that share their axes."""
    from matplotlib.figure import Figure

    columns = columns_of(count)
    lines = math.ceil(count / columns)
    figure = Figure(figsize=(1.3 + width * columns, 0.7 + height * lines), layout="constrained")
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    axes = list(grid.flat)
    for spare in axes[count:]:
        spare.set_visible(False)
    for panel in axes:
        panel.tick_params(labelbottom=True, labelleft=True)
    return figure, axes[:count]


def columns_of(count: int) -> int:
    """Number of panels in a row, given ``count`` panels."""
    return count if count <= 3 else 2 if count == 4 else 3


def draw_points(
    axes: Axes, own: pd.DataFrame, x: str, y: str, look: tuple[str, str], faint: bool = False
) -> None:
    """Draws the points of a method, hollow if a wall-clock speed-up is within timing noise."""
    hollow = np.zeros(len(own), bool)
    for name in (f"{x}.flagged", f"{y}.flagged"):
        if name in own:
            # Dense is never hollow: it is the reference.
            hollow |= own[name].fillna(False).to_numpy(bool) & ~own["method"].isin(DENSE)
    shape: dict[str, Any] = mark(look) | {"linestyle": ""}
    if faint:
        shape |= {"markersize": 4, "alpha": 0.4, "zorder": 4}
    edge = {"markerfacecolor": "white", "markeredgecolor": look[0], "markeredgewidth": 1}
    axes.plot(own[x][~hollow], own[y][~hollow], **shape)
    axes.plot(own[x][hollow], own[y][hollow], **(shape | edge))


def draw_intervals(
    axes: Axes, own: pd.DataFrame, x: str, y: str, colour: str, shift: float = 0.0
) -> None:
    """Draws the intervals that are known, in both directions.

    ``shift`` moves the vertical ones to the right, in points of type, so that those of several
    methods at the same speed-up stand side by side.
    """
    from matplotlib.transforms import ScaledTranslation

    thin: dict[str, Any] = {"color": colour, "linewidth": 0.7, "alpha": 0.6, "zorder": 2}
    axes.hlines(own[y], own[f"{x}.low"], own[f"{x}.high"], **thin)
    figure = axes.get_figure(root=True)
    assert figure is not None, "the axes are drawn on"
    place = axes.transData + ScaledTranslation(shift / 72, 0, figure.dpi_scale_trans)
    axes.vlines(own[x], own[f"{y}.low"], own[f"{y}.high"], **thin, transform=place)


def legend(figure: Figure, methods: pd.Series, trials: pd.DataFrame, lines: bool) -> None:
    """Adds the legend to the right of the panels; ``lines`` is true if fronts are drawn."""
    from matplotlib.lines import Line2D

    given = looks(trials["method"])
    join = "-" if lines else ""
    handles = [
        Line2D([], [], linestyle=join, linewidth=1.6, label=method, **mark(given[method]))
        for method in order(methods)
    ]
    extra, _ = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles=[*handles, *extra], loc="outside right center")


def notes_on_points(rows: pd.DataFrame, trials: pd.DataFrame) -> list[str]:
    """Notes for the caption: the number of seeds, and the failed trials."""
    notes = [words.seeds(rows)]
    if rows["seeds"].max() > 1:
        notes.append("bars of FLOPs: from smallest to largest")
    failed = int((trials["status"] == "failed").sum())
    if failed:
        notes.append(f"{words.count(failed, 'failed trial')} not shown")
    return notes


def device_names(timings: list[TimingPass]) -> dict[str, set[str]]:
    """The devices of every timing label, of the newest pass of each task, as in the frame."""
    newest = {(timing.task, timing.setting.label): timing.setting for timing in timings}
    found: dict[str, set[str]] = defaultdict(set)
    for (_, label), setting in newest.items():
        found[label].add(setting.device_name or "unknown device")
    return found


def timed_on(rows: pd.DataFrame, devices: Devices) -> str:
    """The machine of a wall-clock figure: the devices and threads of its settings."""
    settings = {without_backend(label) for label in labels_of(rows)}
    names = sorted({words.machine_name(own) for label in settings for own in devices[label]})
    threads = sorted({words.threads_of(label) for label in settings})
    return ", ".join([words.listed(names), words.in_threads(threads)])


def note_on_timings(rows: pd.DataFrame) -> str:
    """Note for the caption: the reference of real speed-ups, and the meaning of hollow marks."""
    reduced = rows[~rows["method"].isin(DENSE)]
    flags = [f"real.{label}.flagged" for label in settings_of(rows)]
    noisy = any(reduced[flag].fillna(False).any() for flag in flags)
    against = "Timed against the fastest dense model"
    if backends_of(rows):
        against += " of any backend (x best), each in its own fastest backend"
    return f"{against}{'; hollow: within timing noise' * noisy}"

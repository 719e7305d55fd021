"""The figure of what each setting of a method is worth: a heat map of settings by budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lotbench.report import style, words
from lotbench.report.content import Content
from lotbench.report.differences import varying
from lotbench.report.looks import order
from lotbench.report.pareto import DENSE
from lotbench.report.rows import is_missing
from lotbench.report.scores import axis_depth

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TARGET = "target="
# Darker cells than this share of the scale have white text.
DARK = 0.55


@dataclass(frozen=True)
class SettingGrid:
    """The settings of one method at the budgets or targets that they share."""

    method: str
    parameters: list[str]
    """The parameters in which the settings differ."""
    settings: list[str]
    """Their values, one text per setting; the one with the largest area on selection has a star."""
    budget: str
    """What the columns are: ``FLOPs speed-up`` for targets, else the name of the budget."""
    columns: list[str]
    gains: np.ndarray
    """Score minus the reference's in points, NaN where not scored; shape (settings, columns)."""
    speedups: np.ndarray | None
    """FLOPs speed-up of every cell, if the columns are not targets; shape (settings, columns)."""


def setting_grids(task: str, content: Content) -> list[SettingGrid]:
    """One grid for each method with several settings that share at least two budgets or targets."""
    rows = content.rows[(content.rows["task"] == task) & ~content.rows["method"].isin(DENSE)]
    found = content.evidence.get(task)
    areas = found.areas_on_selection() if found else {}
    grids = []
    for method in order(rows["method"]):
        own = rows[(rows["method"] == method) & rows["gain"].notna()]
        targets = own["point"].str.startswith(TARGET)
        # Where there are targets, the budget of training is one more point that few settings share.
        own = own[targets] if targets.any() else own
        counts = own.groupby("point")["setting"].nunique()
        if (counts > 1).sum() > 1:
            table = content.table[content.table["method"] == method]
            grids.append(_grid(method, own, varying(table[table["task"] == task]), areas))
    return grids


def setting_map(
    rows: pd.DataFrame, trials: pd.DataFrame, reference: str, grids: list[SettingGrid]
) -> Figure:
    """Points below the reference by setting and budget, one panel per method.

    Parameters
    ----------
    rows, trials : DataFrame
        The points and the frame of the task.
    reference : str
        The label of the scale.
    grids : list of SettingGrid
    """
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    norm = Normalize(-axis_depth(rows), 0)
    heights = [
        0.75 + (0.2 if grid.speedups is None else 0.32) * len(grid.settings) for grid in grids
    ]
    width = max(5.0, 2.6 + 0.5 * max(len(grid.columns) for grid in grids))
    figure = Figure(figsize=(width, 0.9 + sum(heights)), layout="constrained")
    axes = figure.subplots(len(grids), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, grid in zip(axes, grids, strict=True):
        _heat_map(panel, grid, norm)
    bar = {"aspect": 25, "shrink": min(0.9, 2.5 / sum(heights)), "anchor": (0, 1)}
    image = axes[0].images[0]
    # In two lines, since the figure of one method is not high.
    label = reference.replace(" (", "\n(")
    figure.colorbar(image, ax=list(axes), label=label, extend="both", **bar)
    style.title(figure, words.title(trials, words.trained_on(trials)))
    notes = ["*: the largest area on selection, by which a setting is chosen"]
    if any(grid.speedups is not None for grid in grids):
        notes.append(f"with {words.TIMES}: FLOPs speed-up")
    style.caption(figure, ["; ".join([*notes, f"scores on validation, {words.seeds(rows)}"])])
    return figure


def _grid(
    method: str, own: pd.DataFrame, values: Mapping[str, Mapping[str, Any]], areas: dict[str, float]
) -> SettingGrid:
    settings = [setting for setting in values if (own["setting"] == setting).any()]
    settings.sort(key=lambda setting: [_rank(value) for value in values[setting].values()])
    speed = own.groupby("point")["flops_speedup"].mean()
    points = sorted(speed.index, key=lambda point: (_target(point), speed[point]))
    gains, speedups = (
        own.pivot(index="setting", columns="point", values=name)
        .reindex(index=settings, columns=points)
        .to_numpy(float)
        for name in ("gain", "flops_speedup")
    )
    targets = all(point.startswith(TARGET) for point in points)
    names = {point.partition("=")[0] for point in points if point.count("=") == 1}
    shared = not targets and len(names) == 1 and all("=" in point for point in points)
    columns = [point.partition("=")[2] if targets or shared else point for point in points]
    best = max(settings, key=lambda setting: areas.get(setting, -math.inf))
    stars = {best: " *"} if best in areas else {}
    return SettingGrid(
        method,
        list(values[settings[0]]),
        [f"{_written(values[setting])}{stars.get(setting, '')}" for setting in settings],
        "FLOPs speed-up" if targets else names.pop() if shared else "budget",
        [f"{column}{words.TIMES * targets}" for column in columns],
        gains,
        None if targets else speedups,
    )


def _heat_map(axes: Axes, grid: SettingGrid, norm: Any) -> None:
    axes.imshow(grid.gains, cmap="cividis", norm=norm, aspect="auto")
    for (line, column), gain in np.ndenumerate(grid.gains):
        if not math.isfinite(gain):
            continue
        text = f"{round(gain, 1) + 0.0:+.1f}".replace("-", "\N{MINUS SIGN}")
        if grid.speedups is not None:
            text += f"\n{grid.speedups[line, column]:.1f}{words.TIMES}"
        tone = {"fontsize": 6, "color": "#222222" if norm(gain) > DARK else "white"}
        axes.text(column, line, text, ha="center", va="center", **tone)
    axes.set_title(grid.method, loc="left", fontweight="bold", pad=3)
    axes.set_title(", ".join(grid.parameters), loc="right", fontsize=7, pad=3)
    axes.set_xlabel(grid.budget)
    axes.set_xticks(range(len(grid.columns)), grid.columns)
    axes.set_yticks(range(len(grid.settings)), grid.settings)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _target(point: str) -> float:
    return float(point.removeprefix(TARGET)) if point.startswith(TARGET) else 0.0


def _rank(value: Any) -> tuple[bool, float, str]:
    """Numbers by value, then texts."""
    number = isinstance(value, int | float) and not is_missing(value)
    return (False, float(value), "") if number else (True, 0.0, str(value))


def _written(values: Mapping[str, Any]) -> str:
    """``0.1``; ``0.1, 0.002`` for two parameters."""
    return ", ".join(
        "default" if is_missing(value) else f"{value:g}" if isinstance(value, float) else str(value)
        for value in values.values()
    )

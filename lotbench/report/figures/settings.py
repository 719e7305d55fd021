"""What each setting of a method is worth: a heat map of settings by budget."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from lotbench.budget import Budget
from lotbench.report import text
from lotbench.report.figures import style
from lotbench.report.figures.front import axis_depth, gain_title
from lotbench.report.figures.heat import HeatMap, draw
from lotbench.report.looks import order
from lotbench.statistics.runs import TARGET, Values, varying
from lotbench.statistics.scored import DENSE_METHODS, Scored, value_text
from lotbench.statistics.store_view import StoreView

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TARGETS = "FLOPs speed-up"
CHOSEN = "*: the largest area on selection, by which a setting is chosen"


class SettingMap:
    """The settings of one method at the budgets or targets that they share."""

    def __init__(
        self, own: list[Scored], params: dict[str, Values], areas: dict[str, float]
    ) -> None:
        """The models of the method, and by setting its parameters and its area on selection."""
        models = {(each.setting, each.at): each for each in own}
        scored = {each.setting for each in own}
        settings = [setting for setting in params if setting in scored]
        settings.sort(key=lambda setting: [_rank(value) for value in params[setting].values()])
        speeds: dict[Budget | None, list[float]] = defaultdict(list)
        for model in own:
            speeds[model.at].append(model.target or model.flops.value)
        budgets = sorted(speeds, key=lambda at: np.mean(speeds[at]))
        kinds = {at.name if at else "" for at in budgets}
        kind = kinds.pop() if len(kinds) == 1 else ""
        columns = [str(at.value if at and kind else at or "") for at in budgets]
        if kind == TARGET:
            columns = [f"{at.value:g}{text.TIMES}" for at in budgets if at]
        gains = np.full((len(settings), len(budgets)), np.nan)
        texts = [[text.NONE] * len(budgets) for _ in settings]
        for line, setting in enumerate(settings):
            for column, at in enumerate(budgets):
                if each := models.get((setting, at)):
                    gains[line, column] = each.gain.value
                    speed = "" if kind == TARGET else f"\n({each.flops.value:.1f}{text.TIMES})"
                    texts[line][column] = f"{text.signed(each.gain.value)}{speed}"
        rows = [", ".join(map(value_text, params[setting].values())) for setting in settings]
        best = max(settings, key=lambda setting: areas.get(setting, -math.inf))
        if best in areas:
            rows[settings.index(best)] += " *"
        self.heat = HeatMap(own[0].method, rows, columns, gains, texts)
        """Score minus the reference's in points, by setting and budget; a star marks the setting
        with the largest area on selection."""
        self.parameters = list(params[settings[0]])
        """The parameters in which the settings differ."""
        self.budget = TARGETS if kind == TARGET else kind or "budget"
        """What the columns are: `TARGETS`, or the name of the budget; then cells have speed-ups."""


def data(study: StoreView, task: str) -> list[SettingMap]:
    """One map for each method with several settings that share at least two budgets or targets."""
    models = [own for own in study.validated(task) if own.method not in DENSE_METHODS]
    models = [own for own in models if math.isfinite(own.gain.value)]
    evidence = study.evidence.get(task)
    areas = evidence.areas_on_selection() if evidence else {}
    maps = []
    for method in order(own.method for own in models):
        own = [each for each in models if each.method == method]
        # Where there are targets, the budget of training is one more that few settings share.
        own = [each for each in own if each.target is not None] or own
        settings: dict[Budget | None, set[str]] = defaultdict(set)
        for each in own:
            settings[each.at].add(each.setting)
        if sum(len(each) > 1 for each in settings.values()) > 1:
            params = varying(run for run in study.runs_on(task) if run.method == method)
            maps.append(SettingMap(own, params, areas))
    return maps


def figure(study: StoreView, task: str) -> Figure | None:
    """The figure, one panel per method; None if no method has settings to compare."""
    from matplotlib.colors import Normalize

    maps, models = data(study, task), study.validated(task)
    if not maps:
        return None
    norm = Normalize(-axis_depth(models), 0)
    lines = [0.2 if own.budget == TARGETS else 0.32 for own in maps]
    heights = [0.75 + line * len(own.heat.rows) for line, own in zip(lines, maps, strict=True)]
    width = max(5.0, 2.6 + 0.5 * max(len(own.heat.columns) for own in maps))
    # High enough for the label of the colours.
    result = style.figure(width, max(2.5, 0.9 + sum(heights)))
    panels = result.subplots(len(maps), 1, squeeze=False, height_ratios=heights)[:, 0]
    images = [draw(axes, own.heat, "cividis", norm) for axes, own in zip(panels, maps, strict=True)]
    for axes, own in zip(panels, maps, strict=True):
        axes.set_xlabel(own.budget)
    bar = {"aspect": 25, "shrink": min(0.9, 2.5 / sum(heights)), "anchor": (0, 1)}
    # In two lines, since the figure of one method is not high.
    label = gain_title(models[0].metric, study.references[task]).replace(" (", "\n(")
    result.colorbar(images[0], ax=list(panels), label=label, extend="both", **bar)
    runs = study.runs_on(task)
    style.title(result, text.title(runs, text.trained_on(runs)))
    speeds = ["in brackets: FLOPs speed-up"] * any(own.budget != TARGETS for own in maps)
    notes = [CHOSEN, *speeds, f"scores on validation, {text.seeds(models)}"]
    rows = "; ".join(f"{own.heat.title} by {', '.join(own.parameters)}" for own in maps)
    style.caption(result, [f"Rows: {rows}", *notes])
    return result


def _rank(value: Any) -> tuple[bool, float, str]:
    """Numbers by value, then texts."""
    number = isinstance(value, int | float)
    return (False, float(value), "") if number else (True, 0.0, str(value))

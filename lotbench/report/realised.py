"""The figure of wall-clock speed-up against FLOPs speed-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lotbench.report import style, words
from lotbench.report.looks import GREY, looks, order
from lotbench.report.panels import (
    Devices,
    draw_intervals,
    draw_points,
    legend,
    note_on_timings,
    notes_on_points,
    panels,
    timed_on,
)
from lotbench.report.pareto import settings_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def real_vs_flops(rows: pd.DataFrame, trials: pd.DataFrame, devices: Devices) -> Figure:
    """Wall-clock over FLOPs speed-up, one panel per timing setting.

    Both are of the timed texts, if the pass has their FLOPs; else FLOPs are of the whole split.
    """
    settings = settings_of(rows)
    figure, axes = panels(len(settings), 2.9, 2.9)
    given = looks(trials["method"])
    thin = {"color": GREY, "linewidth": 0.8}
    for panel, label in zip(axes, settings, strict=True):
        real, flops = f"real.{label}", f"real.{label}.flops"
        panel.axline((1, 1), (2, 2), **thin, label="real = FLOPs")
        panel.axhline(1, **thin, linestyle=(0, (4, 2)), label="as fast as dense")
        for method in order(rows["method"]):
            own = rows[rows["method"] == method].dropna(subset=[real])
            draw_intervals(panel, own, flops, real, given[method][0])
            draw_points(panel, own, flops, real, given[method])
        panel.set_title(words.timing_setting(label))
        panel.set_xlabel("FLOPs speed-up (log scale)")
        panel.set_ylabel("Real speed-up (log scale)")
    # The same limits on both axes, so that equality is the diagonal.
    both = [axis for panel in axes for axis in (panel.xaxis, panel.yaxis)]
    shown = [f"real.{label}{end}" for label in settings for end in ("", ".flops")]
    style.speedup_limits(both, rows, shown)
    timed = rows[rows[[f"real.{label}" for label in settings]].notna().any(axis=1)]
    style.title(figure, words.title(trials, timed_on(rows, devices)))
    legend(figure, timed["method"], trials, lines=False)
    style.caption(figure, ["; ".join([note_on_timings(rows), *notes_on_points(timed, trials)])])
    return figure

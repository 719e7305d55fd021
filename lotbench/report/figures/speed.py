"""Real against FLOPs speed-up of the timed texts."""

from __future__ import annotations

from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

from lotbench.report import text
from lotbench.report.figures import base, style
from lotbench.report.looks import GREY, looks, order
from lotbench.report.tables.clock import real_speedups
from lotbench.statistics.scored import wheres
from lotbench.statistics.store_view import StoreView

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(study: StoreView, task: str) -> Figure | None:
    """The figure, one panel per timing setting; None without timings."""
    timed, given = [own for own in study.validated(task) if own.timed], looks(study.methods(task))
    if not timed:
        return None
    speedups = {where: (base.timed_flops(where), base.real(where)) for where in wheres(timed)}
    models, _, named = base.apart(timed, attrgetter("flops"), *chain(*speedups.values()))
    speeds = {where: base.shown(models, *xy, where) for where, xy in speedups.items()}
    result, axes = base.panels(len(speeds), 2.9 if len(speeds) > 1 else 4.4, 2.9)
    thin = {"color": GREY, "linewidth": 0.8}
    for panel, (where, shown) in zip(axes, speeds.items(), strict=True):
        panel.axline((1, 1), (2, 2), **thin, label="real = FLOPs")
        panel.axhline(1, **thin, linestyle=(0, (4, 2)), label="as fast as dense")
        for method in order(each.model.method for each in shown):
            ours = [each for each in shown if each.model.method == method]
            base.draw_intervals(panel, ours, given[method].line)
            base.draw_marks(panel, ours, given[method])
        panel.set_title(text.timing_setting(where))
        panel.set_xlabel("FLOPs speed-up (log scale)")
        panel.set_ylabel(base.real_axis(models, where))
    # The same limits on both axes, so that equality is the diagonal.
    both = [axis for panel in axes for axis in (panel.xaxis, panel.yaxis)]
    values = base.ends(xy for own in speeds.values() for each in own for xy in (each.x, each.y))
    style.speedup_limits(both, values)
    style.title(result, base.timed_title(study, task, wheres(models)))
    base.legend(result, models, given, lines=False)
    notes = [real_speedups(models, [*speeds]), "bars: 95% intervals"]
    style.caption(result, [*notes, *base.notes_on_models(models, study.runs_on(task))], named)
    return result

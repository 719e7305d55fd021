"""Area against training time: what a method's training costs, and what it brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lotbench.report import text
from lotbench.report.figures import style
from lotbench.report.looks import looks, mark, order
from lotbench.scoring.area import LEAST_END
from lotbench.statistics.runs import training_costs
from lotbench.statistics.store_view import StoreView

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(study: StoreView, task: str) -> Figure | None:
    """The figure; None if fewer than two methods have an area and a training time against dense.

    It is also None without a common range of speed-ups.
    """
    evidence, runs = study.evidence[task], study.runs_on(task)
    areas, trainings = evidence.areas(), training_costs(runs)
    costs = {m: (trainings[m], areas[m].value) for m in order(areas) if m in trainings}
    if evidence.end < LEAST_END or len(costs) < 2:
        return None
    result = style.figure(5.2, 3.2)
    axes = result.subplots()
    given = looks(costs)
    for method, (training, (value, low, high)) in costs.items():
        line = {"color": given[method].line, "linewidth": 1.0, "alpha": 0.7, "zorder": 2}
        axes.vlines(training, low, high, **line)
        axes.plot(training, value, linestyle="", label=method, **mark(given[method]))
    axes.set_ylim(bottom=0)
    ends = [1.0, *(training for training, _ in costs.values())]
    style.log_speedup(axes.xaxis, 0.8 * min(ends), 1.25 * max(ends))
    axes.set_xlabel("training time of a trial, dense = 1")
    axes.set_ylabel("area")
    result.legend(loc="outside right center")
    style.title(result, text.title(runs, text.trained_on(runs)))
    unit = text.unit_of(runs)
    note = (
        f"area: in points above the reference minus {evidence.floor:g}, times doublings of FLOPs "
        f"speed-up, to {evidence.end:.1f}{text.TIMES}; lines: 95% intervals over {unit} and "
        "seeds; training time: wall-clock, the median over trials against dense with the same "
        "seed, a rough number"
    )
    style.caption(result, [note])
    return result

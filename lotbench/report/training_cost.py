"""What training a method costs, against its area."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lotbench.report import style, words
from lotbench.report.area import FLOOR, LEAST_END
from lotbench.report.content import Content
from lotbench.report.looks import looks, mark, order

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def training_costs(task: str, content: Content) -> dict[str, float]:
    """Training time of every method against dense with the same seed: the median over its trials.

    Wall-clock times: trials train side by side, so a ratio is a rough one.  Methods without one are
    left out.
    """
    done = content.table[(content.table["task"] == task) & (content.table["status"] == "done")]
    trials = done.drop_duplicates("trial_id").dropna(subset=["train_seconds"])
    dense = trials[trials["method"] == "dense"].groupby("seed")["train_seconds"].median()
    ratios = trials["train_seconds"] / trials["seed"].map(dense)
    medians = ratios.groupby(trials["method"]).median().dropna()
    return {method: float(medians[method]) for method in order(medians.index)}


def gain_vs_training(task: str, content: Content) -> Figure | None:
    """The areas with their intervals by training time.

    None if fewer than two methods have both, or no common range of speed-ups.
    """
    from matplotlib.figure import Figure

    found = content.evidence[task]
    areas, costs = found.areas(), training_costs(task, content)
    shown = [method for method in order(areas) if method in costs]
    if len(shown) < 2 or found.end < LEAST_END:
        return None
    trials = content.table[content.table["task"] == task]
    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    axes = figure.subplots()
    given = looks(shown)
    for method in shown:
        value, low, high = areas[method].value
        line = {"color": given[method][0], "linewidth": 1.0, "alpha": 0.7, "zorder": 2}
        axes.vlines(costs[method], low, high, **line)
        axes.plot(costs[method], value, linestyle="", label=method, **mark(given[method]))
    axes.set_ylim(bottom=0)
    ends = [costs[method] for method in shown]
    style.log_speedup(axes.xaxis, 0.8 * min([*ends, 1.0]), 1.25 * max([*ends, 1.0]))
    axes.set_xlabel("training time of a trial, dense = 1")
    axes.set_ylabel("area")
    figure.legend(loc="outside right center")
    style.title(figure, words.title(trials, words.trained_on(trials)))
    notes = (
        f"area: in points above the reference minus {FLOOR:g}, times doublings of FLOPs speed-up, "
        f"to {found.end:.1f}{words.TIMES}; lines: 95% intervals over texts and seeds; training "
        "time: wall-clock, the median over trials beside dense with the same seed, a rough number"
    )
    style.caption(figure, [notes])
    return figure

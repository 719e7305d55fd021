"""Time by section: one stacked bar per model; its length is the model's time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from lotbench.report import looks, text
from lotbench.report.figures import style
from lotbench.report.figures.base import reduced, timed_title
from lotbench.statistics.scored import DENSE_METHODS, Scored, evenly, on_front
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import ModelTimes, Where

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The sections of a timing pass in the order of the bars, with their names and colours.
SECTIONS = {
    "attention": ("attention", looks.BLUE),
    "feed_forward": ("feed-forward", looks.SKY),
    "received_attention": ("attention received", looks.PURPLE),
    "decisions": ("decisions (routers, ranks)", looks.VERMILLION),
    "gather_scatter": ("gather and scatter", looks.YELLOW),
    "rest": ("embedding and head", looks.GREY),
}
# Most bars of a method.
MOST_BARS = 3


class Bar:
    """The time of one model, in percent of that of the fastest dense model of its backend."""

    def __init__(self, model: Scored, timed: ModelTimes) -> None:
        self.model = model
        self.total = 100 / timed.same.value
        shares = [timed.shares.get(name) for name in SECTIONS]
        self.parts = [None if share is None else share * self.total for share in shares]
        """By section; None if the pass did not measure it."""
        self.flops = 100 / timed.flops.value
        """The FLOPs, in percent of dense."""


class Bars(NamedTuple):
    """Time by section in one timing setting and backend, one bar per model."""

    where: Where
    backend: str
    rows: list[Bar]


def chosen(models: Sequence[Scored]) -> list[Scored]:
    """The models with bars: the dense ones, and some of each method's front, with shares."""
    timed = [own for own in models if any(each.shares for each in own.backends.values())]
    found = [own for method in DENSE_METHODS for own in timed if own.method == method]
    own = reduced(timed)
    for method in looks.order(each.method for each in own):
        found += evenly(on_front(own, method), MOST_BARS)
    return found


def data(models: Sequence[Scored]) -> list[Bars]:
    """The bars of `chosen` models, by timing setting and backend with shares."""
    own = chosen(models)
    places = sorted({place for each in own for place, at in each.backends.items() if at.shares})
    found = []
    for place in places:
        timed = [each for each in own if place in each.backends]
        found.append(Bars(*place, [Bar(each, each.backends[place]) for each in timed]))
    return found


def figure(study: StoreView, task: str) -> Figure | None:
    """The figure, one panel per timing setting and backend; None without shares.

    A mark shows where the bar would end if time were proportional to the FLOPs of the timed texts.
    """
    models = chosen(study.validated(task))
    bars = data(models)
    if not bars:
        return None
    columns = min(len(bars), 2)
    lines = math.ceil(len(bars) / columns)
    # In inches.  Width: 3.9 for names and legend.  Height: 0.9 for title and caption, 0.7 for the
    # title and labels of a panel, 0.19 for a bar.
    height = 0.9 + lines * (0.7 + 0.19 * len(models))
    result = style.figure(3.9 + 2.6 * columns, height)
    grid = result.subplots(lines, columns, sharey=True, squeeze=False)
    for spare in grid.flat[len(bars) :]:
        spare.set_visible(False)
    for axes, own in zip(grid.flat, bars, strict=False):
        _draw(axes, own, models)
    grid[0, 0].set_yticks(range(len(models)), map(_name, models))
    grid[0, 0].invert_yaxis()
    result.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right center", fontsize=7)
    style.title(result, timed_title(study, task, {own.where for own in bars}))
    small = "next to the bars: FLOPs speed-up and score of models on each method's front"
    notes = ["the encoder alone, against the fastest dense model of the same backend"]
    notes += [small, text.seeds(models)]
    received = list(SECTIONS).index("received_attention")
    if any(all(bar.parts[received] is None for bar in own.rows) for own in bars):
        notes.append("passes without attention received have it within attention")
    style.caption(result, notes)
    return result


def _name(model: Scored) -> str:
    return f"{model.method}  {text.cost_and_score(model)}"


def _draw(axes: Axes, own: Bars, models: list[Scored]) -> None:
    places = [models.index(bar.model) for bar in own.rows]
    left = [0.0] * len(places)
    for index, (name, colour) in enumerate(SECTIONS.values()):
        width = [bar.parts[index] or 0.0 for bar in own.rows]
        drawn = axes.barh(places, width, left=left, height=0.75, color=colour, label=name)
        for patch, bar, part in zip(drawn, own.rows, width, strict=True):
            tip = {"": _name(bar.model), name: f"{part:.0f} of {bar.total:.0f}"}
            style.tag(patch, bar.model.method, tip)
        left = [start + part for start, part in zip(left, width, strict=True)]
    flops = [bar.flops for bar in own.rows]
    mark = {"marker": "|", "markersize": 9, "markeredgewidth": 1.5, "color": looks.BLACK}
    axes.plot(flops, places, **mark, linestyle="", label="FLOPs of dense (%)")
    axes.set_title(f"{text.timing_setting(own.where)}, {own.backend}")
    axes.set_xlabel("Time, fastest dense = 100")
    axes.margins(y=0.01)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)

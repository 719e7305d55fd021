"""Shared parts of figures of scored models: panels, marks, intervals, legend and captions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lotbench.report import text
from lotbench.report.figures import style
from lotbench.report.looks import Style, mark, order
from lotbench.report.tables.clock import calls_timed, model_name
from lotbench.statistics.bootstrap import UNKNOWN, Estimate
from lotbench.statistics.runs import Run
from lotbench.statistics.scored import DENSE_METHODS, Scored, front
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import Where

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Coordinate = Callable[[Scored], Estimate]

# Faster models are named, not drawn: a bag of embeddings would leave no room for the others.
FASTEST = 100.0
# What recedes.
FAINT = {"markersize": 4, "alpha": 0.4, "zorder": 4}


@dataclass(frozen=True)
class Shown:
    """A scored model in a chart."""

    model: Scored
    x: Estimate
    y: Estimate
    on_front: bool
    hollow: bool
    """True if its wall-clock speed-up is within timing noise."""


def shown(
    models: Iterable[Scored], x: Coordinate, y: Coordinate, where: Where | None = None
) -> list[Shown]:
    """The models that have both coordinates, by method in the order of legends, then by ``x``.

    ``where`` is the timing setting of the coordinates, if they are of one.
    """
    found = []
    own = [m for m in models if math.isfinite(x(m).value) and math.isfinite(y(m).value)]
    for method in order(m.method for m in own):
        ours = [m for m in own if m.method == method]
        ours.sort(key=lambda m: (x(m).value, y(m).value))
        best = front([x(m).value for m in ours], [y(m).value for m in ours])
        for model, on_front in zip(ours, best, strict=True):
            # Dense is never hollow: it is the reference.
            hollow = (
                where is not None and model.timed[where].flagged and method not in DENSE_METHODS
            )
            found.append(Shown(model, x(model), y(model), bool(on_front), hollow))
    return found


def apart(
    models: Iterable[Scored], *speedups: Coordinate
) -> tuple[list[Scored], list[Scored], list[str]]:
    """The models to draw, those over `FASTEST` times as fast, and why these are left out."""
    models = list(models)
    beyond = [own for own in models if any(x(own).value > FASTEST for x in speedups)]
    drawn = [own for own in models if own not in beyond]
    if not drawn:
        return models, [], []
    names = [f"{own.method} {own.name}".strip() + f" ({own.gain.value:+.0f})" for own in beyond]
    note = f"over {FASTEST:g} times as fast: {text.some(names)}"
    return drawn, beyond, [note] if names else []


def real(where: Where) -> Coordinate:
    """The wall-clock speed-up (x best) in a timing setting; unknown if not timed there."""

    def coordinate(own: Scored) -> Estimate:
        timed = own.timed.get(where)
        return timed.best if timed and timed.best else UNKNOWN

    return coordinate


def timed_flops(where: Where) -> Coordinate:
    """The FLOPs speed-up on the texts of a timing setting; unknown if not timed there."""
    return lambda own: own.timed[where].flops if where in own.timed else UNKNOWN


def real_axis(models: Iterable[Scored], where: Where) -> str:
    """The label of an axis of `real` speed-ups."""
    return f"Speed-up of {'a call' if calls_timed(models, where) else 'the encoder'} (log scale)"


def ends(values: Iterable[Estimate]) -> list[float]:
    """The values and the ends of their intervals."""
    return [each for value in values for each in value]


def reduced(models: Iterable[Scored]) -> list[Scored]:
    """The models of methods other than dense with a score."""
    return [
        own for own in models if own.method not in DENSE_METHODS and math.isfinite(own.score.value)
    ]


def panels(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` panels of the given size, in inches, that share their axes."""
    columns = columns_of(count)
    lines = math.ceil(count / columns)
    figure = style.figure(1.3 + width * columns, 0.7 + height * lines)
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


def draw_marks(axes: Axes, own: Sequence[Shown], look: Style, faint: bool = False) -> None:
    """Draws the marks of a method's models, which tell of them on a page."""
    shape: dict[str, Any] = mark(look) | {"linestyle": ""}
    if faint:
        shape |= FAINT
    edge = {"markerfacecolor": "white", "markeredgecolor": look.line, "markeredgewidth": 1}
    for shown in own:
        form = shape | edge if shown.hollow else shape
        (drawn,) = axes.plot([shown.x.value], [shown.y.value], **form)
        style.tag(drawn, shown.model.method, tip(shown.model))


def tip(model: Scored) -> dict[str, str]:
    """What a page tells of a model: configuration, scores and speed-ups with intervals."""
    lines = {
        "": model.method,
        "configuration": model_name(model) or "defaults",
        text.metric(model.metric): text.score_with_interval(model.score, model.metric),
        "against the reference": text.with_interval(model.gain),
        "FLOPs speed-up": f"{text.speedup(model.flops.value)}{text.TIMES}",
    }
    for where, timed in model.timed.items():
        if timed.best:
            name = text.timing_setting(where)
            best = f"{text.with_interval(timed.best, text.TIMES)}{', noisy' * timed.noisy}"
            lines[name] = f"{best}, in {timed.backend}"
            if timed.call and timed.encoder:
                lines[f"{name}, encoder alone"] = text.with_interval(timed.encoder, text.TIMES)
            lines[f"{name}, same backend"] = text.with_interval(timed.same, text.TIMES)
    lines["tokens kept"] = f"{100 * model.keep_ratio:.0f}%"
    if model.evidence_kept is not None:
        lines["evidence kept"] = f"{100 * model.evidence_kept:.0f}%"
    return lines | {"seeds": str(model.seeds)}


def draw_intervals(axes: Axes, own: Sequence[Shown], colour: str, shift: float = 0.0) -> None:
    """Draws the intervals of a method's models that are known, in both directions.

    ``shift`` moves the vertical ones to the right, in points of type, so that those of several
    methods at the same speed-up stand side by side.
    """
    from matplotlib.transforms import ScaledTranslation

    thin: dict[str, Any] = {"color": colour, "linewidth": 0.6, "alpha": 0.45, "zorder": 2}
    x, y = [each.x for each in own], [each.y for each in own]
    flat = axes.hlines([v.value for v in y], [v.low for v in x], [v.high for v in x], **thin)
    figure = axes.get_figure(root=True)
    assert figure is not None, "the axes are drawn on"
    place = axes.transData + ScaledTranslation(shift / 72, 0, figure.dpi_scale_trans)
    thin["transform"] = place
    upright = axes.vlines([v.value for v in x], [v.low for v in y], [v.high for v in y], **thin)
    for drawn in (flat, upright) if own else ():
        style.tag(drawn, own[0].model.method)


def legend(
    figure: Figure,
    models: Iterable[Scored],
    given: dict[str, Style],
    lines: bool,
    faint: Iterable[str] = (),
) -> None:
    """Adds the methods to the right of the panels; ``lines`` is true if fronts are drawn.

    The ``faint`` methods are drawn as in `draw_marks`.
    """
    from matplotlib.lines import Line2D

    handles = []
    for method in order(own.method for own in models):
        shape = mark(given[method]) | {"linewidth": 1.6, "label": method}
        if method in faint:
            shape |= FAINT | {"linewidth": 0.8}
        handles.append(Line2D([], [], linestyle=given[method].dash if lines else "", **shape))
    extra = {}
    for panel in figure.axes:
        extra |= {each.get_label(): each for each in panel.get_legend_handles_labels()[0]}
    handles += extra.values()
    # Long enough to show how a line is dashed.
    figure.legend(handles=handles, loc="outside right center", handlelength=3.2 if lines else 2.0)


def notes_on_models(models: Sequence[Scored], runs: Sequence[Run]) -> list[str]:
    """Notes for the caption: the number of seeds, and the failed trials."""
    notes = [text.seeds(models)]
    if failed := sum(run.failed for run in runs):
        notes.append(f"{text.count(failed, 'failed trial')} not shown")
    return notes


def timed_title(study: StoreView, task: str, settings: Iterable[Where]) -> str:
    """The title of a wall-clock figure, with the devices and threads of its settings."""
    return text.title(study.runs_on(task), text.timed_on(settings, study.device_names(task)))

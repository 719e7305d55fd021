"""The fastest model within one point on a task, in a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from lotbench.report import text
from lotbench.report.looks import order
from lotbench.report.recommend import Advice, Limits, Option, advise, default_where
from lotbench.report.tables.clock import TIMED_DROP
from lotbench.report.text import TIMES
from lotbench.statistics.evidence import Evidence, ties
from lotbench.statistics.runs import Row
from lotbench.statistics.store_view import StoreView

MOST_TIES = 3
"""Methods that a sentence names as ties."""


class Fastest(NamedTuple):
    """The fastest model within a point on a task; without a row if there is none."""

    sentence: str
    row: Row | None = None
    backend: str | None = None


def fastest(task: str, study: StoreView) -> Fastest:
    """What `recommend` chooses, or without times the largest of `Evidence.choices`."""
    found = study.evidence.get(task)
    if found is None:
        return Fastest("Neither dense nor the teacher has a score to compare with.")
    if not found.curves:
        return Fastest("Nothing can be chosen: no reduced model has scores on both splits.")
    unit = text.unit(found.models[0].metric)
    limit = f"{TIMED_DROP:g} {unit.removesuffix('s')}"
    where = default_where(study)
    limits = Limits(TIMED_DROP, None, where.batch_size, where.threads, where.device)
    advice = advise(task, study, limits)
    if advice is None:
        return _by_flops(task, study, found, limit, unit)
    if own := advice.choice:
        return Fastest(
            f"Fastest within {limit}: {_timed(own, advice, study, unit)}", own.row, own.backend
        )
    own = advice.nearest
    assert own is not None, "there are options"
    none = f"No timed model is within {limit} of {advice.reference} on selection; the nearest"
    return Fastest(f"{none}: {_timed(own, advice, study, unit)}", own.row, own.backend)


def _timed(own: Option, advice: Advice, study: StoreView, unit: str) -> str:
    """An option with its speed and score, and what ties with it."""
    part = "a call" if own.measured.contender.call else "the encoder alone"
    sentence = f"{_model(own.row, study)} in {own.backend}"
    near: list[str] = []
    if (speed := own.speedup) is not None:
        sentence += f", {part} {text.with_interval(speed, TIMES)} as fast as dense"
        speeds = {other.row.run.method: other.speedup for other in reversed(advice.good)}
        near = [name for name, each in speeds.items() if each and each.high >= speed.low]
    sentence += f", {text.with_interval(own.margins['validation'])} {unit} on validation"
    if own is advice.choice and own is not advice.holding:
        sentence += _past(advice.holding and _model(advice.holding.row, study))
    return f"{sentence}{_tied(near, own.row.run.method)}."


def _by_flops(task: str, study: StoreView, found: Evidence, limit: str, unit: str) -> Fastest:
    """The method with the largest FLOPs speed-up, where nothing is timed."""
    good = {method: own for method, own in found.choices(TIMED_DROP).items() if own.model}
    if not good:
        return Fastest(f"No method is within {limit} of {found.reference.name} on selection.")
    best = max(order(good), key=lambda method: good[method].speedup.value)
    own, rows = good[best], {row.key: row for row in reversed(study.rows[task])}
    models = [rows[model.key] for model in (own.model, own.holding) if model]
    speed, margin = text.with_interval(own.speedup, TIMES), text.with_interval(own.margin)
    sentence = f"Fastest within {limit}: {_model(models[0], study)}, {speed} fewer FLOPs"
    sentence += f", {margin} {unit} on validation"
    if own.model is not own.holding:
        sentence += _past(_model(models[1], study) if own.holding else None)
    return Fastest(f"{sentence}{_tied(ties(good), best)}. Nothing is timed.", models[0])


def _past(holding: str | None) -> str:
    return f", past the limit there ({holding or 'nothing'} keeps to it on both splits)"


def _model(row: Row, study: StoreView) -> str:
    """``static at 4×``, with the parameters in which it differs from others of the method."""
    point, models = row.evaluation, study.models[row.run.task]
    names = {own.setting: own.name for own in models if own.method == row.run.method}
    name = f"{row.run.method} {names[row.run.setting]}".strip()
    at = f"{point.target:g}{TIMES}" if point.target else point.budget
    return f"{name} at {at}" if at else name


def _tied(near: Iterable[str], best: str) -> str:
    names = [name for name in order(near) if name != best]
    if not names:
        return ""
    more = len(names) - MOST_TIES
    rest = [f"{more} more"] if more > 0 else []
    return f"; a tie with {text.listed([*names[:MOST_TIES], *rest])}"

"""The fastest model within one point on a task: a sentence, and its row."""

from __future__ import annotations

from typing import NamedTuple

from lotbench.report import findings, text
from lotbench.report.looks import order
from lotbench.report.recommend import Limits, advise, default_where
from lotbench.report.tables.clock import TIMED_DROP
from lotbench.statistics.runs import Row
from lotbench.statistics.store_view import StoreView


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
    unit, where = text.unit(found.models[0].metric), default_where(study)
    limits = Limits(TIMED_DROP, None, where.batch_size, where.threads, where.device)
    advice = advise(task, study, limits)
    if advice is None:
        choices, sentence = found.choices(TIMED_DROP), findings.within(found, unit)
        good = {name: own.model for name, own in choices.items() if own.model}
        best = max(order(good), key=lambda name: choices[name].speedup.value, default=None)
        row = best and next(row for row in study.rows[task] if row.key == good[best].key)
        return Fastest(f"{sentence} Nothing is timed.", row or None)
    limit = f"within {TIMED_DROP:g} {unit.removesuffix('s')}"
    own, begin = advice.choice, f"Fastest {limit}"
    if own is None:
        own = advice.nearest
        begin = f"No timed model is {limit} of {advice.reference} on selection; the nearest"
        assert own is not None, "there are options"
    return Fastest(f"{begin}: {findings.timed(own, advice, study)}.", own.row, own.backend)

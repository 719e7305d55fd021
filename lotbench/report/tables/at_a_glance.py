"""The small table of a screen: each method at some FLOPs speed-ups, or within one point."""

from __future__ import annotations

from math import inf, log

from lotbench.report import text
from lotbench.report.looks import order
from lotbench.report.recommend import default_where
from lotbench.report.tables.clock import TIMED_DROP, calls_timed
from lotbench.report.text import NONE, TIMES
from lotbench.statistics.evidence import Evidence, Margin, first, ties
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import Where

ASKED = (2.0, 4.0, 8.0)
"""FLOPs speed-ups; of the targets of a store the nearest are shown."""
TIE = "~"


def at_a_glance(study: StoreView, found: Evidence) -> tuple[list[list[str]], str]:
    """A header and a row for each method, and how to read them."""
    known = {at: own for at in found.targets if (own := found.at_target(at))}
    if not known:
        return _within(found)
    targets = sorted({min(known, key=lambda own: abs(log(own / at))) for at in ASKED})
    margins, where = {at: known[at] for at in targets}, default_where(study)
    models = [own.model for each in margins.values() for own in each.values()]
    part = "call" if calls_timed(models, where) else "encoder"
    columns = {f"{at:g}{TIMES} ": _scores(margins[at]) for at in targets}
    columns |= {
        f"{part} {at:g}{TIMES}": own for at in targets if (own := _speeds(margins[at], where))
    }
    middle = targets[len(targets) // 2]
    methods = order({method for own in margins.values() for method in own})
    place = {method: -own.value.value for method, own in margins[middle].items()}
    methods.sort(key=lambda method: place.get(method, inf))
    legend = f"{TIE} ties with the best; sorted by {middle:g}{TIMES}"
    if len(columns) > len(targets):
        what = "from text to answer" if part == "call" else "without tokenisation"
        legend = f"{TIE} ties with the best; {part}: {what}, {text.timing_setting(where)}"
    corner = f"{text.unit(models[0].metric)} with fewer FLOPs:"
    cells = [[own.get(method, f"{NONE} ") for own in columns.values()] for method in methods]
    rows = [[method, *own] for method, own in zip(methods, cells, strict=True)]
    return [[corner, *columns], *rows], legend


def _scores(margins: dict[str, Margin]) -> dict[str, str]:
    """By method its score against the reference, with a mark if it ties with the best."""
    best = first(margins)
    tied = best if len(best) > 1 else set()
    values = {method: text.signed(own.value.value) for method, own in margins.items()}
    return {method: value + (TIE if method in tied else " ") for method, value in values.items()}


def _speeds(margins: dict[str, Margin], where: Where) -> dict[str, str]:
    """By method how many times faster its model is on the clock."""
    timed = {method: own.model.timed.get(where) for method, own in margins.items()}
    return {m: f"{own.best.value:.1f}{TIMES}" for m, own in timed.items() if own and own.best}


def _within(found: Evidence) -> tuple[list[list[str]], str]:
    """The largest speed-up of each method within a point, where no targets were searched for."""
    choices, unit = found.choices(TIMED_DROP), text.unit(found.models[0].metric)
    tied = ties(choices)
    limit = f"{TIMED_DROP:g} {unit.removesuffix('s')}"
    rows = [[f"within {limit} of {found.reference.name}", "fewer FLOPs ", unit]]
    methods = sorted(order(choices), key=lambda method: -choices[method].speedup.value)
    for method in methods:
        own = choices[method]
        if own.model is None:
            rows.append([method, "none ", NONE])
        else:
            mark = TIE if method in tied else " "
            speed = f"{text.with_interval(own.speedup, TIMES)}{mark}"
            rows.append([method, speed, text.with_interval(own.margin)])
    return rows, f"{TIE} ties with the largest; in brackets 95% intervals"

"""The table of all methods at equal FLOPs, and beside them the model without layers."""

from __future__ import annotations

from lotbench.report import text
from lotbench.report.looks import order
from lotbench.report.tables.overview import reference
from lotbench.report.tables.render import Table
from lotbench.report.text import NONE, TIMES
from lotbench.statistics.evidence import first
from lotbench.statistics.scored import evenly
from lotbench.statistics.store_view import StoreView

FIRST, NOT_AHEAD = "*", "\N{DAGGER}"
# With more columns a table is too wide to read.
MOST_TARGETS = 8


def equal_flops(task: str, study: StoreView) -> Table | None:
    """A line per method, a column per target; None if there is nothing to compare at a target."""
    found = study.evidence.get(task)
    if found is None:
        return None
    margins = {target: found.at_target(target) for target in found.targets}
    enough = [target for target, own in margins.items() if len(own) > 1 or found.bag]
    if not enough:
        return None
    shown = evenly(enough, MOST_TARGETS)
    leaders = {target: first(margins[target]) for target in shown}
    ahead = {target: found.ahead_of_bag(margins[target]) for target in shown}
    lines = []
    for method in order({method for target in shown for method in margins[target]}):
        cells = []
        for target in shown:
            if (own := margins[target].get(method)) is None:
                cells.append(NONE)
                continue
            marks = FIRST * (method in leaders[target])
            marks += NOT_AHEAD * (found.bag is not None and method not in ahead[target])
            cells.append(f"{text.with_interval(own.value)} {marks}".rstrip())
        lines.append([method, *cells])
    unit, metric = text.unit_of(study.runs_on(task)), study.validated(task)[0].metric
    notes = [
        "each method with its best setting on selection, and its score minus that of the "
        f"reference on validation; in brackets the 95% interval over {unit} and seeds",
        f"{FIRST} no method at this speed-up is ahead of it (paired by seed and "
        f"{unit.removesuffix('s')}); {NONE}: not reached",
    ]
    if found.bag is not None:
        lines.append(["without layers", *[text.with_interval(found.bag.gain)] * len(shown)])
        notes.append(f"{NOT_AHEAD} not ahead of the model without layers, which is faster")
    against = f"in {text.unit(metric)} against {reference(found, metric)}"
    title = f"{task}, at equal FLOPs speed-ups, {against}"
    return Table(title, ["method", *(f"{t:g}{TIMES}" for t in shown)], [lines], notes)

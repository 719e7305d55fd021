"""The table of every metric of a task: of methods against the first."""

from __future__ import annotations

from contextlib import suppress

from lotbench.report import text
from lotbench.report.looks import order
from lotbench.report.tables.differences import cell
from lotbench.report.tables.render import Table
from lotbench.report.text import NONE, TIMES
from lotbench.statistics.bootstrap import estimate
from lotbench.statistics.drawn import Drawn, difference
from lotbench.statistics.store_view import StoreView


def metrics(task: str, study: StoreView) -> Table | None:
    """Every metric of the methods minus that of the first, at equal targets.

    None if there are no two methods, or if the rows have answers for the main metric alone.
    """
    found, evidence = study.metrics.get(task), study.evidence.get(task)
    if not found or evidence is None or len(evidence.curves) < 2:
        return None
    base, *others = order(evidence.curves)
    groups: dict[str, list[list[str]]] = {method: [] for method in others}
    for target in evidence.targets:
        chosen = {
            method: found[own.model.key]
            for method, own in evidence.at_target(target).items()
            if own.model.key in found
        }
        for method in others:
            if method in chosen and base in chosen:
                pairs = [(own, chosen[base][name]) for name, own in chosen[method].items()]
                cells = [_difference(own, first) for own, first in pairs]
                groups[method].append([method, f"{target:g}{TIMES}", *cells])
    names, unit = [*next(iter(found.values()))], text.unit_of(study.runs_on(task))
    notes = [
        f"in hundredths of the score, on validation, paired by seed and {unit.removesuffix('s')}; "
        f"in brackets the 95% interval over {unit} and seeds",
        "* where the interval excludes 0; one in twenty does so by chance",
        f"of several settings of a method, the one with the best {names[0]} on selection",
        *map(text.explained, names),
    ]
    title = f"{text.named(task, study)}: every metric minus that of {base}, at equal targets"
    lines = [own for own in groups.values() if own]
    return Table(title, ["method", "FLOPs", *names], lines, notes, texts=2) if lines else None


def _difference(own: Drawn, first: Drawn) -> str:
    with suppress(ValueError):  # no shared seed, or other texts
        return cell(estimate(difference(own, first)))
    return NONE

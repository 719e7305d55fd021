"""The table of mean drops below the reference over several tasks."""

from __future__ import annotations

import math

from lotbench.report import text
from lotbench.report.looks import order
from lotbench.report.tables.render import Table
from lotbench.report.text import NONE, TIMES
from lotbench.statistics.drops import Drops, drops
from lotbench.statistics.store_view import StoreView


def drops_of(study: StoreView) -> Drops | None:
    """The mean drops of the tasks of a store."""
    return drops({text.named(task, study): own for task, own in study.evidence.items()})


def ranked(found: Drops) -> list[str]:
    """The methods, the least mean drop first; those without a mean last, as in legends."""
    means = {method: own.value.value for method, own in found.mean.items()}
    every = order(set().union(*found.tasks.values()))
    return sorted(every, key=lambda method: means.get(method, math.inf))


def all_tasks(found: Drops) -> Table:
    """One line per method, the best first: its mean drop on every task, and over all of them."""
    lines = []
    for method in ranked(found):
        cells = [
            text.with_interval(own[method]) if method in own else NONE
            for own in found.tasks.values()
        ]
        mean = found.mean.get(method)
        if mean:
            cells += [text.with_interval(mean.value), str(mean.rank)]
        elif found.mean:
            cells += [NONE, NONE]
        lines.append([method, *cells])
    notes = [
        f"mean drop: {explained(found)}",
        "models are chosen on selection and read on validation; in brackets: 95% intervals over "
        "resampled texts and seeds (bootstrap)",
    ]
    columns = ["method", *found.tasks]
    if found.mean:
        columns += ["mean", "rank"]
        notes.append(
            "mean: over all tasks, for methods that every task has; rank: 1 plus the methods that "
            "are better with an interval of the difference above 0"
        )
        if len({*found.floors.values()}) > 1:
            notes.append("in the mean a task on which larger drops count weighs more")
    return Table("Mean drop below the reference, in points", columns, [lines], notes)


def explained(found: Drops) -> str:
    """What a mean drop is."""
    upto = [f"{end:.1f}{TIMES} on {name}" for name, end in found.ends.items()]
    most = [f"{floor:g}" for floor in {*found.floors.values()}]
    if len(most) > 1:
        most = [f"{floor:g} on {name}" for name, floor in found.floors.items()]
    return (
        "points below the reference, in the mean over the doublings of FLOPs speed-up from "
        f"1{TIMES} to {text.listed(upto)}; at most {text.listed(most)}, which also counts "
        "where a method cannot go"
    )

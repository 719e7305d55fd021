"""The table that opens a task: the largest speed-ups of every method, area and rank."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from lotbench.report import words
from lotbench.report.area import FLOOR
from lotbench.report.bootstrap import estimate
from lotbench.report.content import Content
from lotbench.report.looks import order
from lotbench.report.models import SPLITS
from lotbench.report.pareto import KEY, settings_of
from lotbench.report.rows import NONE, timed_cells, timed_columns
from lotbench.report.statistics import DROPS, Area, Choice, Evidence, ties
from lotbench.report.table import Table
from lotbench.report.training_cost import training_costs

if TYPE_CHECKING:
    import pandas as pd

AT_LEAST = "\N{GREATER-THAN OR EQUAL TO}"
# The model whose wall-clock speed-up is shown.
TIMED_DROP = 1.0


def overview(task: str, content: Content) -> Table | None:
    """The overview of a task; None if it has no reference or no method besides dense."""
    found = content.evidence.get(task)
    if found is None or not found.methods:
        return None
    rows = content.rows[content.rows["task"] == task]
    metric, labels = rows["score_name"].iloc[0], settings_of(rows)
    choices = {
        drop: {method: found.largest_speedup(method, drop) for method in found.candidates}
        for drop in DROPS
    }
    tied = {drop: ties(own) for drop, own in choices.items()}
    areas, costs = found.areas(), training_costs(task, content)
    trained = any(method in costs for method in found.methods)
    lines = []
    for method in order(found.methods):
        own = rows[rows["method"] == method]
        cells = [_choice(choices[drop].get(method), method in tied[drop]) for drop in DROPS]
        cells += [*_area(areas.get(method)), str(own["setting"].nunique()), str(len(own))]
        cells.append(str(own["seeds"].max()))
        if trained:
            cells.append(f"{costs[method]:.1f}{words.TIMES}" if method in costs else NONE)
        timed = choices[TIMED_DROP].get(method)
        cells += [cell for label in labels for cell in _real(timed, own, label)]
        lines.append([method, *cells])
    columns = ["method", *(f"within {drop:g}" for drop in DROPS), "area", "rank"]
    columns += ["settings", "points", "seeds"]
    columns += ["training"] * trained
    columns += [name for label in labels for name in timed_columns(rows, label)]
    score = reference(found, metric)
    title = f"{task}, largest FLOPs speed-up within so many points of {score}"
    return Table(title, columns, [lines], _notes(task, content, found, trained, bool(labels)))


def _choice(own: Choice | None, tied: bool) -> str:
    """The speed-up with its marks, and below it the score against the reference."""
    if own is None:
        return NONE
    if own.model is None:
        some = own.speedup.high > 1
        return f"none (to {words.rounded(own.speedup.high, 1)}{words.TIMES})" if some else "none"
    mark, tie = f"{AT_LEAST} " * own.open_end, " tie" * tied
    speedup = words.with_interval(own.speedup, words.TIMES)
    return f"{mark}{speedup}{tie}\n{words.with_interval(own.margin)}"


def _area(own: Area | None) -> list[str]:
    return [NONE, NONE] if own is None else [words.with_interval(own.value), str(own.rank)]


def _real(own: Choice | None, rows: pd.DataFrame, label: str) -> list[str]:
    """The wall-clock speed-ups of the chosen model."""
    if own is None or own.model is None:
        return [NONE] * len(timed_columns(rows, label))
    model = (own.model.method, own.model.setting, own.model.point)
    points = rows.set_index(KEY[1:]).loc[[model]].to_dict("records")
    return timed_cells(points[0], label)


def reference(found: Evidence, metric: str) -> str:
    """The reference with its score: ``dense 97.8% (96.4 to 98.9)``."""
    draws = found.reference.score("validation")
    sampled = found.reference.method == "dense" and found.reference.sampled("validation")
    return f"{found.reference.method} {words.score_with_interval(estimate(draws, sampled), metric)}"


def _notes(task: str, content: Content, found: Evidence, trained: bool, timed: bool) -> list[str]:
    selection, validation = (content.texts(task, split) for split in SPLITS)
    notes = [
        f"models are chosen on selection ({selection} texts) and read on "
        f"validation ({validation} texts): the fastest that is within so many "
        "points of the reference; below it, its score minus the reference's, in points",
        "the reference is the better of dense and the teacher on selection",
    ]
    if found.reference.method == "teacher":
        notes.append("rows lack the teacher's predictions, so intervals take its score as exact")
    if all(own.sampled for own in found.candidates.values()):
        notes.append(
            "in brackets: 95% bootstrap intervals of choosing and reading, over texts and seeds"
        )
    else:
        notes.append("models without stored predictions have no intervals and no ties")
    notes += [
        f"{AT_LEAST} no faster model of the method was scored, so it may go further",
        "tie: not significantly slower than the largest",
        f"area: of the best model at every speed-up from 1{words.TIMES} to {found.end:.1f}"
        f"{words.TIMES}, in points above the reference minus {FLOOR:g}, times doublings of speed; "
        "a method adds nothing where it cannot go; ranks differ where the intervals of the "
        "difference exclude 0",
        "settings and points: how many were tried",
    ]
    if trained:
        notes.append(
            "training: wall-clock of training against dense with the same seed, the median over "
            "trials; a rough number, since trials train side by side"
        )
    if timed:
        notes.append(
            f"columns of devices: wall-clock speed-up of the model within {TIMED_DROP:g} point"
        )
    return notes + _unreached(task, content)


def _unreached(task: str, content: Content) -> list[str]:
    """The targets that methods did not reach, each with the nearest speed-up."""
    trials = content.table.drop_duplicates("trial_id").set_index("trial_id")
    nearest: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for own in content.missed:
        if trials.loc[own.trial_id, "task"] == task:
            nearest[str(trials.loc[own.trial_id, "method"])][own.target].append(own.nearest)
    parts = []
    for method in order(nearest):
        targets = [
            f"{target:g} ({min(values, key=lambda value: abs(math.log(value / target))):.1f})"
            for target, values in sorted(nearest[method].items())
        ]
        parts.append(f"{method} {', '.join(targets)}")
    note = f"targets that some trials did not reach (nearest speed-up): {'; '.join(parts)}"
    return [note] if parts else []

"""The tables of a search: the best area to expect after so many trials, and what moves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from lotbench.report import text
from lotbench.report.looks import order
from lotbench.report.tables.render import Table
from lotbench.report.text import NONE, TIMES
from lotbench.statistics.importance import CHANCE, importance
from lotbench.statistics.scored import value_text
from lotbench.statistics.search import Order, SearchTrials, orders, reversals
from lotbench.statistics.store_view import StoreView

# Columns of numbers of trials: with more than eight columns a table is too wide to read.
MOST_COLUMNS = 4


def in_order(task: str, study: StoreView) -> list[SearchTrials]:
    """The searches of a task in the order of legends."""
    found = study.searches.get(task, [])
    places = order(own.method for own in found)
    return sorted(found, key=lambda own: (places.index(own.method), own.name))


def effort(task: str, study: StoreView) -> Table | None:
    """What effort bought, a line per search; None if the task has no search."""
    found = in_order(task, study)
    if not found:
        return None
    ranked = orders(found)
    ends = np.geomspace(1, len(ranked), MOST_COLUMNS).round().astype(int)
    shown = [ranked[trials - 1] for trials in dict.fromkeys(ends.tolist())]
    lines = [
        [own.name, _searched(own), _default(own), *(_cell(own, at) for at in shown), _minutes(own)]
        for own in found
    ]
    columns = ["method", "searched", "default", *(f"after {at.trials}" for at in shown), "minutes"]
    expected = "expected best area on selection after so many trials"
    title = f"{text.named(task, study)}: what effort bought, {expected}"
    return Table(title, columns, [lines], _notes(found, ranked))


def parameters(task: str, study: StoreView) -> Table | None:
    """The searched parameters of a task; None if it has none."""
    groups = [
        [_parameter(own, name) for name in own.space] for own in in_order(task, study) if own.space
    ]
    if not groups:
        return None
    notes = [
        "best: of the trial with the largest area on selection",
        "explains: share of the variance of the area among finished trials that the parameter "
        "explains alone, adjusted for the number of trials; numbers by a quadratic curve, choices "
        f"by groups; chance: shuffled areas give as much in {100 * CHANCE:g}% of the cases or more",
    ]
    columns = ["method", "parameter", "space", "default", "best", "explains"]
    return Table(f"{text.named(task, study)}: searched parameters", columns, groups, notes, texts=3)


def verdict(found: Sequence[Order]) -> str:
    """Who is ahead after how many trials, and which searches change places."""
    if not found or len(found[0].ranks) < 2:
        return ""
    phases = [
        (first, [own.trials for own in members])
        for first, members in groupby(found, key=lambda own: own.first)
    ]
    if len(phases) == 1:
        who, trials = _who(phases[0][0], found[0]), found[-1].trials
        upto = f"after 1 to {trials} trials" if trials > 1 else "after 1 trial"
        sentences = [f"In the search, with equal trials for every method, {who} {upto}."]
    else:
        parts = [f"{_who(first, found[0])} after {_span(at)}" for first, at in phases]
        sentences = [
            f"In the search, who is ahead depends on the number of trials: {'; '.join(parts)}."
        ]
    sentences += [f"{one} passes {other} at {n} trials." for n, one, other in reversals(found)]
    return " ".join(sentences)


def _who(first: list[str], any_order: Order) -> str:
    if len(first) == len(any_order.ranks):
        return "all methods tie"
    return f"{text.listed(first)} tie" if len(first) > 1 else f"{first[0]} is ahead"


def _span(trials: list[int]) -> str:
    if len(trials) == 1:
        return text.count(trials[0], "trial")
    return f"{trials[0]} to {trials[-1]} trials"


def _searched(own: SearchTrials) -> str:
    """How many parameters, and what was tried."""
    failed = f", {own.failed} failed" * bool(own.failed)
    if not own.space:
        return f"nothing\n{text.count(len(own.runs), 'setting')}{failed}"
    return f"{text.count(len(own.space), 'parameter')}\n{text.count(own.trials, 'trial')}{failed}"


def _default(own: SearchTrials) -> str:
    if own.default is None:
        return NONE
    return "failed" if own.runs[0].failed else text.rounded(own.default.value, 1)


def _cell(own: SearchTrials, at: Order) -> str:
    """The expected best, and below it its band and rank."""
    low, high = (text.rounded(end, 1) for end in own.band(at.trials))
    value = text.rounded(float(own.expected_best(at.trials)[0]), 1)
    lines = [value, *[f"{low} to {high}"] * (low != high), f"rank {at.ranks[own.name]}"]
    return "\n".join(lines)


def _minutes(own: SearchTrials) -> str:
    times = [own.seconds, *[own.confirmation_seconds] * bool(own.confirmations)]
    minutes = [seconds / 60 for seconds in times]
    return "\n+ ".join(text.rounded(each, 1 if each < 10 else 0) for each in minutes)


def _notes(found: Sequence[SearchTrials], ranked: Sequence[Order]) -> list[str]:
    runs = [run for own in found for run in own.runs]
    marks = [run.trial.search for run in runs if run.trial.search]
    floor, end = max(run.trial.floor for run in runs), max(mark.end for mark in marks)
    notes = [
        f"area: on selection, in points above the trial's teacher minus {floor:g}, times doublings "
        f"of speed, from 1{TIMES} to {end:g}{TIMES}; a failed trial counts as 0",
        "after n: the mean of the best over all choices of n of these trials; below it where the "
        "best lies in 95% of the choices, and the rank: 1 plus the methods that are ahead, with an "
        f"interval of the difference over resampled {text.unit_of(runs)} (bootstrap) above 0",
        "the best of a search looks better than it is: all other tables are of the chosen settings "
        "trained again with other seeds",
        "default: the area of the method's default setting",
        "minutes: wall-clock of all trials of the search, + that of training the chosen settings "
        "again; a rough number, since trials train side by side",
    ]
    if any(not own.space for own in found):
        notes.append(
            "nothing searched: the settings count together as one trial, with the area of the best "
            "of their models at every speed-up"
        )
    if any(mark.algorithm == "optuna" for mark in marks):
        notes.append("Optuna learns from its trials, so their order is not the one that it took")
    return [sentence for sentence in [verdict(ranked), *notes] if sentence]


def _parameter(own: SearchTrials, name: str) -> list[str]:
    found, first = importance(own, name), own.runs[0]
    explains = "too few trials" if found is None else f"{100 * found.share:.0f}%"
    if found is not None and found.by_chance:
        explains = "chance"
    default = value_text(first.trial.params.get(name)) if own.default is not None else NONE
    best = NONE if own.best is None else value_text(own.best.trial.params.get(name))
    return [own.name, name, space(own.space[name]), default, best, explains]


def space(own: Mapping[str, Any]) -> str:
    """A space in words: ``0.001 to 0.1, logarithmic``."""
    ((kind, given),) = own.items()
    if kind == "choice":
        return ", ".join(map(value_text, given))
    more = {"loguniform": ", logarithmic", "randint": ", whole numbers"}
    return f"{' to '.join(map(value_text, given))}{more.get(kind, '')}"

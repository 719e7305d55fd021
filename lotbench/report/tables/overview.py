"""The tables that open a task: scores at equal speed-ups and mean drops; how far each goes."""

from __future__ import annotations

import math
from collections import defaultdict

from lotbench.report import text
from lotbench.report.looks import order
from lotbench.report.tables.clock import TIMED_DROP
from lotbench.report.tables.render import Table
from lotbench.report.text import AT_LEAST, NONE, TIMES
from lotbench.statistics.bootstrap import estimate
from lotbench.statistics.drawn import CHOOSE_THEN_REPORT
from lotbench.statistics.drops import mean_drops
from lotbench.statistics.evidence import DROPS, Evidence, first, ties
from lotbench.statistics.power import needed_for_a_point
from lotbench.statistics.runs import training_costs
from lotbench.statistics.scored import Scored, evenly
from lotbench.statistics.store_view import StoreView

FIRST, NOT_AHEAD = "*", "\N{DAGGER}"
# Columns of targets: with more than seven columns a table is too wide for most screens.
MOST_TARGETS = 4


def overview(task: str, study: StoreView) -> Table | None:
    """The overview of a task: a line per method, the best first.

    None without a reference, or if no method has scores on both splits.
    """
    found = study.evidence.get(task)
    if found is None or not found.curves:
        return None
    shown = evenly(found.targets, MOST_TARGETS)
    within, drops = _within(found, TIMED_DROP), mean_drops(found)
    at_targets = [at_target(found, target) for target in shown]
    lines = []
    ranks = {method: own.value.value for method, own in drops.items()}
    for method in sorted(order(found.methods), key=lambda method: ranks.get(method, math.inf)):
        drop = drops.get(method)
        cells = [within[method], *(at.get(method, NONE) for at in at_targets)]
        cells.append(f"{text.with_interval(drop.value)}\nrank {drop.rank}" if drop else NONE)
        lines.append([method, *cells])
    columns = ["method", f"within {TIMED_DROP:g}"]
    columns += [*(f"{target:g}{TIMES}" for target in shown), "mean drop"]
    name, metric = text.named(task, study), study.validated(task)[0].metric
    title = f"{name}: scores against {reference(found, metric)} at equal FLOPs speed-ups"
    title += text.shown_of(shown, found.targets)
    notes = _notes(task, study, found)
    if (sentence := without_encoder(found)) is not None:
        notes.insert(0, sentence)
    return Table(title, columns, [lines], notes)


def reach(task: str, study: StoreView) -> Table | None:
    """How far each method goes within other drops, and what was tried; None as the overview."""
    found = study.evidence.get(task)
    if found is None or not found.curves:
        return None
    others = [drop for drop in DROPS if drop != TIMED_DROP]
    within, costs = [_within(found, drop) for drop in others], training_costs(study.runs_on(task))
    lines = []
    for method in order(found.methods):
        tried = _tried([own for own in study.validated(task) if own.method == method])
        training = f"{costs[method]:.1f}{TIMES}" if method in costs else NONE
        lines.append([method, *(own[method] for own in within), tried, training])
    columns = ["method", *(f"within {drop:g}" for drop in others), "tried", "training"]
    notes = _chosen(task, study)
    notes.append(
        "training: wall-clock of training against dense with the same seed, the median over "
        "trials; a rough number, since trials train side by side"
    )
    limits = text.listed([f"{drop:g}" for drop in others])
    name = text.named(task, study)
    title = f"{name}: largest FLOPs speed-up within {limits} points, and what was tried"
    return Table(title, columns, [lines], notes)


def _within(found: Evidence, drop: float) -> dict[str, str]:
    """The cells of the largest speed-ups within a drop, by method."""
    choices = found.choices(drop)
    tied = ties(choices)
    return {method: text.chosen(choices.get(method), method in tied) for method in found.methods}


def at_target(found: Evidence, target: float) -> dict[str, str]:
    """The margins of the methods at a target, each with its marks."""
    margins = found.at_target(target)
    leaders, ahead = first(margins), found.ahead_of_bag(margins)
    cells = {}
    for method, own in margins.items():
        marks = FIRST * (method in leaders and len(margins) > 1)
        marks += NOT_AHEAD * (found.bag is not None and method not in ahead)
        value, *interval = text.with_interval(own.value).split(" ", 1)
        cells[method] = "\n".join([f"{value} {marks}".rstrip(), *interval])
    return cells


def reference(found: Evidence, metric: str) -> str:
    """The reference with its score: ``dense 97.8% (96.4 to 98.9)``."""
    own = found.reference
    if own.exact:
        return text.reference(own, metric)
    value = estimate(own.drawn.score("validation"))
    return f"{own.name} {text.score_with_interval(value, metric)}"


def the_reference(found: Evidence) -> str:
    """The reference in a sentence: ``dense`` or ``the teacher``."""
    return "the teacher" if found.reference.name == "teacher" else found.reference.name


def no_layer_gap(found: Evidence) -> str | None:
    """``18.5 (15 to 22) hundredths``, the no-layer gap; None if there is no such model."""
    if (gap := found.gap) is None:
        return None
    needless = ": a task that needs no encoder" * (not found.needs_encoder)
    return f"{text.with_interval(gap)} {text.unit(found.models[0].metric)}{needless}"


def without_encoder(found: Evidence) -> str | None:
    """The no-layer gap in a sentence, and from where on no method is ahead of such a model."""
    if (gap := no_layer_gap(found)) is None:
        return None
    sentence = f"The no-layer gap, {the_reference(found)} minus a model without layers, is {gap}"
    last = max((t for t in found.targets if found.ahead_of_bag(found.at_target(t))), default=0.0)
    beyond = [target for target in found.targets if target > last]
    if beyond:
        where = f"from {beyond[0]:g}{TIMES} fewer FLOPs on, " * bool(last)
        sentence += f"; {where}no method is ahead of that model"
    return f"{sentence}."


def _tried(models: list[Scored]) -> str:
    """How many settings, models and seeds a method was tried with."""
    settings = text.count(len({own.setting for own in models}), "setting")
    seeds = text.count(max((own.seeds for own in models), default=0), "seed")
    return f"{text.count(len(models), 'model')}\n{settings}, {seeds}"


def _chosen(task: str, study: StoreView) -> list[str]:
    """How to read the largest speed-ups."""
    selection, validation = (texts(task, split, study) for split in CHOOSE_THEN_REPORT)
    unit = text.unit_of(study.runs_on(task))
    return [
        f"within: models are chosen on selection ({selection} {unit}) and read on validation "
        f"({validation} {unit}): the fastest that is within so many points of the reference, and "
        "below it its score minus that of the reference, in points",
        "the reference is the better of dense and the teacher on selection",
        f"in brackets: 95% intervals of choosing and reading, over resampled {unit} and seeds "
        "(bootstrap)",
        "none: no model is that close; resamples: how fast one that is close enough in some "
        "resamples can be",
        f"{AT_LEAST} no faster model of the method was scored, so it may go further",
        "tie: the difference from the largest speed-up is inside its interval",
    ]


def _notes(task: str, study: StoreView, found: Evidence) -> list[str]:
    unit = text.unit_of(study.runs_on(task))
    notes = [
        *_chosen(task, study),
        f"at a speed-up: each method with its best setting on selection, and its score minus that "
        f"of the reference; {FIRST} no method is ahead of it there (paired by seed and "
        f"{unit.removesuffix('s')})"
        + f"; {NOT_AHEAD} not ahead of the model without layers, which is faster"
        * bool(found.bag),
        "mean drop: points below the reference, in the mean over the doublings of FLOPs speed-up "
        f"from 1{TIMES} to {found.end:.1f}{TIMES}; at most {found.floor:g}, which also counts "
        "where a method cannot go; rank: 1 plus the methods that are better with an interval of "
        "the difference above 0",
    ]
    notes += _power(found, study.texts(task, "validation"), unit)
    if found.reference.exact:
        notes.append("rows lack the teacher's predictions, so intervals take its score as exact")
    return notes + _unreached(task, study)


def _power(found: Evidence, counts: list[int], unit: str) -> list[str]:
    """How many texts and seeds would tell two methods apart, and what those at hand do."""
    own = needed_for_a_point(found, counts[0]) if len(counts) == 1 else None
    if own is None:
        return []
    texts = f"about {float(f'{own.texts:.2g}'):,.0f} {unit} of validation"
    if own.seeds is None:
        texts += "; with one seed, what differs between seeds is not counted"
    else:
        texts += f" and {text.count(max(2, math.ceil(own.seeds)), 'seed')}"
    return [
        "to find a difference of one point between two methods at equal FLOPs takes, in the median "
        f"over their pairs, {texts} (80% power); those at hand find one of "
        f"{text.rounded(own.found, 1)} points"
    ]


def texts(task: str, split: str, study: StoreView) -> str:
    """How many texts, pairs or groups a split has: ``1500``; ``500 and 1500`` if trials differ."""
    return text.listed([str(count) for count in study.texts(task, split)]) or "no"


def _unreached(task: str, study: StoreView) -> list[str]:
    """The targets that methods did not reach, each with the nearest speed-up."""
    nearest: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (method, _), missed in study.missed[task].items():
        for own in missed:
            nearest[method][own.target].append(own.nearest)
    parts = []
    for method in order(nearest):
        targets = [
            f"{target:g} ({min(values, key=lambda value: abs(math.log(value / target))):.1f})"
            for target, values in sorted(nearest[method].items())
        ]
        parts.append(f"{method} {', '.join(targets)}")
    note = f"targets that some trials did not reach (nearest speed-up): {'; '.join(parts)}"
    return [note] if parts else []

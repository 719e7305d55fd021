"""Two stores compared: the same models in pairs, and the order of methods."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np

from lotbench.budget import Budget
from lotbench.report import text
from lotbench.report.tables.differences import MOST_TARGETS, cell, cells, in_pairs
from lotbench.report.tables.render import Table
from lotbench.report.text import NONE, TIMES
from lotbench.statistics.bootstrap import Estimate, estimate
from lotbench.statistics.drawn import difference, shared_seeds
from lotbench.statistics.scored import Scored, evenly
from lotbench.statistics.store_view import StoreView

Curve = dict[Budget | None, Scored]
"""The models of a setting by target or budget."""
FEWEST = 3
"""Two methods have only two orders."""


def two_stores(own: StoreView, other: StoreView) -> list[Table]:
    """For each task of both stores, the scores of ``own`` minus those of ``other``.

    Partners have the same method and parameters, and may differ in training, texts or machine.
    Models without a partner, without a shared seed, or scored on other texts are left out.
    """
    shared = [task for task in own.tasks if task in other.tasks]
    return [table for task in shared if (table := _table(task, own, other)) is not None]


def _table(task: str, own: StoreView, other: StoreView) -> Table | None:
    curves, theirs = _curves(task, own), _curves(task, other)
    partners = [(curve, theirs[key]) for key, curve in curves.items() if key in theirs]
    compared = [(curve, pairs) for curve, them in partners if (pairs := in_pairs(curve, them))]
    if not compared:
        return None
    targets = {
        at: target
        for curve, pairs in compared
        for at in pairs
        if (target := curve[at].target) is not None
    }
    shown = evenly(sorted(targets, key=targets.__getitem__), MOST_TARGETS)
    rows = _references(task, own, other, len(shown))
    for curve, pairs in compared:
        first = next(iter(curve.values()))
        seeds = text.count(max(pair.seeds for pair in pairs.values()), "seed")
        name = f"{first.method} {first.name}".strip()
        rows.append([f"{name}\n{seeds}, {text.count(len(pairs), 'model')}", *cells(pairs, shown)])
    unit = text.unit_of(own.runs_on(task))
    notes = [
        f"scores of {own.name} minus those of {other.name}, in points: on validation, at equal "
        f"targets, paired by seed and {unit.removesuffix('s')}; in brackets the 95% interval over "
        f"{unit} and seeds",
        "* where the interval excludes 0; one in twenty does so by chance",
        "mean: over all models of the row; speed: their FLOPs speed-up over that of the partners, "
        "which is not exactly 1, since budgets are searched on other texts",
    ]
    columns = ["method", "speed", "mean", *(f"{targets[at]:g}{TIMES}" for at in shown)]
    return Table(
        f"{text.named(task, own)}: {own.name} against {other.name}", columns, [rows], notes
    )


def _references(task: str, own: StoreView, other: StoreView, targets: int) -> list[list[str]]:
    """The row of the references; none if a store has none, or if they share no seed."""
    if task not in own.references or task not in other.references:
        return []
    a, b = own.references[task], other.references[task]
    if not shared_seeds(a.drawn, b.drawn):
        return []
    name = a.name if a.name == b.name else f"{a.name} and {b.name}"
    mean = cell(estimate(difference(a.drawn, b.drawn)))
    return [[f"reference: {name}", NONE, mean, *[NONE] * targets]]


def _curves(task: str, study: StoreView) -> dict[tuple[str, str], Curve]:
    """The models that have every seed of their setting, by method and parameters.

    Settings that share both, such as with other epochs, are left out: their partner is not known.
    Where a setting has targets only these count, since equal budgets can differ in FLOPs.
    """
    params = {run.setting: json.dumps(run.trial.params, sort_keys=True) for run in study.runs}
    found: dict[tuple[str, str], dict[str, Curve]] = defaultdict(lambda: defaultdict(dict))
    for own in study.models[task]:
        if own.drawn.complete:
            found[own.method, params[own.setting]][own.setting][own.at] = own
    curves = {}
    for key, settings in found.items():
        if len(settings) == 1:
            (curve,) = settings.values()
            at_targets = {at: own for at, own in curve.items() if own.target is not None}
            curves[key] = at_targets or curve
    return curves


class Agreement(NamedTuple):
    """How far the order of the methods of a task agrees with that in another store."""

    task: str
    methods: int
    where: str
    """The other store, and the task there if it has another name."""
    correlation: Estimate
    """Spearman's, of the methods' areas; the draws of the two stores are independent."""

    @property
    def line(self) -> str:
        value = text.with_interval(self.correlation)
        return f"{self.task}: rank correlation of {self.methods} methods with {self.where}: {value}"

    @property
    def sentence(self) -> str:
        return (
            f"{self.task}: the order of {self.methods} methods by area agrees with that in "
            f"{self.where} by a rank correlation of {text.with_interval(self.correlation)} (1: the "
            "same order, 0: none)"
        )


def agreement(own: StoreView, other: StoreView) -> list[Agreement]:
    """For each task that both stores have, how far the orders of methods agree.

    A task that the other store does not have by name is compared with those of the same source.
    """
    from scipy.stats import rankdata

    found = []
    for task, twin in _pairs(own, other):
        areas = [own.evidence[task].area_draws(), other.evidence[twin].area_draws()]
        shared = sorted(areas[0].keys() & areas[1].keys())
        if len(shared) < FEWEST:
            continue
        ranks = [rankdata([each[method] for method in shared], axis=0) for each in areas]
        where = f"{other.folder}{'' if twin == task else f' ({twin})'}"
        found.append(Agreement(task, len(shared), where, estimate(_correlation(*ranks))))
    return found


def _pairs(own: StoreView, other: StoreView) -> list[tuple[str, str]]:
    """The tasks of the first store, each with those of the other that it is compared with."""
    ours, theirs = _sources(own), _sources(other)
    pairs = []
    for task in own.evidence:
        same = [twin for twin in other.evidence if theirs[twin] == ours[task]]
        pairs += [(task, twin) for twin in ([task] if task in other.evidence else same)]
    return pairs


def _sources(study: StoreView) -> dict[str, str]:
    """The source of each task; a built-in task that names none is its own."""
    sources: dict[str, str] = {}
    for row in study.trials:
        data: Any = (row.config or {}).get("data") or {}
        sources[row.task] = data.get("source") or row.task
    return sources


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each draw's ranks, (methods, draws) both; 0 where all are equal."""
    first, second = (ranks - ranks.mean(axis=0) for ranks in (first, second))
    size = np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
    return (first * second).sum(axis=0) / np.where(size, size, 1.0)

"""The table of what one change is worth: settings of a method against their centre, in pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple, TypeVar

import numpy as np

from lotbench.report import text
from lotbench.report.tables.render import Table
from lotbench.report.text import NONE, TIMES
from lotbench.statistics.bootstrap import Estimate, estimate
from lotbench.statistics.drawn import Drawn, difference, shared_seeds
from lotbench.statistics.runs import Values, centre, change, varying
from lotbench.statistics.scored import Scored, evenly, written
from lotbench.statistics.store_view import StoreView

T = TypeVar("T")

# Columns of single targets: with more than eight columns a table is too wide to read.
MOST_TARGETS = 4


def differences(task: str, study: StoreView) -> list[Table]:
    """For each method with several settings on a task, what each setting is worth.

    Every setting is compared with the one that differs least from all others, at equal targets, on
    the texts and seeds that both have.  A setting without targets is left out.
    """
    found = study.evidence.get(task)
    if found is None:
        return []
    tables, unit = [], text.unit_of(study.runs_on(task))
    searched = [
        run
        for run in study.runs_on(task)
        if any(own.target is not None for own in run.trial.evaluations)
    ]
    for method in sorted({run.trial.method for run in searched}):
        params = varying(run for run in searched if run.trial.method == method)
        curves: dict[str, dict[float, Scored]] = {setting: {} for setting in params}
        for model in found.models:
            if model.setting in curves and model.drawn.complete and model.target is not None:
                curves[model.setting][model.target] = model
        curves = {setting: curve for setting, curve in curves.items() if curve}
        if len(curves) > 1:
            areas = found.areas_on_selection()
            tables.append(
                _table(f"{text.named(task, study)}: {method}", params, curves, areas, unit)
            )
    return tables


def _table(
    title: str,
    params: dict[str, Values],
    curves: dict[str, dict[float, Scored]],
    areas: Mapping[str, float],
    unit: str,
) -> Table:
    """The table of one method; ``areas`` are those on selection, by setting."""
    seeds = {
        setting: max(len(model.drawn.seeds) for model in curve.values())
        for setting, curve in curves.items()
    }
    base = centre(params, seeds)
    targets = sorted({target for curve in curves.values() for target in curve})
    shown = evenly(targets, MOST_TARGETS)
    own = {name: value for name, value in params[base].items() if value is not None}
    tried = _tried(seeds[base], len(curves[base]))
    first = [f"{written(own) or 'defaults'}\n{tried}", _area(areas, base)]
    rows = [[*first, *[NONE] * (2 + len(shown))]]
    for setting, curve in curves.items():
        pairs = in_pairs(curve, curves[base]) if setting != base else {}
        if pairs:
            name = written(change(params[setting], params[base]))
            count = max(pair.seeds for pair in pairs.values())
            line = [f"{name}\n{_tried(count, len(pairs))}", _area(areas, setting)]
            rows.append([*line, *cells(pairs, shown)])
    columns = ["change", "area on selection", "speed", "mean"]
    columns += [f"{t:g}{TIMES}" for t in shown]
    notes = [
        "each setting by what differs from the first row, and its score minus that of the first "
        f"row, in points: on validation, at equal targets, paired by seed and "
        f"{unit.removesuffix('s')}; in brackets the 95% interval over {unit} and seeds",
        "* where the interval excludes 0; one in twenty does so by chance",
        "area on selection: settings are chosen by it",
        "mean: over the targets that both settings reach; speed: the setting's FLOPs speed-up over "
        "the other's there, which is not exactly 1, since budgets are searched on other texts",
    ]
    title += f", what a change is worth{text.shown_of(shown, targets)}"
    return Table(title, columns, [rows], notes)


class Pair(NamedTuple):
    """Two models at the same target."""

    seeds: int
    """How many both have."""
    draws: np.ndarray
    """The difference in points in every draw."""
    speed: float
    """Logarithm of the ratio of their FLOPs speed-ups."""


def in_pairs(own: Mapping[T, Scored], other: Mapping[T, Scored]) -> dict[T, Pair]:
    """The pairs with shared seeds and texts, by target."""
    found = {}
    for target in own:
        if target in other:
            a, b = own[target].drawn, other[target].drawn
            seeds = shared_seeds(a, b)
            with suppress(ValueError):  # no shared seed, or other texts
                draws = difference(a, b)
                speed = np.log(_speedup(a, seeds) / _speedup(b, seeds))
                found[target] = Pair(len(seeds), draws, speed)
    return found


def cells(pairs: Mapping[T, Pair], shown: Iterable[T]) -> list[str]:
    """How much faster, the mean difference, and the differences at the shown targets."""
    speed = np.exp(np.mean([pair.speed for pair in pairs.values()]))
    mean = estimate(np.mean([pair.draws for pair in pairs.values()], axis=0))
    single = [cell(estimate(pairs[t].draws)) if t in pairs else NONE for t in shown]
    return [f"{speed:.2f}", cell(mean), *single]


def _speedup(model: Drawn, seeds: tuple[int, ...]) -> float:
    """The mean FLOPs speed-up on validation over some of its seeds."""
    places = [model.seeds.index(seed) for seed in seeds]
    return float(model.sides["validation"].speedups[places].mean())


def _tried(seeds: int, targets: int) -> str:
    return f"{text.count(seeds, 'seed')}, {text.count(targets, 'target')}"


def _area(areas: Mapping[str, float], setting: str) -> str:
    return f"{areas[setting]:.1f}" if setting in areas else NONE


def cell(value: Estimate) -> str:
    """A difference with its interval, and a star if that excludes 0."""
    mark = " *" if value.low > 0 or value.high < 0 else ""
    return text.with_interval(value) + mark

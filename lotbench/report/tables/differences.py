"""The table of what one change is worth: settings of a method against their centre, in pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lotbench.report import words
from lotbench.report.bootstrap import Estimate, estimate
from lotbench.report.content import Content
from lotbench.report.models import Model, difference, shared_seeds
from lotbench.report.rows import NONE, is_missing
from lotbench.report.table import Table

if TYPE_CHECKING:
    import pandas as pd

# Columns of single targets: more would make the table too wide to read.
MOST_TARGETS = 4

Params = Mapping[str, Any]
"""The parameters in which settings differ, by name; None where a row has no value."""


def differences(task: str, content: Content) -> list[Table]:
    """For each method with several settings on a task, what each setting is worth.

    Every setting is compared with the one that differs least from all others, at equal targets, on
    the texts and seeds that both have.  A setting without targets or predictions is left out.
    """
    found = content.evidence.get(task)
    if found is None:
        return []
    table = content.table[content.table["task"] == task]
    tables = []
    for method, own in table[table["target"].notna()].groupby("registered"):
        params = varying(own)
        curves: dict[str, dict[float, Model]] = {setting: {} for setting in params}
        for model in found.models:
            target = model.point.removeprefix("target=")
            usable = model.complete and model.sampled("validation") and target != model.point
            if model.setting in curves and usable:
                curves[model.setting][float(target)] = model
        curves = {setting: curve for setting, curve in curves.items() if curve}
        if len(curves) > 1:
            tables.append(_table(f"{task}, {method}", params, curves, found.areas_on_selection()))
    return tables


def varying(table: pd.DataFrame) -> dict[str, Params]:
    """The parameters that some file gives and in which the settings of a frame differ, by setting.

    Where a file does not give one, it has the method's default from the row.
    """
    rows = table.drop_duplicates("setting").to_dict("records")
    given = {row["setting"]: json.loads(row["given"]) for row in rows}
    names = {name: None for own in given.values() for name in own}
    values = {
        row["setting"]: {
            name: given[row["setting"]].get(name, _default(row, name)) for name in names
        }
        for row in rows
    }
    differing = [
        name
        for name in names
        if any(own[name] != other[name] for own, other in pairwise(values.values()))
    ]
    return {setting: {name: own[name] for name in differing} for setting, own in values.items()}


def _default(row: Mapping[Any, Any], name: str) -> Any:
    """The value of a parameter in a row; None where older rows lack it."""
    value = row.get(f"param.{name}")
    return None if is_missing(value) else value


def centre(params: Mapping[str, Params], seeds: Mapping[str, int]) -> str:
    """The setting with most seeds, and of these the one that differs least from all others."""

    def far(setting: str) -> tuple[int, int]:
        changes = [change(params[other], params[setting]) for other in seeds]
        return -seeds[setting], sum(map(len, changes))

    return min(seeds, key=far)


def change(own: Params, other: Params) -> dict[str, Any]:
    """The parameters of one setting that differ from another's."""
    return {name: value for name, value in own.items() if value != other[name]}


def _table(
    title: str,
    params: dict[str, Params],
    curves: dict[str, dict[float, Model]],
    areas: Mapping[str, float],
) -> Table:
    """The table of one method; ``areas`` are those on selection, by setting."""
    seeds = {
        setting: max(len(model.seeds) for model in curve.values())
        for setting, curve in curves.items()
    }
    base = centre(params, seeds)
    shown = _spread(sorted({target for curve in curves.values() for target in curve}))
    own = {name: value for name, value in params[base].items() if value is not None}
    first = [
        _written(own) or "defaults",
        str(seeds[base]),
        str(len(curves[base])),
        _area(areas, base),
    ]
    rows = [[*first, *[NONE] * (2 + len(shown))]]
    for setting, curve in curves.items():
        pairs = _pairs(curve, curves[base]) if setting != base else {}
        if pairs:
            mean = estimate(np.mean([pair.draws for pair in pairs.values()], axis=0))
            cells = [_cell(estimate(pairs[t].draws)) if t in pairs else NONE for t in shown]
            count = max(pair.seeds for pair in pairs.values())
            speed = np.exp(np.mean([pair.speed for pair in pairs.values()]))
            name = _written(change(params[setting], params[base]))
            line = [name, str(count), str(len(pairs)), _area(areas, setting)]
            rows.append([*line, f"{speed:.2f}", _cell(mean), *cells])
    columns = ["change", "seeds", "targets", "selection", "speed", "mean"]
    columns += [f"{t:g}{words.TIMES}" for t in shown]
    notes = [
        "each setting by what differs from the first row, and its score minus that of the first "
        "row, in points: on validation, at equal targets, paired by seed and text; in brackets the "
        "95% bootstrap interval over texts and seeds",
        "* where the interval excludes 0; one in twenty does so by chance",
        "selection: area on the selection split, by which settings are chosen",
        "mean: over the targets that both settings reach; speed: the setting's FLOPs speed-up over "
        "the other's there, which is not exactly 1, since budgets are searched on other texts",
    ]
    return Table(f"{title}, what a change is worth", columns, [rows], notes)


class _Pair(NamedTuple):
    """Two models at the same target."""

    seeds: int
    """How many both have."""
    draws: np.ndarray
    """The difference in points in every draw."""
    speed: float
    """Logarithm of the ratio of their FLOPs speed-ups."""


def _pairs(own: Mapping[float, Model], other: Mapping[float, Model]) -> dict[float, _Pair]:
    """The pairs with shared seeds, by target."""
    found = {}
    for target in sorted(own.keys() & other.keys()):
        a, b = own[target], other[target]
        seeds = shared_seeds(a, b)
        with suppress(ValueError):  # no shared seed, or other texts
            speed = np.log(_speedup(a, seeds) / _speedup(b, seeds))
            found[target] = _Pair(len(seeds), difference(a, b), speed)
    return found


def _speedup(model: Model, seeds: tuple[int, ...]) -> float:
    """The mean FLOPs speed-up on validation over some of its seeds."""
    places = [model.seeds.index(seed) for seed in seeds]
    return float(model.sides["validation"].speedups[places].mean())


def _area(areas: Mapping[str, float], setting: str) -> str:
    return f"{areas[setting]:.1f}" if setting in areas else NONE


def _cell(value: Estimate) -> str:
    mark = " *" if value.low > 0 or value.high < 0 else ""
    return words.with_interval(value) + mark


def _spread(targets: list[float]) -> list[float]:
    """At most four of the targets, evenly chosen."""
    places = np.linspace(0, len(targets) - 1, min(len(targets), MOST_TARGETS)).round().astype(int)
    return [targets[place] for place in places]


def _written(params: Params) -> str:
    """``top_p=0.5 routing=drop``."""
    return " ".join(
        f"{name}={f'{value:g}' if isinstance(value, float) else value}".replace("None", "default")
        for name, value in params.items()
    )

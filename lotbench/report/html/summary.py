"""The summary over all tasks of a page: a table, and a chart of the same numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lotbench.report import words
from lotbench.report.all_tasks import Drops, all_tasks, drops
from lotbench.report.bootstrap import Estimate
from lotbench.report.html.chapters import Section
from lotbench.report.html.charts import POINT, SCHEMA, SMALL, Spec
from lotbench.report.html.marks import marks
from lotbench.report.looks import order
from lotbench.report.table import Table

ROW = 26
"""Height of a method, in pixels."""
MEAN = "mean over all tasks"


@dataclass(frozen=True)
class Summary:
    """The mean drops of all methods."""

    table: Table
    spec: Spec


def summary_of_tasks(found: Sequence[Section]) -> Summary | None:
    """The mean drops over all chapters; None if fewer than two can be compared.

    A task that several stores have is shown with the name of each.
    """
    names = [chapter.name for store in found for chapter in store.chapters]
    tasks = {
        chapter.name if names.count(chapter.name) == 1 else f"{chapter.name}, {store.name}": own
        for store in found
        for chapter in store.chapters
        if (own := chapter.evidence)
    }
    compared = drops(tasks)
    return Summary(all_tasks(compared), chart(compared)) if compared else None


def chart(found: Drops) -> Spec:
    """A line per method, the best at the top: its mean with the interval, and faint each task."""
    methods = order(set().union(*found.tasks.values()))
    best = sorted(found.mean, key=lambda method: found.mean[method].value.value)
    rows = best + [method for method in methods if method not in found.mean]
    values = [
        _value(method, name, estimate)
        for name, own in found.tasks.items()
        for method, estimate in own.items()
    ]
    values += [_value(method, MEAN, own.value) for method, own in found.mean.items()]
    given = marks(methods, methods)
    by_method = {"field": "method", "type": "nominal", "legend": None}
    by_method |= {"scale": {"domain": methods}}
    symbols = {"fill": by_method, "shape": by_method, "tooltip": {"field": "tip"}}
    ends = {"x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}}
    return {
        "$schema": SCHEMA,
        "description": f"Mean drop of {words.listed(rows)}; all numbers are in the table below.",
        "data": {"values": values},
        "params": [{"name": "off", "value": []}],
        "width": "container",
        "height": {"step": ROW},
        "encoding": {
            "x": {
                "field": "x",
                "type": "quantitative",
                "title": "Mean drop below the reference, in points",
            },
            "y": {"field": "method", "type": "nominal", "sort": rows, "title": None},
            "color": by_method,
        },
        "layer": [
            {
                "transform": [{"filter": f"datum.task !== '{MEAN}'"}],
                "mark": {"type": "point", "opacity": 0.45},
                "encoding": symbols | {"size": {"value": SMALL}},
            },
            {
                "transform": [{"filter": f"datum.task === '{MEAN}' && isValid(datum.low)"}],
                "mark": {"type": "rule", "strokeWidth": 2, "aria": False},
                "encoding": ends,
            },
            {
                "transform": [{"filter": f"datum.task === '{MEAN}'"}],
                "mark": {"type": "point"},
                "encoding": symbols | {"size": {"value": POINT}},
            },
        ],
        "usermeta": {"marks": [mark._asdict() for mark in given]},
    }


def _value(method: str, task: str, estimate: Estimate) -> dict[str, Any]:
    tip = {"title": method, task: words.with_interval(estimate)}
    value = {"method": method, "task": task, "x": round(estimate.value, 3), "tip": tip}
    if not math.isnan(estimate.low):
        value |= {"low": round(estimate.low, 3), "high": round(estimate.high, 3)}
    return value

"""Parts of interactive charts, which are Vega-Lite specifications.

Colours of text and background are left to the page, which has a light and a dark form.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lotbench.report import text
from lotbench.report.figures import style
from lotbench.report.figures.base import Shown
from lotbench.report.looks import GREY, PageMark, order
from lotbench.report.tables.clock import model_name
from lotbench.statistics.reference import Reference
from lotbench.statistics.scored import Scored, wheres
from lotbench.statistics.timed import Where

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
# The page sets `off` to the methods that its legend hides.
SEEN = {"filter": "indexof(off, datum.method) < 0"}
SIGNED = "(datum.value > 0 ? '+' : datum.value < 0 ? '\u2212' : '') + abs(datum.value)"
# Lines of a chart's own, such as the reference's.
GUIDE = {"strokeWidth": 1, "aria": False, "clip": True}
PLAIN: Spec = {"color": {"value": GREY}}
# Sizes of marks, and of one under the pointer.
LARGE, SMALL, NEAR = 70, 38, 170


@dataclass(frozen=True)
class Chart:
    """A chart with its caption."""

    title: str
    notes: list[str]
    spec: Spec


def values(own: Sequence[Shown], reference: Reference) -> list[dict[str, Any]]:
    """The models of a chart: coordinates with intervals, and the texts that hovering shows."""
    curves = Counter((each.model.method, each.model.setting) for each in own)
    settings = wheres(each.model for each in own)
    found = []
    for each in own:
        model = each.model
        value = {
            "method": model.method,
            "setting": model.setting,
            "curve": curves[model.method, model.setting] > 1,
            "front": each.on_front,
            "hollow": each.hollow,
            "tip": tip(model, settings, reference),
        }
        for axis, place in (("x", each.x), ("y", each.y)):
            value[axis] = rounded(place.value)
            if math.isfinite(place.low) and place.low != place.high:
                value[f"{axis}low"], value[f"{axis}high"] = map(rounded, place[1:])
        found.append(value)
    return found


def tip(own: Scored, settings: Iterable[Where], reference: Reference) -> dict[str, str]:
    """What hovering over a model shows: configuration, scores and speed-ups with intervals."""
    found = {
        "title": own.method,
        "configuration": model_name(own) or "defaults",
        text.metric(own.metric): text.score_with_interval(own.score, own.metric),
        f"against {reference.name}": text.with_interval(own.gain),
        "FLOPs speed-up": f"{text.speedup(own.flops.value)}{text.TIMES}",
    }
    for where in settings:
        timed = own.timed.get(where)
        if timed and timed.best:
            name = text.timing_setting(where)
            best = f"{text.with_interval(timed.best, text.TIMES)}{', noisy' * timed.noisy}"
            found[name] = f"{best}, in {timed.backend}"
            if timed.call and timed.encoder:
                found[f"{name}, encoder alone"] = text.with_interval(timed.encoder, text.TIMES)
            found[f"{name}, same backend"] = text.with_interval(timed.same, text.TIMES)
    return found | {"tokens kept": f"{100 * own.keep_ratio:.0f}%", "seeds": str(own.seeds)}


def rounded(value: float) -> float:
    """The value with six digits, which are finer than a pixel and keep the file small."""
    return float(f"{value:.6g}")


def counted(own: Sequence[Shown]) -> str:
    """How many models of which methods a chart shows, for its description."""
    methods = text.listed(order(each.model.method for each in own)) or "no method"
    return (
        f"{text.count(len(own), 'model')} of {methods}; all numbers are in the table of all models."
    )


def spec(
    description: str,
    values: list[dict[str, Any]],
    x: Spec,
    y: Spec,
    marks: list[PageMark],
    layers: list[Spec],
) -> Spec:
    return {
        "$schema": SCHEMA,
        "description": description,
        "data": {"values": values},
        "params": [{"name": "off", "value": []}],
        "width": "container",
        "encoding": {
            "x": {"field": "x", "type": "quantitative", **x},
            "y": {"field": "y", "type": "quantitative", **y},
            # Colours and shapes are the page's ranges, in the order of the methods.
            "color": by_method([mark.method for mark in marks]),
        },
        "layer": layers,
        "usermeta": {"marks": [mark._asdict() for mark in marks]},
    }


def log_axis(low: float, high: float, title: str) -> Spec:
    ticks = style.ticks(low, high)
    return {
        "title": title,
        "scale": {"type": "log", "domain": [low, high], "nice": False},
        "axis": {"values": ticks, "format": "~r", "labelOverlap": True},
    }


def level(y: float, **shape: Any) -> Spec:
    """A line from left to right."""
    ends = PLAIN | {"x": {"value": 0}, "x2": {"value": "width"}}
    return {
        "data": {"values": [{"y": y}]},
        "mark": GUIDE | {"type": "rule", **shape},
        "encoding": ends,
    }


def name(words: str, y: float) -> Spec:
    """The name of a line, above its right end."""
    shape = {"type": "text", "align": "right", "dy": -7, "fontSize": 12, "aria": False}
    place = PLAIN | {"x": {"value": "width"}, "text": {"value": words}}
    return {"data": {"values": [{"y": y}]}, "mark": shape, "encoding": place}


def line(by: str, test: str, width: float, opacity: float) -> Spec:
    """Lines through the models of one method or setting; they go on below the axis."""
    shape = {"type": "line", "strokeWidth": width, "opacity": opacity, "clip": True, "aria": False}
    encoding = {"detail": [{"field": "method"}, {"field": by}], "order": {"field": "x"}}
    return {"transform": [SEEN, {"filter": test}], "mark": shape, "encoding": encoding}


def interval(axis: str, test: str, place: Spec | None = None) -> Spec:
    """The known intervals along an axis, at another place than the marks' if given."""
    ends = (place or {}) | {
        axis: {"field": f"{axis}low", "type": "quantitative"},
        f"{axis}2": {"field": f"{axis}high"},
    }
    shape = {"type": "rule", "strokeWidth": 1.2, "opacity": 0.45, "clip": True, "aria": False}
    known = f"({test}) && isValid(datum.{axis}low)"
    return {"transform": [SEEN, {"filter": known}], "mark": shape, "encoding": ends}


def arrows() -> Spec:
    """An arrow at the end of a front that may go further."""
    shape = {"type": "text", "text": "\u2192", "dx": 14, "fontSize": 15, "aria": False}
    return {"transform": [SEEN, {"filter": "datum.open && datum.shown"}], "mark": shape}


def by_method(methods: list[str]) -> Spec:
    return {"field": "method", "type": "nominal", "scale": {"domain": methods}, "legend": None}


def symbols(methods: list[str], test: str, size: int, opacity: float) -> Spec:
    """The marks, which grow under the pointer and then show their tips."""
    near = f"near{size}"
    hover = {"type": "point", "on": "pointerover", "clear": "pointerout"}
    grown = {"param": near, "empty": False, "value": NEAR}
    shape = {"type": "point", "strokeWidth": 1.4, "opacity": opacity}
    return {
        "transform": [SEEN, {"filter": test}],
        "params": [{"name": near, "select": hover}],
        "mark": shape,
        "encoding": {
            "fill": by_method(methods),
            "shape": by_method(methods),
            "fillOpacity": {"condition": {"test": "datum.hollow", "value": 0}, "value": 1},
            "size": {"condition": grown, "value": size},
            "tooltip": {"field": "tip"},
        },
    }

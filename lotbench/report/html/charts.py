"""Interactive charts as Vega-Lite specifications: fronts, and real against FLOPs speed-ups.

Colours of text and background are left to the page, which has a light and a dark form.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from lotbench.report import style, words
from lotbench.report.html.marks import Mark
from lotbench.report.html.tips import tip
from lotbench.report.looks import GREY, order
from lotbench.report.pareto import DENSE, front, settings_of
from lotbench.report.reference import Reference
from lotbench.report.rows import is_missing
from lotbench.report.scores import axis_depth, gain_title

if TYPE_CHECKING:
    import pandas as pd

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
# The page sets `off` to the methods that its legend hides.
SEEN = {"filter": "indexof(off, datum.method) < 0"}
SIGNED = "(datum.value > 0 ? '+' : datum.value < 0 ? '\u2212' : '') + abs(datum.value)"
# Share of an axis that is left free at its ends.
MARGIN = 0.06
# Lines of a chart's own, such as the reference's.
GUIDE = {"strokeWidth": 1, "aria": False, "clip": True}
PLAIN: Spec = {"color": {"value": GREY}}
# Space between the intervals of two methods at the same speed-up, as a share of the axis.
BAR = 0.0016
POINT, SMALL, NEAR = 70, 38, 170


def front_chart(
    rows: pd.DataFrame,
    reference: Reference,
    marks: list[Mark],
    label: str | None = None,
    open_ends: Collection[str] = (),
) -> Spec:
    """Score over speed-up, with the front of every method.

    ``label`` is a timing setting; without it, the speed-up is that of FLOPs.
    """
    speedup = f"real.{label}" if label else "flops_speedup"
    own = rows.dropna(subset=[speedup, "gain"])
    depth = axis_depth(rows)
    values = _points(own, speedup, "gain", reference, open_ends)
    low, high = style.speedup_range(own[own["gain"] >= -depth], [speedup])
    places = {method: place for place, method in enumerate(order(own["method"]))}
    for value in values:
        value["shown"] = value["y"] >= -depth
        shift = BAR * (places[value["method"]] - (len(places) - 1) / 2)
        value["bar"] = _rounded(value["x"] * (high / low) ** shift)
    highest = max(0.0, float(own[["gain", "gain.high"]].max().max()))
    margin = MARGIN * (highest + depth)
    what = f"real speed-up on {words.timing_setting(label)}" if label else "FLOPs speed-up"
    metric, methods = own["score_name"].iloc[0], [mark.method for mark in marks]
    title = gain_title(metric, reference)
    seen = [value for value in values if value["shown"]]
    axis = {
        "title": title,
        "scale": {"domain": [-depth - margin, highest + margin], "nice": False},
        "axis": {"labelExpr": SIGNED, "tickCount": 6},
    }
    return _chart(
        f"{title} over {what}. {words.count(len(seen), 'point')} of {_methods(seen)}; "
        "all numbers are in the table of all points.",
        values,
        _log_axis(low, high, f"{'Real' if label else 'FLOPs'} speed-up (log scale)"),
        axis,
        marks,
        [
            _level(0),
            _name(words.reference(reference, metric), 0),
            _line("setting", "datum.curve", 1, 0.3),
            _line("method", "datum.front", 2, 1),
            _interval("y", "datum.front && datum.shown", {"x": {"field": "bar"}}),
            _interval("x", "datum.front && datum.shown"),
            _arrows(),
            _symbols(methods, "datum.shown && !datum.front", SMALL, 0.45),
            _symbols(methods, "datum.shown && datum.front", POINT, 1),
        ],
    )


def realised_chart(rows: pd.DataFrame, reference: Reference, marks: list[Mark], label: str) -> Spec:
    """Wall-clock over FLOPs speed-up of the timed texts, in one timing setting."""
    real, flops = f"real.{label}", f"real.{label}.flops"
    own = rows.dropna(subset=[real, flops])
    values = _points(own, flops, real, reference)
    low, high = style.speedup_range(own, [real, flops])
    diagonal = [{"x": low, "y": low}, {"x": high, "y": high}]
    where, methods = words.timing_setting(label), [mark.method for mark in marks]
    return _chart(
        f"Real speed-up over FLOPs speed-up, {where}. {words.count(len(values), 'point')} of "
        f"{_methods(values)}; all numbers are in the table of all points.",
        values,
        _log_axis(low, high, "FLOPs speed-up (log scale)"),
        _log_axis(low, high, "Real speed-up (log scale)"),
        marks,
        [
            _level(1, strokeDash=[4, 3]),
            {"data": {"values": diagonal}, "mark": GUIDE | {"type": "line"}, "encoding": PLAIN},
            _interval("y", "true"),
            _interval("x", "true"),
            _symbols(methods, "true", POINT, 1),
        ],
    )


def _points(
    own: pd.DataFrame, x: str, y: str, reference: Reference, open_ends: Collection[str] = ()
) -> list[dict[str, Any]]:
    """The points of a chart: coordinates with intervals, and the texts that hovering shows."""
    labels = settings_of(own)
    values = []
    for method in order(own["method"]):
        ours = own[own["method"] == method].sort_values([x, y])
        best = front(ours[x], ours[y])
        curves = ours["setting"].value_counts()
        for place, (point, on_front) in enumerate(zip(ours.to_dict("records"), best, strict=True)):
            hollow = any(point.get(f"{name}.flagged") is True for name in (x, y))
            value = {
                "method": method,
                "setting": str(point["setting"]),
                "curve": bool(curves[point["setting"]] > 1),
                "front": bool(on_front),
                # Dense is never hollow: it is the reference.
                "hollow": hollow and method not in DENSE,
                "open": method in open_ends and place == len(ours) - 1,
                "tip": tip(point, labels, reference),
            }
            for axis, name in (("x", x), ("y", y)):
                value[axis] = _rounded(point[name])
                low, high = point[f"{name}.low"], point[f"{name}.high"]
                if not is_missing(low) and low != high:
                    value[f"{axis}low"], value[f"{axis}high"] = _rounded(low), _rounded(high)
            values.append(value)
    return values


def _rounded(value: float) -> float:
    # Six digits are finer than a pixel, and the file stays small.
    return float(f"{value:.6g}")


def _methods(values: list[dict[str, Any]]) -> str:
    return words.listed(order(value["method"] for value in values)) or "no method"


def _chart(
    description: str,
    values: list[dict[str, Any]],
    x: Spec,
    y: Spec,
    marks: list[Mark],
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
            "color": _by_method([mark.method for mark in marks]),
        },
        "layer": layers,
        "usermeta": {"marks": [mark._asdict() for mark in marks]},
    }


def _log_axis(low: float, high: float, title: str) -> Spec:
    ticks = style.ticks(low, high)
    return {
        "title": title,
        "scale": {"type": "log", "domain": [low, high], "nice": False},
        "axis": {"values": ticks, "format": "~r", "labelOverlap": True},
    }


def _level(y: float, **shape: Any) -> Spec:
    """A line from left to right."""
    ends = PLAIN | {"x": {"value": 0}, "x2": {"value": "width"}}
    return {
        "data": {"values": [{"y": y}]},
        "mark": GUIDE | {"type": "rule", **shape},
        "encoding": ends,
    }


def _name(text: str, y: float) -> Spec:
    """The name of a line, above its right end."""
    shape = {"type": "text", "align": "right", "dy": -7, "fontSize": 12, "aria": False}
    place = PLAIN | {"x": {"value": "width"}, "text": {"value": text}}
    return {"data": {"values": [{"y": y}]}, "mark": shape, "encoding": place}


def _line(by: str, test: str, width: float, opacity: float) -> Spec:
    """Lines through the points of one method or setting; they go on below the axis."""
    shape = {"type": "line", "strokeWidth": width, "opacity": opacity, "clip": True, "aria": False}
    encoding = {"detail": [{"field": "method"}, {"field": by}], "order": {"field": "x"}}
    return {"transform": [SEEN, {"filter": test}], "mark": shape, "encoding": encoding}


def _interval(axis: str, test: str, place: Spec | None = None) -> Spec:
    """The known intervals along an axis, at another place than the points' if given."""
    ends = (place or {}) | {
        axis: {"field": f"{axis}low", "type": "quantitative"},
        f"{axis}2": {"field": f"{axis}high"},
    }
    shape = {"type": "rule", "strokeWidth": 1.2, "opacity": 0.45, "clip": True, "aria": False}
    known = f"({test}) && isValid(datum.{axis}low)"
    return {"transform": [SEEN, {"filter": known}], "mark": shape, "encoding": ends}


def _arrows() -> Spec:
    """An arrow at the end of a front that may go further."""
    shape = {"type": "text", "text": "\u2192", "dx": 14, "fontSize": 15, "aria": False}
    return {"transform": [SEEN, {"filter": "datum.open && datum.shown"}], "mark": shape}


def _by_method(methods: list[str]) -> Spec:
    return {"field": "method", "type": "nominal", "scale": {"domain": methods}, "legend": None}


def _symbols(methods: list[str], test: str, size: int, opacity: float) -> Spec:
    """The points, which grow under the pointer and then tell all about themselves."""
    near = f"near{size}"
    shape = {"type": "point", "strokeWidth": 1.4, "opacity": opacity}
    return {
        "transform": [SEEN, {"filter": test}],
        "params": [
            {
                "name": near,
                "select": {"type": "point", "on": "pointerover", "clear": "pointerout"},
            }
        ],
        "mark": shape,
        "encoding": {
            "fill": _by_method(methods),
            "shape": _by_method(methods),
            "fillOpacity": {"condition": {"test": "datum.hollow", "value": 0}, "value": 1},
            "size": {
                "condition": {"param": near, "empty": False, "value": NEAR},
                "value": size,
            },
            "tooltip": {"field": "tip"},
        },
    }

"""The table of points of a task, used for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from lotbench.report import words
from lotbench.report.bootstrap import Estimate
from lotbench.report.looks import order
from lotbench.report.pareto import front, settings_of
from lotbench.report.reference import Reference
from lotbench.report.table import Table

if TYPE_CHECKING:
    import pandas as pd

PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
NONE = "\N{EN DASH}"
FLOPS = f"FLOPs {words.TIMES}"
BACKENDS = (
    "x best: in the backend in which the model is fastest and at most half a point below its "
    "score in torch-fp32, against the fastest dense model of any backend of which the same holds; "
    "x same: against dense of the same backend"
)

Point = Mapping[Hashable, Any]
"""A row of `lotbench.report.pareto.points`, by column."""


def point_table(
    task: str,
    own: pd.DataFrame,
    reference: Reference | None,
    floors: dict[tuple[str, str], float],
) -> Table:
    """All points of a task by method and FLOPs speed-up; a star marks each method's front.

    ``reference`` is None if neither dense nor the teacher has a score.  ``floors`` are the noise
    floors of the store, by task and timing setting.
    """
    labels = settings_of(own)
    metric = own["score_name"].iloc[0]
    against = f"vs {reference.name if reference else 'dense'}"
    columns = ["method", "setting", "seeds", metric, against, "kept", FLOPS]
    columns += [name for label in labels for name in timed_columns(own, label)]
    groups = []
    for method in order(own["method"]):
        ours = own[own["method"] == method].sort_values("flops_speedup")
        mask = front(ours["flops_speedup"], ours["gain"])
        points = zip(ours.to_dict("records"), mask, strict=True)
        groups.append([_row(point, on_front, labels) for point, on_front in points])
    shown = words.reference(reference, metric) if reference else "dense without a score"
    notes = _notes(task, own, labels, floors)
    return Table(f"{task}, {shown}", columns, groups, notes, setting=True)


def _row(point: Point, on_front: bool, labels: list[str]) -> list[str]:
    kept = point["keep_ratio"]
    return [
        f"{point['method']} *" if on_front else point["method"],
        setting_of(point),
        _seeds(point, labels),
        _score(point),
        NONE if is_missing(point["gain"]) else f"{round(point['gain'], 1) + 0.0:+.1f}",
        NONE if is_missing(kept) else f"{100 * kept:.0f}%",
        number(point["flops_speedup"]),
        *(cell for label in labels for cell in timed_cells(point, label)),
    ]


def setting_of(point: Point) -> str:
    """Parameters and target or budget of a point, without repetition."""
    return " ".join(dict.fromkeys([*point["name"].split(), *point["point"].split()]))


def _seeds(point: Point, labels: list[str]) -> str:
    """The number of seeds, and the number of timed seeds if it is smaller."""
    timed = {point[f"real.{label}.seeds"] for label in labels} - {0, point["seeds"]}
    return f"{point['seeds']}, {min(timed)} timed" if timed else str(point["seeds"])


def _score(point: Point) -> str:
    """The mean score with its interval, if it has one."""
    if is_missing(point["score"]):
        return NONE
    value = Estimate(point["score"], point["score.low"], point["score.high"])
    return words.score_with_interval(value, point["score_name"])


def timed_columns(rows: pd.DataFrame, label: str) -> list[str]:
    """The columns of a timing setting; an older pass has one backend, so it has one column."""
    if f"real.{label}.backend" not in rows:
        return [label]
    return [f"{label} {name}" for name in ("x best", "x same", "backend")]


def timed_cells(point: Point, label: str) -> list[str]:
    """The cells of `timed_columns`."""
    column = f"real.{label}"
    cells = [_real_speedup(point, column)]
    if f"{column}.backend" in point:
        cells += [_real_speedup(point, f"{column}.same"), point[f"{column}.backend"] or NONE]
    return cells


def _real_speedup(point: Point, column: str) -> str:
    """A wall-clock speed-up with half the width of its interval, marked if flagged or noisy."""
    if is_missing(point[column]):
        return NONE
    half = (point[f"{column}.high"] - point[f"{column}.low"]) / 2
    flagged = "~" if point.get(f"{column}.flagged") is True else ""
    mark = "!" if point.get(f"{column}.noisy") is True else flagged
    return f"{mark}{number(point[column])} {PLUS_MINUS}{number(half)}"


def _notes(
    task: str, own: pd.DataFrame, labels: list[str], floors: dict[tuple[str, str], float]
) -> list[str]:
    """The meaning of the marks in the table."""
    notes = ["* on the method's front of score against FLOPs speed-up"]
    if own["score.low"].notna().any():
        notes.append("scores: mean over seeds (95% interval over texts and seeds)")
    if labels:
        notes.append(
            f"real speed-ups (columns {', '.join(labels)}): against the fastest dense, "
            f"{PLUS_MINUS}half the interval, ~ within timing noise, ! interval wider than 10%"
        )
        if any(f"real.{label}.backend" in own for label in labels):
            notes.append(BACKENDS)
        noise = [f"{100 * floors[task, x]:.1f}% ({x})" for x in labels if (task, x) in floors]
        notes.append("dense against itself differs by " + ", ".join(noise or ["?"]))
    return notes


def number(value: float) -> str:
    """A speed-up with two decimals, or a dash if it is missing."""
    return NONE if is_missing(value) else f"{value:.2f}"


def is_missing(value: float | None) -> bool:
    """True for None and NaN."""
    return value is None or value != value

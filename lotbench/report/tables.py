"""Console tables of a store: every point of every method, and the largest safe speed-ups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lotbench.report import style
from lotbench.report.pareto import (
    DENSE,
    DROPS,
    dense_scores,
    front,
    largest_speedups,
    points,
    ranking,
    settings_of,
)
from lotbench.store import frame, noise_floors

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Group
    from rich.table import Table

TIMES = "\N{MULTIPLICATION SIGN}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
NONE = "\N{EN DASH}"


def render(folder: str | Path) -> Group:
    """The tables of a store, ready for ``rich.print``: per task all points, then what is safe.

    Failed trials are listed at the end, each with its error.
    """
    from rich.console import Group
    from rich.text import Text

    table = frame(folder)
    rows, floors = points(table), noise_floors(folder)
    parts: list[Any] = []
    for task, own in rows.groupby("task"):
        parts += [_points_table(task, own, table, floors), Text(), _safe_table(task, table), Text()]
    if not parts:
        parts.append(Text("No trial is done and scored on validation."))
    failed = table[table["status"] == "failed"]
    if len(failed):
        parts.append(Text(f"Failed trials: {len(failed)}", style="bold red"))
    for trial in failed.to_dict("records"):
        parts.append(Text(f"  {trial['trial_id']}  {trial['error']}"))
    return Group(*parts)


def _points_table(
    task: str, own: pd.DataFrame, table: pd.DataFrame, floors: dict[tuple[str, str], float]
) -> Table:
    """All points of one task, by method and speed-up; a star marks each method's front."""
    from rich.markup import escape

    dense = dense_scores(table)[task]
    labels = settings_of(own)
    metric = own["score_name"].iloc[0]
    result = _table(f"{task}, dense {style.score(dense, metric)}")
    result.add_column("method", no_wrap=True)
    result.add_column("setting", overflow="fold", min_width=16)
    head = ["seeds", metric, "vs dense", "kept", f"FLOPs {TIMES}", *labels]
    for name in head:
        # Two short lines instead of one wide column.
        result.add_column(name.replace("-b", "\nb"), justify="right")
    for method in style.order(own["method"]):
        ours = own[own["method"] == method].sort_values("flops_speedup")
        mask = front(ours["flops_speedup"], ours["score"])
        for point, best in zip(ours.to_dict("records"), mask, strict=True):
            result.add_row(
                f"{method} *" if best else method,
                escape(_words(point)),
                _seeds(point, labels),
                style.score(point["score"], metric),
                f"{100 * (point['score'] - point['dense']):+.1f}",
                NONE if _gone(point["keep_ratio"]) else f"{100 * point['keep_ratio']:.0f}%",
                _number(point["flops_speedup"]),
                *(_real(point, f"real.{label}") for label in labels),
            )
        result.add_section()
    result.caption = "* on the method's front"
    if labels:
        result.caption += f"; real: against the fastest dense, {PLUS_MINUS}half its interval"
        result.caption += ", ~ within timing noise, ! interval wider than 10%\n"
        noise = [f"{100 * floors[task, x]:.1f}% ({x})" for x in labels if (task, x) in floors]
        result.caption += "dense against itself differs by " + ", ".join(noise or ["?"])
    return result


def _safe_table(task: str, table: pd.DataFrame) -> Table:
    """The largest speed-ups of each method within some points of dense, with its hypervolume."""
    rows = points(table)
    measures = {f"FLOPs {TIMES}": "flops_speedup"}
    measures |= {label: f"real.{label}" for label in settings_of(rows[rows["task"] == task])}
    result = _table(f"{task}, largest speed-up within so many points of dense")
    result.add_column("method", no_wrap=True)
    result.add_column("speed-up", no_wrap=True)
    for drop in DROPS:
        result.add_column(f"{drop:g}", justify="right")
    result.add_column("hypervolume", justify="right")
    result.add_column("rank", justify="right")
    largest = {name: largest_speedups(table, column) for name, column in measures.items()}
    ranks = {name: ranking(table, column) for name, column in measures.items()}
    for method in style.order(set(rows.loc[rows["task"] == task, "method"]) - set(DENSE)):
        for name in measures:
            cells = largest[name].query("task == @task and method == @method")
            rank = ranks[name].query("task == @task and method == @method").iloc[0]
            speedups = [_number(value) for value in cells["speedup"]]
            area, place = f"{rank['hypervolume']:.1f}", str(rank["rank"])
            result.add_row(method, name, *speedups, area, place)
        result.add_section()
    return result


def _table(title: str) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    # Narrow, since rich leaves out whole columns where a terminal is not wide enough.
    result = Table(title=escape(title), box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    result.title_justify = result.caption_justify = "left"
    return result


def _seeds(point: dict[str, Any], labels: list[str]) -> str:
    """How many seeds stand behind a score, and behind its wall-clock speed-ups if fewer do."""
    timed = {point[f"real.{label}.seeds"] for label in labels} - {0, point["seeds"]}
    return f"{point['seeds']}, {min(timed)} timed" if timed else str(point["seeds"])


def _real(point: dict[str, Any], column: str) -> str:
    """A wall-clock speed-up with half the width of its interval, marked where it is doubtful."""
    if _gone(point[column]):
        return NONE
    half = (point[f"{column}.high"] - point[f"{column}.low"]) / 2
    flagged = "~" if point[f"{column}.flagged"] is True else ""
    mark = "!" if point[f"{column}.noisy"] is True else flagged
    return f"{mark}{_number(point[column])} {PLUS_MINUS}{_number(half)}"


def _number(value: float) -> str:
    return NONE if _gone(value) else f"{value:.2f}"


def _gone(value: float | None) -> bool:
    return value is None or value != value


def _words(point: dict[str, Any]) -> str:
    """Parameters and budget, what stands among both said once."""
    return " ".join(dict.fromkeys([*point["name"].split(), *point["budget"].split()]))

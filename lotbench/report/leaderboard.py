"""The leaderboard: every method of some stores at some FLOPs speed-ups, as CSV and as a page."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lotbench.errors import InputError
from lotbench.report import text
from lotbench.report.page.page import environment, part
from lotbench.report.recommend import default_where
from lotbench.report.text import TIMES
from lotbench.statistics.bootstrap import UNKNOWN, Estimate
from lotbench.statistics.evidence import holds_drop, ranks_of
from lotbench.statistics.joint import Joint
from lotbench.statistics.scored import Scored
from lotbench.statistics.store_view import StoreView
from lotbench.store.files import write_file

TARGETS = (2.0, 4.0, 8.0)
LIMITS = (1, 2)
"""Drops below the reference, in points, that rows are filtered by."""
WITHIN = "within"
"""The filter for the least of the limits that a row holds."""
WORDS = ("method", "task", "backend", "encoder", "store")
"""Columns of texts."""
DIGITS = 4


class Place(NamedTuple):
    """What methods are compared on."""

    suite: int | None
    """None of a store that is of no suite, which is compared with no other."""
    task: str
    tokens: int
    encoder: str
    store: str
    """Empty for a suite."""


class Entry(NamedTuple):
    """A method at a target; intervals are of 95%."""

    place: Place
    method: str
    target: float
    metric: str
    seeds: int
    score: Estimate
    flops_speedup: float

    points: Estimate
    """Score minus the reference's."""
    rank: int
    tied: bool
    """True if another method has the rank."""
    gap: Estimate
    """The no-layer gap."""
    call: Estimate
    """``x best`` of the call; unknown where no call was timed."""
    backend: str
    timed_on: str
    store: str


def entries(studies: Sequence[StoreView]) -> list[Entry]:
    """The rows of the leaderboard: newer suites first, then by task, target and rank.

    Raises
    ------
    InputError
        If no method is scored at a target, or stores of one suite have other texts.
    """
    found = [own for place, joint in _joints(studies) for own in _of(place, joint)]
    if not found:
        wanted = ", ".join(f"{target:g}" for target in TARGETS)
        raise InputError(f"{studies[0].folder}: no confirmed model at a target of {wanted}")
    return sorted(found, key=lambda own: (_order(own.place), own.target, own.rank, own.method))


def _order(place: Place) -> tuple:
    return -(place.suite or 0), *place[1:]


def _joints(studies: Sequence[StoreView]) -> Iterator[tuple[Place, Joint]]:
    places: dict[Place, list[StoreView]] = defaultdict(list)
    # The store with most methods, which is that of the suite, first.
    counts = {study.folder: len({run.method for run in study.runs}) for study in studies}
    for study in sorted(studies, key=lambda own: (-counts[own.folder], own.name)):
        for task in study.evidence:
            runs = study.runs_on(task)
            suite, config = runs[0].trial.suite, runs[0].trial.config
            tokens = _part(config, "evaluate") or _part(config, "data") or 0
            name = "" if suite else study.name
            places[Place(suite, task, tokens, text.backbones(runs), name)].append(study)
    for place in sorted(places, key=_order):
        yield place, Joint(places[place], place.task)


def _part(config: Any, section: str) -> int | None:
    return (config.get(section) or {}).get("max_length")


def _of(place: Place, joint: Joint) -> Iterator[Entry]:
    """The rows of one place: the models are those of `Evidence.at_target`."""
    evidence = joint.evidence[place.task]
    for target in TARGETS:
        margins = evidence.at_target(target)
        ranks = {name: own.rank for name, own in ranks_of(margins).items()}
        shared = Counter(ranks.values())
        for name, own in margins.items():
            study, method = joint.owners[name]
            yield Entry(
                place,
                name,
                target,
                own.model.metric,
                own.model.seeds,
                own.model.score,
                own.model.flops.value,
                own.value,
                ranks[name],
                shared[ranks[name]] > 1,
                evidence.gap or UNKNOWN,
                *_timed(study, place.task, method, own.model),
                study.name,
            )


def _timed(study: StoreView, task: str, method: str, model: Scored) -> tuple[Estimate, str, str]:
    """The call of a model in the smallest setting that its own store timed."""
    where = default_where(study)
    own = next(each for each in study.models[task] if each.key == (method, *model.key[1:]))
    timed = own.timed.get(where)
    if timed is None or timed.call is None:
        return UNKNOWN, "", ""
    return timed.call, timed.backend, text.timing_setting(where)


def as_csv(rows: Sequence[Entry]) -> str:
    """The rows as CSV; what is not known is empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names: list[str] = []
    for row in rows:
        cells = _cells(row)
        if not names:
            writer.writerow(names := [*cells])
        writer.writerow(cells.values())
    return file.getvalue()


def _cells(row: Entry) -> dict[str, Any]:
    cells: dict[str, Any] = row.place._asdict()
    for name, value in row._asdict().items():
        if isinstance(value, Estimate):
            ends = zip(("", "_low", "_high"), value, strict=True)
            cells |= {f"{name}{end}": _number(each) for end, each in ends}
        elif name != "place":
            cells[name] = _number(value) if isinstance(value, float) else value
    return cells


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{round(value, DIGITS) + 0.0:g}"


class Line(NamedTuple):
    """A row of the page."""

    cells: dict[str, tuple[str, float | str]]
    """By column its text, and what it is sorted by."""
    filters: dict[str, str]
    """What it is filtered by."""


def _line(row: Entry) -> Line:
    suite, task, tokens, encoder, _ = row.place

    def number(value: Estimate, unit: str = "") -> tuple[str, float | str]:
        known = not math.isnan(value.value)
        return (text.with_interval(value, unit), value.value) if known else ("", "")

    cells: dict[str, tuple[str, float | str]] = {
        # What a narrow screen has room for comes first.
        "method": (row.method, row.method),
        "points": number(row.points),
        "rank": (f"{row.rank}{' tie' * row.tied}", row.rank),
        "FLOPs": (f"{row.target:g}{TIMES}", row.target),
        "task": (task, task),
        "score": (text.score_with_interval(row.score, row.metric), row.score.value),
        "call": number(row.call, TIMES),
        "backend": (row.backend, row.backend),
        "no-layer gap": number(row.gap),
        "tokens": (str(tokens), tokens),
        "encoder": (encoder, encoder),
        "suite": (str(suite or ""), suite or ""),
        "store": (row.store, row.store),
    }
    within = [str(limit) for limit in LIMITS if holds_drop(row.points.value, limit)]
    filters = {
        "suite": str(suite or "none"),
        "task": task,
        "tokens": str(tokens),
        "encoder": encoder,
        "backend": row.backend,
        "store": row.store,
        "target": f"{row.target:g}",
        WITHIN: within[0] if within else "",
    }
    return Line(cells, filters)


def page(rows: Sequence[Entry]) -> str:
    """The page, which needs no network; the same rows give the same bytes."""
    lines = [_line(row) for row in rows]

    def options(name: str) -> list[str]:
        values = {line.filters[name] for line in lines} - {""}
        return sorted(values, key=lambda own: (float(own) if own.isdecimal() else 0, own))

    found = {name: options(name) for name in lines[0].filters if name != WITHIN}
    template = environment().get_template("leaderboard.html.j2")
    return template.render(
        lines=lines,
        words=WORDS,
        filters={name: own for name, own in found.items() if own},
        limits=LIMITS,
        stores=sorted({row.store for row in rows}),
        settings=sorted({row.timed_on for row in rows} - {""}),
        style=part("report.css"),
        scripts=[part("report.js"), part("leaderboard.js")],
    )


def write(studies: Sequence[StoreView], folder: Path) -> list[Path]:
    """Writes ``leaderboard.csv`` and ``leaderboard.html`` into a folder."""
    rows = entries(studies)
    texts = {"leaderboard.csv": as_csv(rows), "leaderboard.html": page(rows)}
    return [write_file(folder / name, content) for name, content in texts.items()]

"""What a page shows: a chapter for every task, and a section for every store."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lotbench.report import words
from lotbench.report.content import Content, read
from lotbench.report.differences import differences
from lotbench.report.findings import findings
from lotbench.report.html.charts import Spec, front_chart, realised_chart
from lotbench.report.html.grids import Bars, Grid, break_even, keep_ratios, settings, time_bars
from lotbench.report.html.marks import Mark, marks
from lotbench.report.looks import order
from lotbench.report.overview import overview
from lotbench.report.panels import device_names, note_on_timings, notes_on_points, timed_on
from lotbench.report.pareto import settings_of
from lotbench.report.provenance import Provenance, failures, noisy, provenance
from lotbench.report.readme import summary
from lotbench.report.rows import point_table
from lotbench.report.scores import axis_depth, not_drawn
from lotbench.report.settings import setting_grids
from lotbench.report.statistics import Evidence
from lotbench.report.table import Table
from lotbench.store.frame import noise_floors
from lotbench.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

ON_DIAGONAL = "On the diagonal, time falls as FLOPs do; below the dashed line, dense is faster"


@dataclass(frozen=True)
class Chart:
    """A chart with its caption."""

    title: str
    notes: list[str]
    spec: Spec


@dataclass(frozen=True)
class Chapter:
    """One task of a store."""

    id: str
    task: str
    name: str
    evidence: Evidence | None
    findings: list[str]
    marks: list[Mark]
    fronts: list[Chart]
    realised: list[Chart]
    overview: Table | None
    differences: list[Table]
    points: Table | None
    keep_ratios: Grid | None
    settings: list[Grid]
    time_bars: list[Bars]

    @property
    def tables(self) -> dict[str, Table]:
        """The tables by the end of their file names."""
        named = {"overview": self.overview, "points": self.points}
        named |= {f"changes-{place}": own for place, own in enumerate(self.differences, 1)}
        return {name: own for name, own in named.items() if own is not None}

    @property
    def headline(self) -> str:
        """The sentence on the winner, or why there is none."""
        return self.findings[min(1, len(self.findings) - 1)]


@dataclass(frozen=True)
class Section:
    """One store."""

    id: str
    name: str
    summary: str
    chapters: list[Chapter]
    maps: list[Grid]
    failures: Table | None
    noisy: Table | None
    provenance: Provenance


def sections(folders: list[Path]) -> list[Section]:
    """The sections of the stores, in their order."""
    names = [folder.resolve().name for folder in folders]
    return [
        _section(folder, f"{name}-{place}" if names.count(name) > 1 else name, f"s{place}")
        for place, (folder, name) in enumerate(zip(folders, names, strict=True), 1)
    ]


def _section(folder: Path, name: str, place: str) -> Section:
    """The section of a store under a name that no other store of the page has."""
    content, floors, store = read(folder), noise_floors(folder), Store(folder)
    trials, passes = store.trials(), store.timings()
    devices = device_names(passes)
    newest = {record.setting.label: record for record in store.maps()}
    timed = f" Timed on {timed_on(content.rows, devices)}." if settings_of(content.rows) else ""
    return Section(
        id=place,
        name=name,
        summary=summary(content.table) + timed if len(content.table) else "No trials.",
        chapters=[
            _chapter(str(task), f"{place}-{_slug(str(task))}", content, floors)
            for task in content.table["task"].unique()
        ],
        maps=[break_even(record) for record in newest.values()],
        failures=failures(trials),
        noisy=noisy(store.newest_passes()),
        provenance=provenance(folder, trials, passes),
    )


def _chapter(
    task: str, place: str, content: Content, floors: dict[tuple[str, str], float]
) -> Chapter:
    rows = content.rows[content.rows["task"] == task]
    trials = content.table[content.table["task"] == task]
    reference = content.references.get(task)
    given = marks(order(rows["method"]), trials["method"])
    fronts: list[Chart] = []
    realised: list[Chart] = []
    if reference and rows["gain"].notna().any():
        fronts.append(_flops_front(task, content, rows, trials, given))
        for label in settings_of(rows):
            timed = rows[rows[f"real.{label}"].notna()]
            notes = [*not_drawn(timed, reference), note_on_timings(timed)]
            spec = front_chart(timed, reference, given, label)
            setting = words.timing_setting(label)
            fronts.append(Chart(f"Score and real speed: {setting}", notes, spec))
            spec = realised_chart(timed, reference, given, label)
            realised.append(Chart(setting, [ON_DIAGONAL], spec))
    return Chapter(
        id=place,
        task=task,
        name=words.task_name(task),
        evidence=content.evidence.get(task),
        findings=findings(task, content),
        marks=given,
        fronts=fronts,
        realised=realised,
        overview=overview(task, content),
        differences=differences(task, content),
        points=point_table(task, rows, reference, floors) if len(rows) else None,
        keep_ratios=keep_ratios(rows) if len(rows) else None,
        settings=[settings(own, axis_depth(rows)) for own in setting_grids(task, content)],
        time_bars=time_bars(rows) if len(rows) else [],
    )


def _flops_front(
    task: str, content: Content, rows: pd.DataFrame, trials: pd.DataFrame, given: list[Mark]
) -> Chart:
    """The front over FLOPs; dense-packed, which saves none, would hide dense."""
    shown, reference = rows[rows["method"] != "dense-packed"], content.references[task]
    ends = content.open_ends(task)
    notes = [*not_drawn(shown, reference), *notes_on_points(shown, trials)]
    notes += ["an arrow: no faster model of the method was scored"] if ends else []
    if shown["gain.low"].notna().any():
        notes.append("lines: 95% intervals over texts and seeds of points on a front")
    spec = front_chart(shown, reference, given, open_ends=ends)
    return Chart("Score and FLOPs saved", notes, spec)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")

"""What a page shows: of every store its tasks, its maps and its origin."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from lotbench.report import text
from lotbench.report.figures import (
    break_even,
    front,
    keep_ratio,
    search,
    settings,
    speed,
    time_shares,
)
from lotbench.report.figures.chart import Chart
from lotbench.report.figures.heat import HeatGrid
from lotbench.report.findings import findings
from lotbench.report.looks import PageMark, order, page_marks
from lotbench.report.readme import summary
from lotbench.report.tables.of_task import Tables, tables
from lotbench.report.tables.origin import Origin, failures, origin, wide_timings
from lotbench.report.tables.render import Table
from lotbench.statistics.evidence import Evidence
from lotbench.statistics.study import Study


@dataclass(frozen=True)
class Chapter:
    """One task of a store."""

    id: str
    task: str
    name: str
    evidence: Evidence | None
    findings: list[str]
    marks: list[PageMark]
    fronts: list[Chart]
    speeds: list[Chart]
    opening: Tables
    closing: Tables
    keep_ratios: HeatGrid | None
    settings: list[HeatGrid]
    time_bars: list[time_shares.Bars]
    search: Chart | None

    @property
    def changes(self) -> Tables:
        """The tables of what a change is worth."""
        return {name: own for name, own in self.opening.items() if name.startswith("changes")}

    @property
    def headline(self) -> str:
        """The sentence on the winner, or why there is none."""
        return self.findings[min(1, len(self.findings) - 1)]


@dataclass(frozen=True)
class StorePage:
    """One store."""

    id: str
    name: str
    summary: str
    chapters: list[Chapter]
    maps: list[HeatGrid]
    failures: Table | None
    noisy: Table | None
    origin: Origin


def store_pages(studies: Sequence[Study]) -> list[StorePage]:
    """What the page shows of each store, under a name that no other store of the page has."""
    names = [study.name for study in studies]
    return [
        StorePage(
            id=f"s{place}",
            name=f"{study.name}-{place}" if names.count(study.name) > 1 else study.name,
            summary=summary(study) if study.trials else "No trials.",
            chapters=[_chapter(study, task, f"s{place}") for task in study.tasks],
            maps=[break_even.page_grid(record) for record in study.maps],
            failures=failures(study),
            noisy=wide_timings(study),
            origin=origin(study),
        )
        for place, study in enumerate(studies, 1)
    ]


def _chapter(study: Study, task: str, store: str) -> Chapter:
    slug = re.sub(r"[^a-z0-9]+", "-", task.lower()).strip("-")
    models = study.validated(task)
    methods = order(own.method for own in models)
    marks = page_marks(methods, study.methods(task))
    scored = any(math.isfinite(own.gain.value) for own in models)
    opening, closing = tables(task, study)
    return Chapter(
        id=f"{store}-{slug}",
        task=task,
        name=text.task_name(task),
        evidence=study.evidence.get(task),
        findings=findings(task, study),
        marks=marks,
        fronts=front.page_charts(study, task, marks) if scored else [],
        speeds=speed.page_charts(study, task, marks) if scored else [],
        opening=opening,
        closing=closing,
        keep_ratios=keep_ratio.page_grid(study, task),
        settings=settings.page_grids(study, task),
        time_bars=time_shares.data(models),
        search=search.page_chart(study, task),
    )

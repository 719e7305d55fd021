"""What a page shows: of every store its tasks, its maps and its origin."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

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
from lotbench.report.findings import findings
from lotbench.report.looks import order, page_marks
from lotbench.report.readme import summary
from lotbench.report.tables.of_task import tables
from lotbench.report.tables.origin import Origin, failures, wide_timings
from lotbench.statistics.store_view import StoreView


class Chapter:
    """One task of a store."""

    def __init__(self, study: StoreView, task: str, store: str) -> None:
        models = study.validated(task)
        scored = any(math.isfinite(own.gain.value) for own in models)
        slug = re.sub(r"[^a-z0-9]+", "-", task.lower()).strip("-")
        self.id, self.task, self.name = f"{store}-{slug}", task, text.task_name(task)
        self.evidence = study.evidence.get(task)
        self.findings = findings(task, study)
        # The sentence on the winner, or why there is none.
        self.headline = self.findings[min(1, len(self.findings) - 1)]
        self.marks = page_marks(order(own.method for own in models), study.methods(task))
        self.fronts = front.page_charts(study, task, self.marks) if scored else []
        self.speeds = speed.page_charts(study, task, self.marks) if scored else []
        self.opening, self.closing = tables(task, study)
        changes = [name for name in self.opening if name.startswith("changes")]
        self.changes = [self.opening[name] for name in changes]
        self.keep_ratios = keep_ratio.page_grid(study, task)
        self.settings = settings.page_grids(study, task)
        self.time_bars = time_shares.data(models)
        self.search = search.page_chart(study, task)


class StorePage:
    """One store."""

    def __init__(self, study: StoreView, id: str, name: str) -> None:
        self.id, self.name = id, name
        self.summary = summary(study) if study.trials else "No trials."
        self.chapters = [Chapter(study, task, id) for task in study.tasks]
        self.maps = [break_even.page_grid(record) for record in study.maps]
        self.failures, self.noisy = failures(study), wide_timings(study)
        self.origin = Origin(study)


def store_pages(studies: Sequence[StoreView]) -> list[StorePage]:
    """What the page shows of each store, under a name that no other store of the page has."""
    names = [study.name for study in studies]
    return [
        StorePage(study, f"s{place}", f"{name}-{place}" if names.count(name) > 1 else name)
        for place, (study, name) in enumerate(zip(studies, names, strict=True), 1)
    ]

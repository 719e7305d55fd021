"""What a page shows: of every store its tasks, its maps and its origin."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from lotbench.report import text
from lotbench.report.figures import break_even, draw, style
from lotbench.report.figures.hover import as_svg
from lotbench.report.findings import findings
from lotbench.report.looks import looks, order
from lotbench.report.readme import summary
from lotbench.report.tables.models import models
from lotbench.report.tables.of_task import tables
from lotbench.report.tables.origin import Origin, failures, wide_timings
from lotbench.statistics.store_view import StoreView


class Picture(NamedTuple):
    """A figure of a page."""

    heading: str
    svg: str


class Chapter:
    """One task of a store."""

    def __init__(self, study: StoreView, task: str, store: str) -> None:
        slug = re.sub(r"[^a-z0-9]+", "-", task.lower()).strip("-")
        self.id, self.task, self.name = f"{store}-{slug}", task, text.task_name(task)
        self.evidence = study.evidence.get(task)
        self.findings = findings(task, study)
        # The sentence on the winner, or why there is none.
        self.headline = self.findings[min(1, len(self.findings) - 1)]
        given = looks(study.methods(task))
        methods = order({own.method for own in study.validated(task)})
        self.colours = {method: given[method][0] for method in methods}
        """The colours of figures, by method."""
        with style.drawing():
            self.pictures = [
                Picture(draw.FIGURES[name].heading, as_svg(figure, f"{self.id}-{name}"))
                for name, figure in draw.of_task(study, task)
            ]
        self.tables = tables(task, study)
        if every := models(task, study):
            self.tables["models"] = every


class StorePage:
    """One store."""

    def __init__(self, study: StoreView, id: str, name: str) -> None:
        self.id, self.name, self.runs = id, name, study.runs
        self.summary = summary(study) if study.trials else "No trials."
        self.chapters = [Chapter(study, task, id) for task in study.tasks]
        with style.drawing():
            self.maps = [
                Picture(record.setting.label, as_svg(break_even.figure(record), f"{id}-map{place}"))
                for place, record in enumerate(study.maps)
            ]
        self.failures, self.noisy = failures(study), wide_timings(study)
        self.origin = Origin(study)


def store_pages(studies: Sequence[StoreView]) -> list[StorePage]:
    """What the page shows of each store, under a name that no other store of the page has."""
    names = [study.name for study in studies]
    return [
        StorePage(study, f"s{place}", f"{name}-{place}" if names.count(name) > 1 else name)
        for place, (study, name) in enumerate(zip(studies, names, strict=True), 1)
    ]

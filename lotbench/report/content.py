"""What tables and figures show of a store: its frame with written names, points and evidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lotbench.report import words
from lotbench.report.names import named
from lotbench.report.pareto import points, scored
from lotbench.report.reference import Reference, references
from lotbench.report.statistics import Evidence, evidence, with_intervals
from lotbench.store.answers import Missed, answers, missed
from lotbench.store.frame import frame

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Content:
    """A store as the report sees it."""

    table: pd.DataFrame
    """The frame; ``method`` is the written name."""
    rows: pd.DataFrame
    """The points, with intervals where there are predictions."""
    evidence: dict[str, Evidence]
    """By task; a task without a reference has none."""
    missed: list[Missed]
    references: dict[str, Reference]
    """By task."""

    def open_ends(self, task: str) -> set[str]:
        """The methods of a task whose fastest model may not be the fastest that they can do."""
        own = self.evidence[task]
        return {method for method in own.candidates if own.is_open(method)}

    def texts(self, task: str, split: str) -> str:
        """How many texts a split of a task has: ``1500``; ``1500 and 500`` if trials differ."""
        own = self.table[(self.table["task"] == task) & (self.table["split"] == split)]
        if not len(own):
            return "no"
        return words.listed([f"{int(n)}" for n in words.distinct(own["examples"])]) or "?"


def read(folder: str | Path) -> Content:
    """The content of a store.

    Raises
    ------
    InputError
        If the folder is not a store.
    """
    table = named(frame(folder))
    lacking = missed(folder)
    found = evidence(table, answers(folder), lacking)
    rows = with_intervals(points(table), found)
    return Content(table, rows, found, lacking, references(scored(table)))

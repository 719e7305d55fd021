"""A table as text, shown by the terminal and written as Markdown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table of a report.  A cell may have several lines."""

    title: str
    columns: list[str]
    groups: list[list[list[str]]]
    """Groups of rows, set apart in the terminal; a row has one cell per column."""
    notes: list[str]
    setting: bool = False
    """True if the second column is a setting, which is text and not a number."""

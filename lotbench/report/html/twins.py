"""The tables of a report in Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from lotbench.report.html.chapters import Section
from lotbench.report.markdown import markdown, plain
from lotbench.report.table import Table

# What LaTeX writes in another way, beside what pandas escapes.
LATEX = {
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{EN DASH}": "--",
}


def write(stores: Sequence[Section], summary: Table | None, page: Path) -> list[Path]:
    """Write the tables into a folder beside a page, ``report-tables``, and return their files.

    They are ``tables.md``, ``tables.tex``, ``<store>-<task>-<table>.csv`` and ``all-tasks.csv``.
    """
    folder = page.with_name(f"{page.stem}-tables")
    folder.mkdir(exist_ok=True)
    text, latex = folder / "tables.md", folder / "tables.tex"
    text.write_text(as_markdown(stores, summary), encoding="utf-8")
    latex.write_text(as_latex(stores, summary), encoding="utf-8")
    written = [text, latex]
    for name, table in _tables(stores, summary):
        path = folder / f"{name}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(table.columns)
            writer.writerows([_one_line(c) for c in row] for rows in table.groups for row in rows)
        written.append(path)
    return written


def as_markdown(stores: Sequence[Section], summary: Table | None) -> str:
    """The summary over all tasks, then the sentences and tables of all stores."""
    parts = [markdown(summary)] if summary else []
    for store in stores:
        parts += [f"# {store.name}", store.summary]
        for task in store.chapters:
            parts.append(f"## {task.name}")
            parts.append("\n".join(f"- {plain(sentence)}" for sentence in task.findings))
            parts += map(markdown, task.tables.values())
    return "\n\n".join(parts) + "\n"


def as_latex(stores: Sequence[Section], summary: Table | None) -> str:
    """The tables, each as a ``longtable`` with its title and its notes."""
    parts = [r"% Needs \usepackage{booktabs,longtable}."]
    parts += [_longtable(table, f"tab:{name}") for name, table in _tables(stores, summary)]
    return "\n\n".join(parts)


def _longtable(table: Table, label: str) -> str:
    import pandas as pd

    rows = [[_one_line(cell) for cell in row] for rows in table.groups for row in rows]
    left = 1 + table.setting
    text = pd.DataFrame(rows, columns=table.columns).to_latex(
        index=False,
        escape=True,
        longtable=True,
        column_format="l" * left + "r" * (len(table.columns) - left),
        caption=_escaped(table.title),
        label=label,
    )
    for sign, written in LATEX.items():
        text = text.replace(sign, written)
    notes = "\n".join(f"% {note}" for note in table.notes)
    return f"{notes}\n{text}"


def _escaped(text: str) -> str:
    for sign in "&%_#":
        text = text.replace(sign, f"\\{sign}")
    return text


def _one_line(cell: str) -> str:
    return cell.replace("\n", "; ")


def _tables(stores: Sequence[Section], summary: Table | None) -> Iterator[tuple[str, Table]]:
    """The tables, each with its name."""
    if summary:
        yield "all-tasks", summary
    for store in stores:
        for task in store.chapters:
            for name, table in task.tables.items():
                yield f"{store.name}-{task.task}-{name}", table

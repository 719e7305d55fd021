"""The tables of a report in Markdown, LaTeX and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lotbench.report.page.chapters import StorePage
from lotbench.report.tables.render import Table, as_csv, latex, markdown, plain
from lotbench.store.files import subfolder, write_file


def write(stores: Sequence[StorePage], compared: Table | None, page: Path) -> list[Path]:
    """Write the tables into a folder next to a page, ``report-tables``, and return their files.

    They are ``tables.md``, ``tables.tex``, ``<store>-<task>-<table>.csv`` and ``all-tasks.csv``.
    """
    folder = subfolder(page.parent, f"{page.stem}-tables")
    named = {"all-tasks": compared} if compared else {}
    named |= {
        f"{store.name}-{task.task}-{name}": table
        for store in stores
        for task in store.chapters
        for name, table in task.tables.items()
    }
    parts = [r"% Needs \usepackage{booktabs,longtable}."]
    parts += [latex(table, f"tab:{name}") for name, table in named.items()]
    texts = {"tables.md": _as_markdown(stores, compared), "tables.tex": "\n\n".join(parts)}
    texts |= {f"{name}.csv": as_csv(table) for name, table in named.items()}
    for name, content in texts.items():
        write_file(folder / name, content)
    return [folder / name for name in texts]


def _as_markdown(stores: Sequence[StorePage], compared: Table | None) -> str:
    """The table over all tasks, then the sentences and tables of all stores."""
    parts = [markdown(compared)] if compared else []
    for store in stores:
        parts += [f"# {store.name}", store.summary]
        for task in store.chapters:
            parts.append(f"## {task.name}")
            parts.append("\n".join(f"- {plain(sentence)}" for sentence in task.findings))
            parts += map(markdown, task.tables.values())
    return "\n\n".join(parts) + "\n"

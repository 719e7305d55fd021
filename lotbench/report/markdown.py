"""Tables in Markdown."""

from __future__ import annotations

from lotbench.report.table import Table


def markdown(content: Table) -> str:
    """The table in Markdown, under its title and above its notes."""
    left = 1 + content.setting
    lines = [_line(content.columns)]
    lines.append(_line(["---"] * left + ["---:"] * (len(content.columns) - left)))
    lines += [_row(row, content.setting) for rows in content.groups for row in rows]
    notes = [f"- {plain(note)}" for note in content.notes]
    return "\n".join([f"### {content.title}", "", *lines, "", *notes])


def plain(text: str) -> str:
    """The text with escapes, so that Markdown shows ``*`` and ``~``."""
    return text.replace("*", r"\*").replace("~", r"\~")


def _row(row: list[str], setting: bool) -> str:
    """A row of the table; a setting is code, so that Markdown keeps its underscores."""
    cells = [cell.replace("|", r"\|").replace("\n", "<br>") for cell in row]
    written = [plain(cell) for cell in cells]
    if setting:
        written[1] = f"`{cells[1]}`" if cells[1] else ""
    return _line(written)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"

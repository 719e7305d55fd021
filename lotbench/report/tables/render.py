"""A table as text, and its forms: Markdown, LaTeX and CSV."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape as escape_html

# What LaTeX writes in another way than pandas does.
LATEX = {
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{DAGGER}": r"$\dagger$",
    "\N{EN DASH}": "--",
}
# Escapes of a caption in LaTeX, and of a text in Markdown.
CAPTION = str.maketrans({sign: f"\\{sign}" for sign in "&%_#"})
MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in r"\*~_|<"} | {"\n": "<br>"})
# Beginning of a cell that a spreadsheet computes, unless it is a number.
FORMULA = re.compile(r"^(?!\+?-?\d)[=+@-]")


@dataclass(frozen=True)
class Table:
    """A table of a report.  A cell may have several lines."""

    title: str
    columns: list[str]
    groups: list[list[list[str]]]
    """Groups of rows; a row has one cell per column."""
    notes: list[str]
    texts: int = 1
    """How many columns from the left are texts and not numbers."""

    def rows(self) -> Iterator[list[str]]:
        """All rows, each cell in one line."""
        for group in self.groups:
            for row in group:
                yield [cell.replace("\n", "; ") for cell in row]


def markdown(content: Table) -> str:
    """The table in Markdown, under its title and above its notes."""
    return "\n\n".join([f"### {plain(content.title)}", grid(content), bullets(content.notes)])


def grid(content: Table) -> str:
    """The rows and columns of a table in Markdown; numbers keep together with their intervals."""
    texts, numbers = content.texts, len(content.columns) - content.texts
    lines = [_line(content.columns), _line(["---"] * texts + ["---:"] * numbers)]
    for row in (list(map(plain, row)) for group in content.groups for row in group):
        lines.append(_line([*row[:texts], *(cell.replace(" ", "\u00a0") for cell in row[texts:])]))
    return "\n".join(lines)


def bullets(sentences: Iterable[str]) -> str:
    """A list in Markdown."""
    return "\n".join(f"- {plain(sentence)}" for sentence in sentences)


def folded(summary: str, content: str) -> str:
    """Markdown behind a button.  It has no headings, which a page would put into its contents."""
    return f"<details>\n<summary>{escape_html(summary)}</summary>\n\n{content}\n\n</details>"


def plain(text: str) -> str:
    """The text with escapes, so that Markdown shows it as it is."""
    return text.translate(MARKDOWN)


def latex(content: Table, label: str) -> str:
    """The table as a ``longtable`` with its title; its notes are comments above it."""
    import pandas as pd

    text = pd.DataFrame([*content.rows()], columns=content.columns).to_latex(
        index=False,
        escape=True,
        longtable=True,
        column_format="l" * content.texts + "r" * (len(content.columns) - content.texts),
        caption=content.title.translate(CAPTION),
        label=label,
    )
    notes = "\n".join(f"% {note}" for note in content.notes)
    return f"{notes}\n{text.translate(str.maketrans(LATEX))}"


def as_csv(content: Table) -> str:
    """The table as CSV, without title and notes; no cell is a formula to a spreadsheet."""
    import pandas as pd

    rows = [[FORMULA.sub(r"'\g<0>", cell) for cell in row] for row in content.rows()]
    return pd.DataFrame(rows, columns=content.columns).to_csv(index=False, lineterminator="\n")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"

"""Lines for a screen of 80 columns, whatever the terminal has."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence

WIDTH, HEIGHT = 80, 25
"""Most columns and lines of the screen that ends a command."""
LABEL = re.compile(r" *\S+(?: \S+)?  +| +|")
"""What stands left of all lines of a paragraph: its label, or blanks."""


def fit(lines: Iterable[str]) -> list[str]:
    """The lines, wrapped to the right of their label; a command can still be pasted.

    A word that is too long for the screen, such as a path, stays whole.
    """
    labels = [(LABEL.match(line).group(), line) for line in lines]  # type: ignore[union-attr]
    return [part for label, line in labels for part in _wrapped(label, line[len(label) :])]


def labelled(lines: Mapping[str, str]) -> list[str]:
    """Lines with their labels in a column."""
    width = max(map(len, lines), default=0)
    return [part for label, line in lines.items() for part in _wrapped(f"{label:<{width}}  ", line)]


def _wrapped(label: str, line: str) -> list[str]:
    end = " \\" if line.startswith("lotbench ") else ""
    room = WIDTH - len(label) - len(end)
    parts = textwrap.wrap(line, room, break_long_words=False, break_on_hyphens=False) or [""]
    begins = [label, *[" " * len(label)] * (len(parts) - 1)]
    ends = [*[end] * (len(parts) - 1), ""]
    whole = zip(begins, parts, ends, strict=True)
    return [f"{begin}{part}{end}".rstrip() for begin, part, end in whole]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells in columns; the first is to the left, and its names are cut to the width."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    most = WIDTH - 2 - sum(width + 2 for width in widths[1:])
    lines = []
    for name, *cells in rows:
        cut = name if len(name) <= most else f"{name[: most - 3]}..."
        numbers = (f"  {cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        lines.append(f"  {cut:<{min(widths[0], most)}}{''.join(numbers)}".rstrip())
    return lines


def shortened(lines: Sequence[str], most: int, what: str) -> list[str]:
    """At most so many of the lines; the last one counts those that are left out."""
    if len(lines) <= most:
        return [*lines]
    return [*lines[: most - 1], f"  ... {len(lines) - most + 1} more {what}"]

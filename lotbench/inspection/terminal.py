"""Routes and shares in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lotbench.inspection.route import COLOURS, MARKS, WORDS, Fate, Route
from lotbench.inspection.split import Kept

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

BAR, LONGEST_BAR = "\N{LOWER SEVEN EIGHTHS BLOCK}", 8


def of_text(routes: Sequence[Route]) -> Group:
    """One line per token: its fate in each layer of every model, and the saliency."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("token", no_wrap=True)
    for route in routes:
        layers = "".join(str((layer + 1) % 10) for layer in range(len(route.fates)))
        table.add_column(f"{route.name}\nlayer {layers}", no_wrap=True)
        if np.isfinite(route.confidence).any():
            table.add_column("router\nfirst layer", justify="right")
    saliency = routes[0].saliency
    if saliency is not None:
        table.add_column("teacher's\nsaliency", no_wrap=True)
    for place, token in enumerate(routes[0].tokens):
        cells: list[Text] = [Text(token)]
        for route in routes:
            fates = [Fate(fate) for fate in route.fates[:, place]]
            marks = [(MARKS[fate], COLOURS[fate]) for fate in fates]
            cells.append(Text.assemble(" " * len("layer "), *marks))
            if np.isfinite(route.confidence).any():
                known = route.confidence[:, place][np.isfinite(route.confidence[:, place])]
                cells.append(Text(f"{known[0]:.2f}" if len(known) else ""))
        if saliency is not None:
            cells.append(Text(BAR * round(LONGEST_BAR * float(saliency[place]))))
        table.add_row(*cells)
    legend = Text("  ").join(
        Text.assemble((" " * 6 + MARKS[fate], COLOURS[fate]), f" {WORDS[fate]}") for fate in MARKS
    )
    return Group(*(Text(route.title) for route in routes), table, legend)


def of_split(models: Sequence[Kept]) -> Group:
    """For every model its shares by kind, place and word."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Table | Text] = []
    for model in models:
        texts = f"{model.name}, {model.texts} texts"
        parts.append(Text(f"{texts}: share of the tokens that layers compute"))
        parts += [_shares(title, rows) for title, rows in model.tables.items()]
        for title, words in (("computed most", model.most), ("computed least", model.least)):
            listed = ", ".join(f"{word} {100 * share:.0f}%" for word, share, _ in words)
            parts.append(Text(f"words {title}: {listed or 'none occurs often enough'}"))
        parts.append(Text())
    return Group(*parts)


def _shares(title: str, rows: dict[str, np.ndarray]) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(title)
    for layer in range(len(next(iter(rows.values())))):
        table.add_column(f"layer {layer + 1}", justify="right")
    for name, shares in rows.items():
        table.add_row(name, *(f"{100 * share:.0f}%" for share in shares))
    return table

"""Routes and shares in a screen of the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lotbench.inspection.route import COLOURS, MARKS, WORDS, Fate, Route
from lotbench.inspection.split import Kept
from lotbench.report.layout import HEIGHT, WIDTH
from lotbench.statistics.scored import evenly

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

BAR, LONGEST_BAR = "\N{LOWER SEVEN EIGHTHS BLOCK}", 8
LINES = 8
"""Lines of the screen of a text that are no tokens and no titles."""
MOST_LAYERS = 12
"""Layers whose shares have room side by side."""
MOST_MODELS, MOST_WORDS = 3, 8
EVIDENCE = "*"


def of_text(routes: Sequence[Route]) -> Group:
    """One line per token: its fate in each layer of every model, and the saliency.

    What has no room in a screen is counted.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    shown = _side_by_side(routes)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    marked = "" if routes[0].evidence is None else f"\n{EVIDENCE} evidence"
    table.add_column(f"token{marked}", no_wrap=True)
    for route in shown:
        layers = "".join(str((layer + 1) % 10) for layer in range(len(route.fates)))
        table.add_column(f"{route.name}\nlayer {layers}", no_wrap=True)
        if np.isfinite(route.confidence).any():
            table.add_column("router\nlayer 1", justify="right")
    saliency = routes[0].saliency
    if saliency is not None:
        table.add_column("\nsaliency", no_wrap=True)
    tokens = _marked(routes[0])[: HEIGHT - LINES - len(shown)]
    for place, token in enumerate(tokens):
        cells: list[Text] = [Text(token)]
        for route in shown:
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
        Text.assemble((MARKS[fate], COLOURS[fate]), f" {WORDS[fate]}") for fate in MARKS
    )
    titles = [Text(route.title, no_wrap=True, overflow="ellipsis") for route in shown]
    left = _left(len(routes[0].tokens) - len(tokens), "tokens", len(routes) - len(shown))
    return Group(*titles, table, *left, legend)


def _marked(route: Route) -> list[str]:
    """The tokens, with a mark behind those of the evidence."""
    if route.evidence is None:
        return route.tokens
    pairs = zip(route.tokens, route.evidence, strict=True)
    return [f"{token} {EVIDENCE}" if mark else token for token, mark in pairs]


def _side_by_side(routes: Sequence[Route]) -> Sequence[Route]:
    """The first models that have room beside the tokens and the saliency; one at least."""
    room = WIDTH - max(map(len, _marked(routes[0]))) - len("  saliency")
    for count, route in enumerate(routes):
        room -= max(len(route.name), len("layer ") + len(route.fates)) + 2
        room -= len("layer 1  ") * bool(np.isfinite(route.confidence).any())
        if room < 0:
            return routes[: max(1, count)]
    return routes


def _left(number: int, things: str, models: int) -> list[Text]:
    """A line that counts what has no room."""
    from rich.text import Text

    parts = [f"{number} more {things}"] * (number > 0)
    parts += [f"{models} more model{'s' * (models > 1)}"] * (models > 0)
    return [Text(f"... {' and '.join(parts)}", "dim")] if parts else []


def of_split(models: Sequence[Kept]) -> Group:
    """For a model its shares by kind, place and word; for several by kind alone."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Table | Text] = []
    shown = models[:MOST_MODELS]
    for model in shown:
        texts = f"{model.name}, {model.texts} texts"
        title = f"{texts}: share of the tokens that layers compute"
        parts.append(Text(title, no_wrap=True, overflow="ellipsis"))
        tables = [*model.tables.items()]
        parts += [_shares(title, rows) for title, rows in tables[: 1 if models[1:] else None]]
    if len(models) > 1:
        return Group(*parts, *_left(0, "", len(models) - len(shown)))
    for title, words in (("most", models[0].most), ("least", models[0].least)):
        listed = ", ".join(f"{word} {100 * share:.0f}%" for word, share, _ in words[:MOST_WORDS])
        parts.append(Text(f"words computed {title}: {listed or 'none occurs often enough'}"))
    return Group(*parts)


def _shares(title: str, rows: dict[str, np.ndarray]) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(f"{title}, layer", no_wrap=True)
    layers = evenly(range(len(next(iter(rows.values())))), MOST_LAYERS)
    for layer in layers:
        table.add_column(str(layer + 1), justify="right", min_width=4)
    for name, shares in rows.items():
        table.add_row(name, *(f"{100 * shares[layer]:.0f}%" for layer in layers))
    return table

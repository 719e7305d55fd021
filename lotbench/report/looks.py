"""The colour and marker of every method, and the order in which figures and tables list them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple, get_args

from lotbench.statistics.runs import Label
from lotbench.store.rows import Look

# Okabe and Ito's palette, distinguishable with all kinds of colour vision.
SKY, YELLOW = "#56B4E9", "#F0E442"
BLUE, VERMILLION, PURPLE, BLACK = "#0072B2", "#D55E00", "#CC79A7", "#000000"
GREY = "#777777"
# For methods without a colour (dark colours of Tol's muted palette), unlike the looks of ours.
FREE = [
    (colour, marker)
    for marker in ("<", ">", "p", "d", "8", "H")
    for colour in ("#332288", "#882255", "#999933", "#44AA99", "#661100")
]

ROLES = get_args(Look.model_fields["role"].annotation)
# Lines of the main family, whose colours are close to each other, by `Look.order`.
DASHES = (
    *("-", (0, (6, 1.5)), (0, (3, 1, 1, 1)), (0, (2.2, 1.2)), (0, (8, 1.5, 1.5, 1.5))),
    (0, (4, 1, 1, 1, 1, 1)),
)
# Lines of controls.
DOTTED = (0, (1, 1))
# Most luminance of a line: a contrast of 3 to white.
BRIGHT = 0.3


class Style(NamedTuple):
    """How a figure shows a method."""

    colour: str
    """Of marks."""
    marker: str
    line: str
    """The colour of lines: that of marks, dark enough for white paper."""
    dash: Any
    """Matplotlib's line style."""


def look_of(method: str) -> Look:
    """The look of a written name; one that no row brought has a colour from a hash."""
    return method.look if isinstance(method, Label) else Look(label=method)


def looks(methods: Iterable[str]) -> dict[str, Style]:
    """The style by written name; a colour that no row brought is unlike all of the others."""
    methods = sorted(set(methods))
    brought = {method: look_of(method) for method in methods}
    taken = {method: (own.colour, own.marker) for method, own in brought.items() if own.colour}
    for method in methods:
        if method not in taken:
            start = int.from_bytes(hashlib.sha256(method.encode()).digest()[:4])
            turns = (FREE[(start + turn) % len(FREE)] for turn in range(len(FREE)))
            free = (look for look in turns if look not in taken.values())
            taken[method] = next(free, FREE[start % len(FREE)])
    return {m: Style(*taken[m], dark(taken[m][0]), _dash(brought[m])) for m in methods}


def dark(colour: str) -> str:
    """The colour, or a darker one of its hue that can be seen on white."""
    linear = [(int(colour[at : at + 2], 16) / 255) ** 2.2 for at in (1, 3, 5)]
    luminance = sum(w * each for w, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    if luminance <= BRIGHT:
        return colour
    parts = (round(255 * (each * BRIGHT / luminance) ** (1 / 2.2)) for each in linear)
    return "#" + "".join(f"{part:02X}" for part in parts)


def _dash(look: Look) -> Any:
    if look.role == "main":
        return DASHES[look.order % len(DASHES)]
    return DOTTED if look.role == "control" else "-"


def mark(look: Style) -> dict[str, Any]:
    """Matplotlib arguments of a point; the dark edge makes yellow visible and separates points."""
    size = 9 if look.marker == "*" else 5.5
    edge = {"markeredgecolor": "#222222", "markeredgewidth": 0.5, "markerfacecolor": look.colour}
    shape = {"color": look.line, "marker": look.marker, "markersize": size, "zorder": 5}
    return shape | edge


def order(methods: Iterable[str]) -> list[str]:
    """The methods in the order of legends: the main one, others, controls, dense."""

    def place(method: str) -> tuple[int, int, str]:
        look = look_of(method)
        return ROLES.index(look.role), look.order, method

    return sorted(set(methods), key=place)

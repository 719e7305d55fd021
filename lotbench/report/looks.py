"""The colour and marker of every method, and the order in which figures and tables list them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, get_args

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


def look_of(method: str) -> Look:
    """The look of a written name; one that no row brought has a colour from a hash."""
    return method.look if isinstance(method, Label) else Look(label=method)


def looks(methods: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker by written name: those of the rows, else unlike all of the others."""
    methods = sorted(set(methods))
    brought = {method: look_of(method) for method in methods}
    taken = {method: (own.colour, own.marker) for method, own in brought.items() if own.colour}
    for method in methods:
        if method not in taken:
            start = int.from_bytes(hashlib.sha256(method.encode()).digest()[:4])
            turns = (FREE[(start + turn) % len(FREE)] for turn in range(len(FREE)))
            free = (look for look in turns if look not in taken.values())
            taken[method] = next(free, FREE[start % len(FREE)])
    return {method: taken[method] for method in methods}


def mark(look: tuple[str, str]) -> dict[str, Any]:
    """Matplotlib arguments of a point; the dark edge makes yellow visible and separates points."""
    colour, marker = look
    size = 9 if marker == "*" else 5.5
    edge = {"markeredgecolor": "#222222", "markeredgewidth": 0.5}
    return {"color": colour, "marker": marker, "markersize": size, "zorder": 5, **edge}


def order(methods: Iterable[str]) -> list[str]:
    """The methods in the order of legends: the main one, others, controls, dense."""

    def place(method: str) -> tuple[int, int, str]:
        look = look_of(method)
        return ROLES.index(look.role), look.order, method

    return sorted(set(methods), key=place)

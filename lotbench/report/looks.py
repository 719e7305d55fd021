"""The colour and marker of every method, and the order in which figures and tables list them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple, get_args

from lotbench.statistics.names import Label
from lotbench.store.rows import Look

# Okabe and Ito's palette, distinguishable with all kinds of colour vision.
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE, BLACK = "#0072B2", "#D55E00", "#CC79A7", "#000000"
GREY = "#777777"
# For methods without a colour (dark colours of Tol's muted palette), unlike the looks of ours.
FREE = [
    (colour, marker)
    for marker in ("<", ">", "p", "d", "8", "H")
    for colour in ("#332288", "#882255", "#999933", "#44AA99", "#661100")
]

ROLES = get_args(Look.model_fields["role"].annotation)

# Contrast of marks on a page's light and on its dark background: WCAG asks for 3, thin lines on a
# dark page need more.
LIGHT, DARK = ("#FFFFFF", 3.0), ("#15181D", 4.5)
# Outlines by matplotlib's marker, within 1 of the origin; y points down.
SHAPES = {
    "o": "M-1,0A1,1,0,1,1,1,0A1,1,0,1,1,-1,0Z",
    "s": "M-.88,-.88H.88V.88H-.88Z",
    "^": "M0,-1.1L1.1,.9H-1.1Z",
    "v": "M0,1.1L1.1,-.9H-1.1Z",
    "<": "M-1.1,0L.9,-1.1V1.1Z",
    ">": "M1.1,0L-.9,-1.1V1.1Z",
    "D": "M0,-1.2L1.2,0L0,1.2L-1.2,0Z",
    "d": "M0,-1.3L.8,0L0,1.3L-.8,0Z",
    "P": "M-.4,-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",
    "X": "M-1.1,-.6L-.6,-1.1L0,-.5L.6,-1.1L1.1,-.6L.5,0L1.1,.6L.6,1.1L0,.5L-.6,1.1L-1.1,.6L-.5,0Z",
    "*": "M0,-1.4L.4,-.6L1.3,-.4L.7,.2L.8,1.1L0,.7L-.8,1.1L-.7,.2L-1.3,-.4L-.4,-.6Z",
    "p": "M0,-1.1L1.05,-.34L.65,.89H-.65L-1.05,-.34Z",
    "h": "M0,-1.1L.95,-.55V.55L0,1.1L-.95,.55V-.55Z",
    "H": "M-.55,-.95H.55L1.1,0L.55,.95H-.55L-1.1,0Z",
    "8": "M-.42,-1H.42L1,-.42V.42L.42,1H-.42L-1,.42V-.42Z",
}


class PageMark(NamedTuple):
    """How a page draws a method in its light and its dark form."""

    method: str
    shape: str
    light: str
    dark: str


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


def page_marks(shown: Iterable[str], all_methods: Iterable[str]) -> list[PageMark]:
    """The marks of methods; as in figures, they depend on all methods of the task."""
    taken = looks(all_methods)
    return [
        PageMark(method, SHAPES[marker], _against(colour, *LIGHT), _against(colour, *DARK))
        for method, (colour, marker) in ((method, taken[method]) for method in shown)
    ]


def order(methods: Iterable[str]) -> list[str]:
    """The methods in the order of legends: the main one, others, controls, dense."""

    def place(method: str) -> tuple[int, int, str]:
        look = look_of(method)
        return ROLES.index(look.role), look.order, method

    return sorted(set(methods), key=place)


def _against(colour: str, background: str, least: float) -> str:
    """The colour, mixed with black or white in steps of 5% until it stands out; white for black."""
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    end = 0 if _luminance(background) > 0.5 else 255
    for step in range(21) if any(parts) else (0, 20):
        mixed = "#" + "".join(f"{round(own + (end - own) * step / 20):02X}" for own in parts)
        lighter, darker = sorted([_luminance(mixed), _luminance(background)], reverse=True)
        if (lighter + 0.05) / (darker + 0.05) >= least:
            return mixed
    return mixed


def _luminance(colour: str) -> float:
    """The relative luminance of the WCAG."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [own / 12.92 if own <= 0.04045 else ((own + 0.055) / 1.055) ** 2.4 for own in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

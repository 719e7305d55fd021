"""Shapes and colours of methods in a page, in its light and its dark form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from lotbench.report.looks import BLACK, looks

LIGHT, DARK = "#FFFFFF", "#15181D"
"""The backgrounds of charts; the style sheet has the same."""
# Least contrast of a mark against its background.  The WCAG asks 3 of graphics; thin lines need
# more on a dark page.
LEAST = {LIGHT: 3.0, DARK: 4.5}
STEPS = 20
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


class Mark(NamedTuple):
    """How a page draws a method."""

    method: str
    shape: str
    light: str
    dark: str


def marks(shown: Iterable[str], all_methods: Iterable[str]) -> list[Mark]:
    """The marks of methods; as in figures, they depend on all methods of the task."""
    given = looks(all_methods)
    found = []
    for method in shown:
        colour, marker = given[method]
        # Black becomes white, not a grey that looks hidden.
        dark = LIGHT if colour == BLACK else readable(colour, DARK)
        found.append(Mark(method, SHAPES[marker], readable(colour, LIGHT), dark))
    return found


def readable(colour: str, background: str) -> str:
    """The colour, as little mixed with black or white as it takes to stand out."""
    end = (0, 0, 0) if _luminance(_channels(background)) > 0.5 else (255, 255, 255)
    start = _channels(colour)
    for step in range(STEPS + 1):
        mixed = tuple(round(a + (b - a) * step / STEPS) for a, b in zip(start, end, strict=True))
        if contrast(_text(mixed), background) >= LEAST[background]:
            return _text(mixed)
    return _text(end)


def contrast(a: str, b: str) -> float:
    """The WCAG's contrast of two colours, from 1 to 21."""
    low, high = sorted(_luminance(_channels(colour)) for colour in (a, b))
    return (high + 0.05) / (low + 0.05)


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5))


def _text(channels: tuple[int, ...]) -> str:
    return "#" + "".join(f"{value:02X}" for value in channels)


def _luminance(channels: tuple[int, ...]) -> float:
    """The relative luminance of an sRGB colour, from 0 to 1."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (each / 255 for each in channels)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

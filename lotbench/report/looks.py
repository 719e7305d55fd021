"""The colour and marker of every method, and the order in which figures and tables list them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

# Okabe and Ito's palette, distinguishable with all kinds of colour vision.
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE, BLACK = "#0072B2", "#D55E00", "#CC79A7", "#000000"
GREY = "#777777"
# Reds for Leap-of-Thought: a shade and a marker for each variant of both recipes.
MARKERS = {
    **{"": "o", ", one decision": "p", ", drop": "v", ", one decision, drop": "<"},
    **{", table": "D", ", table, drop": ">"},
}
SHADES = {
    "ours": (VERMILLION, "#8F2D00", "#FF8F5C", "#B5651D", "#C4451C", "#A0522D"),
    "paper": ("#A61C3C", "#5E1024", "#E8748A", "#7F4A50", "#9C2F48", "#8B3A52"),
}
LEAPS = {
    f"LoT ({recipe}{variant})": (shade, marker)
    for recipe, shades in SHADES.items()
    for (variant, marker), shade in zip(MARKERS.items(), shades, strict=True)
}
METHODS = {
    **LEAPS,
    "LoT (fixed budget)": ("#C98B6B", "d"),
    "PoWER-BERT": (BLUE, "s"),
    "LTP": (GREEN, "^"),
    "TR-BERT": (PURPLE, "D"),
    "Transkimmer": ("#1E90A0", "<"),
    "AdapLeR": ("#A67C00", ">"),
    "LengthDrop": ("#4B6A9B", "H"),
    "ToMe": ("#117733", "p"),
    "PiToMe": ("#2F7F86", "h"),
}
CONTROLS = {
    "random-drop": (ORANGE, "v"),
    "first-k": (SKY, "P"),
    "static": ("#6B8E23", "s"),
    "truncated": (YELLOW, "X"),
    "dense": (BLACK, "*"),
    "dense-packed": (GREY, "h"),
}
FIXED = METHODS | CONTROLS
# The looks of plugins (dark colours of Tol's muted palette), which differ from all looks above.
PLUGINS = [
    (colour, marker)
    for marker in ("<", ">", "p", "d", "8", "H")
    for colour in ("#332288", "#882255", "#999933", "#44AA99", "#661100")
]

# The colours that a page replaces, mixed with black or white until they stand out: contrast 3 on
# its light and 4.5 on its dark background (WCAG), since thin lines need more on a dark page.  Black
# becomes white.
ON_LIGHT = {
    **{"#FF8F5C": "#D97A4E", "#E8748A": "#DC6E83", "#C98B6B": "#BF8466", "#E69F00": "#C48700"},
    **{"#56B4E9": "#4999C6", "#F0E442": "#9C942B", "#44AA99": "#41A291"},
}
ON_DARK = {
    **{"#8F2D00": "#B67659", "#B5651D": "#BC7434", "#A61C3C": "#C56B80", "#5E1024": "#A67C87"},
    **{"#7F4A50": "#9F777C", "#0072B2": "#338EC1", "#000000": "#FFFFFF", "#777777": "#858585"},
    **{"#332288": "#857AB8", "#882255": "#B26F90", "#661100": "#AB7C73"},
    **{"#4B6A9B": "#7A94BD", "#117733": "#3F925B", "#2F7F86": "#4A9BA2"},
    **{"#C4451C": "#CD613E", "#A0522D": "#B27355", "#9C2F48": "#B96B7D", "#8B3A52": "#AB7182"},
}
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


def looks(methods: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker by written name: fixed for built-in methods, from a hash for plugins."""
    given: dict[str, tuple[str, str]] = {}
    for method in sorted(set(methods)):
        if method in FIXED:
            given[method] = FIXED[method]
            continue
        start = int.from_bytes(hashlib.sha256(method.encode()).digest()[:4])
        turns = (PLUGINS[(start + turn) % len(PLUGINS)] for turn in range(len(PLUGINS)))
        free = (look for look in turns if look not in given.values())
        given[method] = next(free, PLUGINS[start % len(PLUGINS)])
    return given


def mark(look: tuple[str, str]) -> dict[str, Any]:
    """Matplotlib arguments of a point; the dark edge makes yellow visible and separates points."""
    colour, marker = look
    size = 9 if marker == "*" else 5.5
    edge = {"markeredgecolor": "#222222", "markeredgewidth": 0.5}
    return {"color": colour, "marker": marker, "markersize": size, "zorder": 5, **edge}


def page_marks(shown: Iterable[str], all_methods: Iterable[str]) -> list[PageMark]:
    """The marks of methods; as in figures, they depend on all methods of the task."""
    given = looks(all_methods)
    return [
        PageMark(method, SHAPES[marker], ON_LIGHT.get(colour, colour), ON_DARK.get(colour, colour))
        for method, (colour, marker) in ((each, given[each]) for each in shown)
    ]


def order(methods: Iterable[str]) -> list[str]:
    """The methods in the order of legends: Leap-of-Thought, baselines, plugins, controls, dense."""
    own = set(methods)
    plugins = sorted(own - FIXED.keys())
    return [method for method in (*METHODS, *plugins, *CONTROLS) if method in own]

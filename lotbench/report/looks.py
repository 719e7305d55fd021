"""The colour and marker of every method, and the order in which figures and tables list them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

# Okabe and Ito's palette, distinguishable with all kinds of colour vision.
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE, BLACK = "#0072B2", "#D55E00", "#CC79A7", "#000000"
GREY = "#777777"
# Reds for Leap-of-Thought: a shade and a marker for each variant of both recipes.
MARKERS = {"": "o", ", one decision": "p", ", drop": "v", ", one decision, drop": "<"}
SHADES = {
    "ours": (VERMILLION, "#8F2D00", "#FF8F5C", "#B5651D"),
    "paper": ("#A61C3C", "#5E1024", "#E8748A", "#7F4A50"),
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
}
CONTROLS = {
    "random-drop": (ORANGE, "v"),
    "first-k": (SKY, "P"),
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


def order(methods: Iterable[str]) -> list[str]:
    """The methods in the order of legends: Leap-of-Thought, baselines, plugins, controls, dense."""
    ranked = [list(METHODS), [], list(CONTROLS)]

    def place(method: str) -> tuple[int, int, str]:
        for group, names in enumerate(ranked):
            if method in names:
                return group, names.index(method), method
        return 1, 0, method

    return sorted(set(methods), key=place)

"""Shares of tokens that a model computes over many texts: by kind, place and word, and layer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from lotbench.inspection.route import Route

PLACES = 10
"""Parts of equal length that a text is divided into."""
RARE = 10
"""A word that occurs less often is not listed."""
LISTED = 12
KINDS = ("special", "stop word", "word", "word piece", "number", "punctuation", "evidence")
# The most frequent function words of English, each between two spaces.
STOP_WORDS = (
    " a about after all also am an and any are as at be because been before being but by can "
    "could did do does for from had has have he her hers him his how i if in into is it its "
    "just me more most my no nor not of on only or other our out over own same she should so "
    "some such than that the their them then there these they this those through to too under "
    "until up very was we were what when where which while who whom why will with would you "
    "your "
)


class Kept:
    """The share of tokens that the layers of one model compute, over the texts of a split."""

    def __init__(self, name: str, routes: Iterable[Route]) -> None:
        """``name`` is the model in a few words."""
        self.name, self.texts = name, 0
        by_kind: dict[str, list[np.ndarray]] = defaultdict(list)
        by_place: dict[int, list[np.ndarray]] = defaultdict(list)
        by_word: dict[str, list[float]] = defaultdict(list)
        for route in routes:
            self.texts += 1
            computed = route.computed.astype(float)
            for place, token in enumerate(route.tokens):
                layers, sort = computed[:, place], kind(token)
                by_kind[sort].append(layers)
                if route.evidence is not None and route.evidence[place]:
                    by_kind["evidence"].append(layers)
                by_place[PLACES * place // len(route.tokens)].append(layers)
                if sort in ("word", "stop word"):
                    by_word[_plain(token)].append(layers.mean())
        words = [(w, float(np.mean(x)), len(x)) for w, x in by_word.items() if len(x) >= RARE]
        self.most = sorted(words, key=lambda word: (-word[1], -word[2], word[0]))[:LISTED]
        """The words that are computed most: word, mean share over the layers, occurrences."""
        self.least = sorted(words, key=lambda word: (word[1], -word[2], word[0]))[:LISTED]
        kinds = {f"{sort} ({len(x)})": np.mean(x, axis=0) for sort in KINDS if (x := by_kind[sort])}
        places = {
            f"{place * 100 // PLACES} to {(place + 1) * 100 // PLACES}%": np.mean(layers, axis=0)
            for place, layers in sorted(by_place.items())
        }
        self.tables = {"kind of token": kinds, "place in the text": places}
        """By title, then by row: the share in each layer, (L,).  Rows are kinds of tokens with
        their number, such as ``number (12)``, or tenths of the text, such as ``0 to 10%``."""


def kind(token: str) -> str:
    """The kind of a token, one of `KINDS`."""
    plain = _plain(token)
    if token.startswith(("[", "<")) and token.endswith(("]", ">")) and len(token) > 2:
        return "special"
    if token.startswith("##"):
        return "word piece"
    if not any(letter.isalnum() for letter in plain):
        return "punctuation"
    if plain.isdigit():
        return "number"
    return "stop word" if f" {plain.lower()} " in STOP_WORDS else "word"


def _plain(token: str) -> str:
    """The token without the marks that tokenizers put at the beginning of words."""
    return token.lstrip("\u0120\u2581")

"""Grids in the parameters of a method: ``{grid: [first, second]}``."""

from __future__ import annotations

import math
from itertools import product
from typing import Any, NamedTuple

from lotbench.validation import KeyPath, dotted


class Variant(NamedTuple):
    """One choice from every grid of a value.

    Attributes
    ----------
    value
        The value, with one entry in place of every grid.
    chosen : dict
        For the key path of each grid, the keys that lead to the chosen entry, such as
        ``("grid", 1)``.
    """

    value: Any
    chosen: dict[KeyPath, KeyPath]


def variants(value: Any, path: KeyPath = ()) -> list[Variant]:
    """Every variant of a value: one for each choice of an entry from every ``{grid: [...]}``.

    The last grid of the file varies fastest.

    Raises
    ------
    ValueError
        If a grid is empty, is not a list, or has sibling keys.
    """
    if isinstance(value, dict) and "grid" in value:
        options = value["grid"]
        if len(value) > 1 or not isinstance(options, list) or not options:
            where = dotted(path) or "block"
            raise ValueError(f"{where}: a grid is written {{grid: [first, second, ...]}}")
        return [
            Variant(inner, chosen | {path: ("grid", i, *chosen.get(path, ()))})
            for i, option in enumerate(options)
            for inner, chosen in variants(option, path)
        ]
    if isinstance(value, dict):
        parts = [variants(item, (*path, key)) for key, item in value.items()]
        return [_joined(dict(zip(value, _values(c), strict=True)), c) for c in product(*parts)]
    if isinstance(value, list):
        parts = [variants(item, (*path, i)) for i, item in enumerate(value)]
        return [_joined(_values(c), c) for c in product(*parts)]
    return [Variant(value, {})]


def count(value: Any) -> int:
    """The number of `variants`, found without making them."""
    if isinstance(value, dict) and isinstance(value.get("grid"), list):
        return sum(map(count, value["grid"]))
    if isinstance(value, dict):
        return math.prod(map(count, value.values()))
    return math.prod(map(count, value)) if isinstance(value, list) else 1


def size(value: Any) -> int:
    """The most values that a variant has."""
    if isinstance(value, dict) and isinstance(value.get("grid"), list):
        return max(map(size, value["grid"]), default=0)
    if isinstance(value, dict):
        return 1 + sum(map(size, value.values()))
    return 1 + sum(map(size, value)) if isinstance(value, list) else 1


def has_grid(value: Any) -> bool:
    """True if the value contains a grid at any depth."""
    if isinstance(value, dict):
        return "grid" in value or any(map(has_grid, value.values()))
    return isinstance(value, list) and any(map(has_grid, value))


def _values(parts: tuple[Variant, ...]) -> list[Any]:
    return [part.value for part in parts]


def _joined(value: Any, parts: tuple[Variant, ...]) -> Variant:
    return Variant(value, {path: way for part in parts for path, way in part.chosen.items()})

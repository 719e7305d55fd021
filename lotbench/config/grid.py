"""Grids among the parameters of a method: ``{grid: [first, second]}``."""

from __future__ import annotations

from itertools import product
from typing import Any


def variants(value: Any, path: str = "") -> list[Any]:
    """Every value that remains when each ``{grid: [...]}`` inside stands for one of its entries.

    The last grid of the file varies fastest.

    Raises
    ------
    ValueError
        If a grid is empty, is no list, or has neighbours.
    """
    if isinstance(value, dict) and "grid" in value:
        options = value["grid"]
        if len(value) > 1 or not isinstance(options, list) or not options:
            raise ValueError(f"{path or 'block'}: a grid is written {{grid: [first, second, ...]}}")
        return [variant for option in options for variant in variants(option, path)]
    if isinstance(value, dict):
        parts = [variants(item, f"{path}.{key}".lstrip(".")) for key, item in value.items()]
        return [dict(zip(value, chosen, strict=True)) for chosen in product(*parts)]
    if isinstance(value, list):
        parts = [variants(item, f"{path}.{i}") for i, item in enumerate(value)]
        return [list(chosen) for chosen in product(*parts)]
    return [value]


def has_grid(value: Any) -> bool:
    if isinstance(value, dict):
        return "grid" in value or any(map(has_grid, value.values()))
    return isinstance(value, list) and any(map(has_grid, value))

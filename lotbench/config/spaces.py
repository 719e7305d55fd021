"""Spaces of searched parameters: ``{uniform: [low, high]}`` and the like under a parameter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KINDS = {
    "uniform": "{uniform: [low, high]}, with low < high",
    "loguniform": "{loguniform: [low, high]}, with 0 < low < high",
    "randint": "{randint: [low, high]}, whole numbers with low < high; both ends count",
    "choice": "{choice: [first, second, ...]}, of different values",
}
"""The notation of each kind of space."""
DIGITS = 3
"""Digits of a value, so that ids and files stay readable: of a uniform space those of its width."""


@dataclass(frozen=True)
class Space:
    """The values that a search tries of one parameter."""

    kind: str
    """One of `KINDS`."""
    given: list[Any]
    """The two ends, or the values of a choice."""

    def value(self, place: float) -> Any:
        """The value at a place from 0 to 1 (excluded)."""
        if self.kind == "choice":
            return self.given[int(place * len(self.given))]
        low, high = self.given
        if self.kind == "randint":
            return low + int(place * (high - low + 1))
        if self.kind == "loguniform":
            return min(max(float(f"{low * (high / low) ** place:.{DIGITS}g}"), low), high)
        decimals = math.ceil(DIGITS - math.log10(high - low))
        return min(max(round(low + place * (high - low), decimals), low), high)

    def place(self, value: Any) -> float | None:
        """The place of a value, the inverse of `value`; None if it lies outside the space."""
        if self.kind == "choice":
            count = len(self.given)
            return next(((i + 0.5) / count for i in range(count) if self.given[i] == value), None)
        low, high = self.given
        if type(value) not in (int, float) or not low <= value <= high:
            return None
        if self.kind == "randint":
            return (value - low + 0.5) / self.size
        if self.kind == "loguniform":
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)

    @property
    def size(self) -> float:
        """Number of values; infinite between two real ends."""
        if self.kind == "choice":
            return len(self.given)
        return self.given[1] - self.given[0] + 1 if self.kind == "randint" else math.inf

    def written(self) -> dict[str, list[Any]]:
        """The space as in a file."""
        return {self.kind: self.given}


def is_space(value: Any) -> bool:
    """True if the value is written like a space, right or wrong."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in KINDS


def space_of(value: Mapping[str, object]) -> Space:
    """The space that is written so."""
    ((kind, ends),) = value.items()
    if not isinstance(ends, list) or not _is_sound(kind, ends):
        raise ValueError(f"write {KINDS[kind]}")
    return Space(kind, ends)


def _is_sound(kind: str, ends: list[Any]) -> bool:
    if kind == "choice":
        return bool(ends) and all(value not in ends[:i] for i, value in enumerate(ends))
    numbers = (int,) if kind == "randint" else (int, float)
    if len(ends) != 2 or not all(type(end) in numbers for end in ends):
        return False
    return ends[0] < ends[1] and (kind != "loguniform" or ends[0] > 0)

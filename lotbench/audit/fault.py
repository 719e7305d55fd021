"""`Fault`: one thing in a store that does not add up."""

from __future__ import annotations

from typing import NamedTuple

CLOSE = 1e-6
"""Relative error that rounding explains."""


class Fault(NamedTuple):
    """One thing that does not add up."""

    file: str
    """Path within the store."""
    key: str
    """Where in the file, such as ``evaluations.0.flops``; empty for the whole file."""
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in self if part)


def close(one: float, other: float) -> bool:
    """True if two numbers differ by rounding alone."""
    return abs(one - other) <= CLOSE * max(abs(one), abs(other), CLOSE)

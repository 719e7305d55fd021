"""`Budget`: the name and the value that move a trained model along its curve."""

from __future__ import annotations

from typing import NamedTuple


class Budget(NamedTuple):
    """A budget after training, in a text ``threshold=0.5``; None stands for a method without."""

    name: str
    value: int | float

    def __str__(self) -> str:
        return f"{self.name}={self.value}"

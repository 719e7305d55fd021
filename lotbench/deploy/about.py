"""What an exported model is, as its configuration says."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

BOUNDS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "minimum": (operator.ge, "at least"),
    "exclusiveMinimum": (operator.gt, "more than"),
    "maximum": (operator.le, "at most"),
    "exclusiveMaximum": (operator.lt, "less than"),
}
"""By keyword of JSON Schema: does a value keep to the bound, and how to say it."""


@dataclass(frozen=True)
class About:
    """What ``config.json`` says under the key ``lotbench``.

    Attributes
    ----------
    method, version
        The method and its version.
    backend : str
        The runtime and precision that the model was exported for.
    budget_name : str or None
        None if the method has no budget.
    budget : float or None
        The budget, if the method has one.
    budget_input : bool
        True if the budget is an input of the graph.
    budget_bounds : dict
        What the budget may be, in keywords of JSON Schema, such as ``minimum`` (see `BOUNDS`).
    max_length : int
        Most tokens of a text.
    n_labels : int
        Classes; 1 for regression.
    """

    method: str
    version: int
    backend: str
    budget_name: str | None
    budget: Any
    budget_input: bool
    budget_bounds: dict[str, float]
    max_length: int
    n_labels: int

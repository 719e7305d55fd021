"""The card of an exported model: a record in ``config.json``, and Markdown for readers."""

from __future__ import annotations

import operator
from collections.abc import Callable
from numbers import Real
from typing import Any, Literal

from pydantic import model_validator

from lotbench.backends import EXPORTED
from lotbench.engine.checkpoint import ModelCard
from lotbench.errors import near_misses

Bound = Literal["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"]
"""A keyword of JSON Schema."""
BOUNDS: dict[Bound, tuple[Callable[[Any, Any], bool], str]] = {
    "minimum": (operator.ge, "at least"),
    "exclusiveMinimum": (operator.gt, "more than"),
    "maximum": (operator.le, "at most"),
    "exclusiveMaximum": (operator.lt, "less than"),
}
"""Does a value keep to the bound, and how to say it."""


class ExportedCard(ModelCard):
    """The card of an exported model."""

    backend: str
    """The runtime and precision that the model was exported for."""
    budget_name: str | None
    """None if the method has no budget."""
    budget: Any
    """The budget of the export."""
    budget_input: bool
    """True if the budget is an input of the graph."""
    budget_bounds: dict[Bound, int | float]
    """Bounds of the budget."""

    @model_validator(mode="after")
    def _is_sound(self) -> ExportedCard:
        if self.backend not in EXPORTED:
            raise ValueError(f"backend: {near_misses(self.backend, list(EXPORTED))}")
        if self.budget_input:
            self.checked_budget(self.budget)
        return self

    def checked_budget(self, value: Any) -> float:
        """The budget as the graph takes it."""
        whole = isinstance(self.budget, int)
        number: Any = value if isinstance(value, Real) and not isinstance(value, bool) else None
        if number is None or not abs(number) < 2**63 or (whole and number % 1):
            kind = "whole" if whole else "finite"
            raise ValueError(
                f"{self.budget_name}: a {kind} number is needed (given: {value!r:.60})"
            )
        for keyword, bound in self.budget_bounds.items():
            holds, words = BOUNDS[keyword]
            if not holds(number, bound):
                raise ValueError(
                    f"{self.budget_name}: {words} {bound} is needed (given: {value!r:.60})"
                )
        return int(number) if whole else float(number)


RUNS = {
    "onnx-fp32": "in float32",
    "onnx-int8": "with int8 weights (dynamic quantisation by ONNX Runtime)",
    "openvino-fp32": "in float32; exported for OpenVINO",
    "openvino-bf16": "in float32; exported for OpenVINO, which computes in bf16 by a hint",
}


def markdown(**values: Any) -> str:
    """The card for readers, with the values that the template ``card.md.j2`` names."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("lotbench.deploy"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("card.md.j2").render(runs=RUNS, **values)

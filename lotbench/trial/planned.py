"""A trial before it runs: its method, parameters, budgets or targets, and id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lotbench.config.document import Place
from lotbench.config.sections import TrialConfig
from lotbench.reducer import Params, TokenReducer
from lotbench.store.rows import Searched


@dataclass(frozen=True)
class PlannedTrial:
    """A trial whose method and parameters are valid."""

    config: TrialConfig
    """With the full paths of plugin files, since workers run in folders of their own."""
    method: type[TokenReducer]
    params: Params
    budgets: tuple[float, ...]
    """Post-hoc budgets to evaluate; empty for the trained budget alone."""
    targets: tuple[float, ...]
    """FLOPs speed-ups whose budgets are searched after training; empty if budgets are given, and
    for a method without a budget."""
    id: str
    """The name under which the result is stored."""
    place: Place
    """Where a file describes the method."""
    mark: Searched | None = None
    """Its place in a search, for its row."""

    @property
    def label(self) -> str:
        """The trial in a few words: task, method, parameters, seed."""
        params = [f"{name}={value}" for name, value in self.config.params.items()]
        return " ".join([self.config.task, self.config.method, *params, f"seed={self.config.seed}"])

    @property
    def contents(self) -> tuple[Any, ...]:
        """What tells settings of a method apart: equal ones give the same result."""
        return self.params.model_dump_json(), self.budgets, self.targets

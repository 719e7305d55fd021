"""The trials of a plan in groups: a search and its confirmation, or all seeds of a setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lotbench.plan.plan import Plan
from lotbench.trial.planned import PlannedTrial


@dataclass
class Group:
    """Trials of one method on one task that take about as long."""

    task: str
    method: str
    written: str
    """The parameters as the file has them, but for grids."""
    dimensions: int = 0
    """How many parameters are searched."""
    trials: dict[str, PlannedTrial] = field(default_factory=dict)
    """Those that are known, by id."""
    coming: Counter[str] = field(default_factory=Counter)
    """How many trials of each part are not known yet."""


def part_of(trial: PlannedTrial) -> str:
    """``search`` or ``confirmation``; a trial without a search is of the former."""
    return "confirmation" if trial.mark and trial.mark.part == "confirmation" else "search"


def groups(planned: Plan) -> list[Group]:
    """The groups of a plan, in its order."""
    by_key: dict[Any, Group] = {}
    for search in planned.searches:
        config, space = search.block.config, search.mark.space
        spaces = {
            name: f"{kind}{ends}" for name, one in space.items() for kind, ends in one.items()
        }
        written = _written(config.params | spaces)
        group = Group(config.task, config.method, written, len(space))
        by_key[search.mark.key] = group
    for name, trial in [*planned.trials.items()]:  # a sweep adds some while a table is drawn
        config = trial.config
        group = Group(config.task, config.method, _written(config.params))
        key = trial.mark.key if trial.mark else (group.task, group.method, group.written)
        by_key.setdefault(key, group).trials[name] = trial
    for search in planned.searches if planned.most is None else ():
        group = by_key[search.mark.key]
        known = Counter(map(part_of, group.trials.values()))
        if search.mark.algorithm == "optuna":
            group.coming["search"] = search.size - known["search"]
        if not known["confirmation"]:
            group.coming["confirmation"] = min(search.best, search.size) * len(search.seeds)
    return list(by_key.values())


def _written(params: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in params.items())

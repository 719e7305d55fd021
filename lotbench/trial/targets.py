"""The post-hoc budgets at which a trained model has the FLOPs speed-ups that are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from lotbench.reducer import TokenReducer
from lotbench.trial.progress import post

CLOSE = 0.02
"""The search ends within two hundredths of the target."""
REACHED = 0.15
"""A budget of whole tokens moves in steps, so up to 15% off counts as reached."""
TRIES = 16
"""Most budgets that are tried for a target."""
LOGIT_END = 16.0
"""The search from 0 to 1 goes to within 1e-7 of both ends: float32 probabilities end there."""


class Budgets(NamedTuple):
    """The result of a search."""

    found: dict[float, float]
    """The budget of each target that is reached."""
    unreached: dict[float, float]
    """The nearest speed-up to each other target."""
    fastest: float | None
    """The budget of the fastest model, if a faster one was asked for and no target has it."""


def find_budgets(
    reducer: TokenReducer, targets: Sequence[float], speedup: Callable[[], float]
) -> Budgets:
    """The budgets that reach the targets.

    A root search between the ends of the method's ``budget_range``: it halves the interval and
    interpolates in turn.  What is known from one target also narrows the search for the next.
    Targets are FLOPs speed-ups, and ``speedup`` gives the one at the reducer's current budget.  The
    budget is set during the search, and restored after it.
    """
    search = _Search(reducer, speedup)
    found: dict[float, float] = {}
    unreached: dict[float, float] = {}
    for number, target in enumerate(targets):
        place = search.nearest(target, number * TRIES, len(targets) * TRIES)
        off = abs(math.log(search.known[place] / target))
        budget = budget_at(reducer, place)
        if off <= REACHED and budget not in found.values():
            found[target] = budget
        else:
            unreached[target] = search.known[place]
    # An end of the range, so that all seeds have the same budget.
    end = max((0.0, 1.0), key=search.try_place)
    beyond = any(target > search.known[end] for target in unreached)
    known = map(search.speed_at, found.values())
    alone = all(search.known[end] > (1 + CLOSE) * speed for speed in known)
    return Budgets(found, unreached, budget_at(reducer, end) if beyond and alone else None)


def budget_at(reducer: TokenReducer, place: float) -> float:
    """The budget at a place from 0, the low end of the method's ``budget_range``, to 1.

    Even steps are steps of the logit from 0 to 1, else of the logarithm.
    """
    assert reducer.budget_range is not None, "the plan has checked it"
    low, high = reducer.budget_range
    if (low, high) == (0, 1):
        value = 1 / (1 + math.exp(LOGIT_END * (1 - 2 * place)))
    else:
        value = low * (high / low) ** place
    return round(value) if isinstance(reducer.budget, int) else float(f"{value:.8g}")


class _Search:
    """Speed-ups by place in the range: 0 at its low end, 1 at its high end."""

    def __init__(self, reducer: TokenReducer, speedup: Callable[[], float]) -> None:
        self.reducer, self.speedup = reducer, speedup
        self.speed_at = cache(self._speed_at)
        self.known: dict[float, float] = {}

    def _speed_at(self, budget: float) -> float:
        with self.reducer.at_budget(budget):
            return self.speedup()

    def try_place(self, place: float) -> float:
        """The speed-up at a place, computed once per budget."""
        self.known[place] = self.speed_at(budget_at(self.reducer, place))
        return self.known[place]

    def nearest(self, target: float, done: int, total: int) -> float:
        """The place whose speed-up is nearest to the target, after a search around it.

        ``done`` of ``total`` tries are those of earlier targets.
        """
        post("search budgets", done, total)
        self.try_place(0.0)
        self.try_place(1.0)
        for attempt in range(TRIES):
            place = self._nearest_known(target)
            bracket = self._bracket(target)
            if abs(math.log(self.known[place] / target)) <= CLOSE or bracket is None:
                break
            left, right = bracket
            between = (left + right) / 2
            if attempt % 2:
                start, end = (math.log(self.known[each] / target) for each in bracket)
                share = min(0.95, max(0.05, start / (start - end)))
                between = left + share * (right - left)
            self.try_place(between)
            post("search budgets", done + attempt + 1, total)
        return self._nearest_known(target)

    def _nearest_known(self, target: float) -> float:
        return min(self.known, key=lambda place: abs(math.log(self.known[place] / target)))

    def _bracket(self, target: float) -> tuple[float, float] | None:
        """The narrowest two neighbouring places with the target between them, or None."""
        places = sorted(self.known)
        pairs = [
            (left, right)
            for left, right in pairwise(places)
            if (self.known[left] < target) != (self.known[right] < target)
        ]
        return min(pairs, key=lambda pair: pair[1] - pair[0], default=None)

"""Budgets drawn in training (``train.budgets: sampled``), so that a model learns its whole curve.

In every hard step the budget is drawn so that FLOPs speed-ups are spread about evenly in log
between 1x and a largest one; some are beyond it, since the model changes.  Every fourth step is at
the end of the range that computes most tokens, which is all of them for most methods.  Which budget
gives a speed-up is learned from the steps: the trace of a pass gives the speed-up of its batch, and
a rising curve through the last ones is inverted.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from lotbench.config.sections import FitConfig, TrainConfig
from lotbench.engine.encoder import ReducedEncoder
from lotbench.measure.flops import dense_flops, reduced_flops
from lotbench.reducer import Trace
from lotbench.store.rows import DrawnBudgets
from lotbench.trial.targets import budget_at

LARGEST = 16.0
"""The largest speed-up that is drawn in a trial without targets."""
WHOLE_EVERY = 4
"""Every so many steps one computes every token."""
REMEMBERED = 16
"""Steps that the curve goes through; earlier ones are of a model that has changed since."""
GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of it, modulo 1, are spread evenly however many there are."""


class BudgetSampler:
    """Draws the budget of each step, and learns from the step how fast it is.

    The method has a budget that is one number, and a ``budget_range``.  Speed-ups are drawn up to
    the ``largest``, or up to the method's fastest if that is slower; ``start``, from 0 to 1, is the
    first draw.
    """

    def __init__(self, encoder: ReducedEncoder, largest: float, start: float) -> None:
        self.encoder, self.largest, self.share = encoder, largest, start
        self.steps, self.learns = 0, True
        # Places of budgets (see `budget_at`) and logarithms of speed-ups.
        self.ends: dict[float, float] = {}
        self.recent: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)
        self.drawn: list[float] = []

    @contextmanager
    def step(self) -> Iterator[None]:
        """Moves the budget while one training step runs.

        Passes in which something else than the method decides, such as a policy that explores,
        teach nothing about the budget; a method with no other passes keeps its own.
        """
        if not self.learns:
            yield
            return
        traces: list[Trace] = []

        def note(_: Any, args: Any, given: dict[str, Any], outputs: Any) -> None:
            if given.get("reducer") is None:
                traces.append(outputs.trace)

        place, is_draw = self._next()
        handle = self.encoder.register_forward_hook(note, with_kwargs=True)
        try:
            with self.encoder.reducer.at_budget(budget_at(self.encoder.reducer, place)):
                yield
        finally:
            handle.remove()
        self.learns = bool(traces)
        if not traces:
            return
        speed = sum(map(self._log_speedup, traces)) / len(traces)
        if place in (0.0, 1.0):
            self.ends[place] = speed
        else:
            self.recent.append((place, speed))
        if is_draw:
            self.drawn.append(speed)

    def record(self) -> DrawnBudgets:
        """What a row says of it."""
        quartiles = np.exp(np.quantile(self.drawn, np.linspace(0, 1, 5))) if self.drawn else ()
        return DrawnBudgets(
            largest=self.largest,
            steps=len(self.drawn),
            speedups=[round(float(own), 3) for own in quartiles],
        )

    def _next(self) -> tuple[float, bool]:
        """The place of the next budget, and whether it is drawn; the ends are tried first."""
        if len(self.ends) < 2:
            return float(len(self.ends)), False
        slow, fast = sorted(self.ends, key=self.ends.__getitem__)
        self.steps += 1
        if self.steps % WHOLE_EVERY == 0:
            return slow, False
        self.share = (self.share + GOLDEN) % 1
        return self._place(self.share * min(math.log(self.largest), self.ends[fast])), True

    def _place(self, speed: float) -> float:
        """Where the curve through what is known has a speed."""
        falls = self.ends[0.0] > self.ends[1.0]
        known = sorted([*self.ends.items(), *self.recent], reverse=falls)
        places, speeds = zip(*known, strict=True)
        return float(np.interp(speed, rising(speeds), places))

    def _log_speedup(self, trace: Trace) -> float:
        backbone = self.encoder.backbone
        reduced = reduced_flops(trace, backbone, self.encoder.reducer).sum()
        return math.log(float(dense_flops(trace.lengths, backbone).sum() / reduced))


def sampler(
    encoder: ReducedEncoder, config: FitConfig, largest: float, seed: int
) -> BudgetSampler | None:
    """The sampler of a training; None if budgets are fixed, or the method has none to move."""
    reducer = encoder.reducer
    if not isinstance(config, TrainConfig) or config.budgets == "fixed":
        return None
    if reducer.budget_range is None or not isinstance(reducer.budget, int | float):
        return None
    return BudgetSampler(encoder, largest, np.random.default_rng(seed).random())


def rising(values: Sequence[float]) -> list[float]:
    """The nearest sequence, by least squares, that never falls (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []  # sums and counts
    for value in values:
        total, count = value, 1
        while pools and pools[-1][0] / pools[-1][1] >= total / count:
            before, many = pools.pop()
            total, count = total + before, count + many
        pools.append((total, count))
    return [total / count for total, count in pools for _ in range(count)]

"""What the models of a task show: largest speed-ups, areas, ranks and ties, with intervals.

A model is chosen on the selection split and read on the validation split.  An interval is of this
whole procedure: in every bootstrap draw of texts and seeds, models are chosen and read anew.
`Evidence.choices` is the one rule of "within so many points" for tables, figures and sentences.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lotbench.scoring.area import area
from lotbench.statistics.bootstrap import Estimate, estimate
from lotbench.statistics.drawn import CHOOSE_THEN_REPORT
from lotbench.statistics.reference import Reference
from lotbench.statistics.scored import DENSE_METHODS, Scored
from lotbench.store.rows import Unreached

DROPS = (0.5, 1.0, 2.0)
NEEDS_ENCODER = 3.0
"""The smallest no-layer gap, in points, of a task that needs an encoder."""
# Scores are means of floats: 0.85 - 0.01 must still count as "within one point" of 0.85.
SLACK = 1e-9

Missed = Mapping[tuple[str, str], Sequence[Unreached]]
"""Targets that trials did not reach, by method and setting."""


def holds_drop(margin: Any, drop: float) -> Any:
    """True where a score minus that of the reference, in points, is within the drop."""
    return margin >= -drop - 100 * SLACK


class Curve:
    """The models of one method that can be chosen; every array is (models, 1 + draws)."""

    def __init__(self, models: list[Scored], reference: Reference) -> None:
        self.models = models
        self.margins: dict[str, np.ndarray] = {}
        """Score minus that of the reference with the same seeds, in points, by split."""
        self.speedups: dict[str, np.ndarray] = {}
        """FLOPs speed-up by split."""
        drawn = [own.drawn for own in models]
        for split in CHOOSE_THEN_REPORT:
            margins = [reference.margin(own, split, own.seeds) for own in drawn]
            self.margins[split] = np.stack(margins)
            self.speedups[split] = np.stack([own.speedup(split) for own in drawn])


@dataclass(frozen=True, eq=False)
class Choice:
    """The fastest model of a method within so many points of the reference."""

    model: Scored | None
    """None if no model is good enough; then the reference itself, at speed-up 1, is read."""
    speedup: Estimate
    margin: Estimate
    """Score minus that of the reference on validation, in points."""
    open_end: bool
    """True if no faster model was scored, although the method may have one."""
    draws: np.ndarray
    """The speed-up in every draw, shape (1 + draws,)."""
    holding: Scored | None
    """The fastest that is that close on both splits; often the chosen model itself."""


class Margin(NamedTuple):
    """A model and its score minus that of the reference on validation, in points."""

    model: Scored
    value: Estimate
    draws: np.ndarray
    """Shape (1 + draws,)."""


@dataclass(frozen=True)
class Area:
    """The area of a method."""

    value: Estimate
    rank: int
    """1 plus the number of methods that are larger with an interval of the difference above 0."""


class Evidence:
    """All models of one task, dense included, compared with its reference."""

    def __init__(self, models: list[Scored], reference: Reference, missed: Missed) -> None:
        self.models, self.reference, self.missed = models, reference, missed
        self.floor = models[0].floor
        """How many points below the reference areas are counted from."""
        self.methods = sorted({own.method for own in models} - set(DENSE_METHODS))
        self.curves = {
            method: Curve(own, reference)
            for method in self.methods
            if (own := _complete([each for each in models if each.method == method]))
            and reference.drawn.complete
        }
        """By method, without dense, of models with every seed of their setting; empty if the
        reference lacks scores on a split."""
        self.end = self._common_end()
        """The largest speed-up up to which every method was scored, or cannot go."""

    def choices(self, drop: float) -> dict[str, Choice]:
        """By method, its fastest model at most ``drop`` points below the reference."""
        return {method: self.largest_speedup(method, drop) for method in self.curves}

    def largest_speedup(self, method: str, drop: float) -> Choice:
        """The fastest model at most ``drop`` points below the reference."""
        curve = self.curves[method]
        speedups = curve.speedups["selection"]
        good, holds = (holds_drop(curve.margins[split], drop) for split in CHOOSE_THEN_REPORT)
        best = np.where(good, speedups, -np.inf).argmax(axis=0)
        some: np.ndarray = np.any(good, axis=0)
        places = best, np.arange(len(best))
        draws = np.where(some, curve.speedups["validation"][places], 1.0)
        margins = np.where(some, curve.margins["validation"][places], 0.0)
        model = curve.models[best[0]] if some[0] else None
        both = np.where((good & holds)[:, 0], speedups[:, 0], -np.inf)
        last = best[0] == speedups[:, 0].argmax()
        is_open = bool(some[0] and last and self.is_open(method))
        holding = curve.models[both.argmax()] if np.isfinite(both).any() else None
        return Choice(model, estimate(draws), estimate(margins), is_open, draws, holding)

    def at_target(self, target: float) -> dict[str, Margin]:
        """By method, its best model at a target: chosen on selection, read on validation."""
        found = {}
        for method, own in self.curves.items():
            places = [place for place, each in enumerate(own.models) if each.target == target]
            if places:
                best = max(places, key=lambda place: own.margins["selection"][place, 0])
                draws = own.margins["validation"][best]
                found[method] = Margin(own.models[best], estimate(draws), draws)
        return found

    @property
    def targets(self) -> list[float]:
        """The FLOPs speed-ups at which models were searched, smallest first."""
        return sorted({own.target for own in self.models if own.target is not None})

    @property
    def bag(self) -> Scored | None:
        """The model without layers, if there is one; of several the first by its method's name."""
        return next((own for own in self.models if own.is_bag and own.seeds), None)

    @property
    def gap(self) -> Estimate | None:
        """The no-layer gap, in points: the reference minus `bag`; None without a bag."""
        if self.bag is None:
            return None
        value, low, high = self.bag.gain
        return Estimate(-value, -high, -low)

    @property
    def needs_encoder(self) -> bool:
        """False if the no-layer gap is small."""
        return self.gap is None or self.gap.value >= NEEDS_ENCODER

    def ahead_of_bag(self, margins: Mapping[str, Margin]) -> set[str]:
        """The methods that are ahead of the model without layers; none without such a model."""
        if self.bag is None:
            return set()
        bag = self.reference.margin(self.bag.drawn, "validation", self.bag.drawn.seeds)
        return {m for m, own in margins.items() if estimate(own.draws - bag).low > SLACK}

    def is_open(self, method: str) -> bool:
        """False if the method cannot go faster: no setting gets as far as its next target."""
        own = self.curves[method]
        fastest: dict[str, float] = {}
        for model, speedup in zip(own.models, own.speedups["selection"][:, 0], strict=True):
            fastest[model.setting] = max(speedup, fastest.get(model.setting, 0.0))
        return not all(
            _ends(self.missed.get((method, setting), ()), speedup)
            for setting, speedup in fastest.items()
        )

    def areas(self) -> dict[str, Area]:
        """The area of every method, from speed-up 1 to ``end``."""
        return ranked(self.area_draws())

    def area_draws(self) -> dict[str, np.ndarray]:
        """The area of every method in every draw, shape (1 + draws,)."""
        areas = {}
        for method, curve in self.curves.items():
            settings = [model.setting for model in curve.models]
            margins = curve.margins["selection"], curve.margins["validation"]
            speedups = curve.speedups["validation"]
            areas[method] = area(speedups, *margins, settings, self.end, self.floor)
        return areas

    def areas_on_selection(self) -> dict[str, float]:
        """The area of every setting on selection, by which a setting is chosen."""
        areas: dict[str, float] = {}
        for curve in self.curves.values():
            for setting in {model.setting for model in curve.models}:
                rows = [model.setting == setting for model in curve.models]
                speedups = curve.speedups["selection"][rows, :1]
                margins = curve.margins["selection"][rows, :1]
                names = [setting] * len(speedups)
                areas[setting] = float(
                    area(speedups, margins, margins, names, self.end, self.floor)[0]
                )
        return areas

    def _common_end(self) -> float:
        """The least of the fastest models, without methods that cannot go faster.

        A method whose settings have one model each, such as fewer layers, has no curve that could
        be longer.  If all methods ended by themselves, it is the fastest model of all.
        """
        fastest: dict[bool, list[float]] = {True: [], False: []}
        for method, own in self.curves.items():
            several = len(own.models) > len({model.setting for model in own.models})
            speedup = own.speedups["validation"][:, 0].max()
            fastest[several and self.is_open(method)].append(float(speedup))
        return min(fastest[True], default=max(fastest[False], default=1.0))


def first(margins: Mapping[str, Margin]) -> set[str]:
    """The methods that no other one is ahead of, by a paired bootstrap."""
    return {method for method, own in ranks_of(margins).items() if own.rank == 1}


def ranks_of(margins: Mapping[str, Margin]) -> dict[str, Area]:
    """The margins of methods with their ranks."""
    return ranked({method: own.draws for method, own in margins.items()})


def tied_with(method: str, margins: Mapping[str, Margin]) -> list[str]:
    """The other methods whose difference from this one has 0 in its interval."""
    own = margins[method].draws
    gaps = {name: estimate(each.draws - own) for name, each in margins.items() if name != method}
    return [name for name, gap in gaps.items() if gap.low <= SLACK and gap.high >= -SLACK]


def ranked(draws: Mapping[str, np.ndarray]) -> dict[str, Area]:
    """Areas of methods with their ranks, from their draws, each of shape (1 + draws,)."""
    found = {}
    for method, own in draws.items():
        better = [estimate(other - own).low for other in draws.values()]
        found[method] = Area(estimate(own), 1 + sum(low > SLACK for low in better))
    return found


def ties(choices: Mapping[str, Choice]) -> set[str]:
    """The methods whose speed-up does not differ from the largest, by a paired bootstrap.

    The method with the largest is among them only if another one ties with it.
    """
    chosen = {method: own for method, own in choices.items() if own.model}
    if not chosen:
        return set()
    best = max(chosen, key=lambda method: chosen[method].speedup.value)
    tied = set()
    for method, own in chosen.items():
        ratio = estimate(np.log(own.draws / chosen[best].draws))
        if ratio.low <= 0 <= ratio.high:
            tied.add(method)
    return tied if len(tied) > 1 else set()


def _ends(missed: Sequence[Unreached], fastest: float) -> bool:
    """True if a seed does not get as far as the first target that is faster than ``fastest``.

    A budget of whole tokens may jump over a target; then it can go further.
    """
    beyond = [each for each in missed if each.target > fastest]
    target = min((each.target for each in beyond), default=np.inf)
    return any(each.nearest < target for each in beyond if each.target == target)


def _complete(models: list[Scored]) -> list[Scored]:
    """The models that are scored on both splits with every seed of their setting."""
    seeds: dict[str, set[int]] = defaultdict(set)
    for own in models:
        seeds[own.setting].update(own.drawn.seeds)
    return [
        own for own in models if own.drawn.complete and set(own.drawn.seeds) == seeds[own.setting]
    ]

"""What the models of a task show: largest speed-ups, areas, ranks and ties, with intervals.

A model is chosen on the selection split and read on the validation split.  An interval is of this
whole procedure: in every bootstrap draw of texts and seeds, models are chosen and read anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lotbench.report.area import area
from lotbench.report.bootstrap import Estimate, estimate
from lotbench.report.models import Model, models, teacher
from lotbench.report.pareto import DENSE, KEY, scored
from lotbench.report.reference import references
from lotbench.store.answers import Answers, Key, Missed

if TYPE_CHECKING:
    import pandas as pd

DROPS = (0.5, 1.0, 2.0)
# Scores are means of floats: 0.85 - 0.01 must still count as "within one point" of 0.85.
SLACK = 1e-9


@dataclass(frozen=True)
class Candidates:
    """The models of one method that can be chosen; every array is (models, 1 + draws)."""

    models: list[Model]
    sampled: bool
    """True if the draws give intervals."""
    margins: dict[str, np.ndarray]
    """Score minus that of the reference with the same seeds, in points, by split."""
    speedups: dict[str, np.ndarray]
    """FLOPs speed-up by split."""


@dataclass(frozen=True)
class Choice:
    """The fastest model of a method within so many points of the reference."""

    model: Model | None
    """None if no model is good enough; then the reference itself, at speed-up 1, is read."""
    speedup: Estimate
    margin: Estimate
    """Score minus that of the reference on validation, in points."""
    open_end: bool
    """True if no faster model was scored, although the method may have one."""
    draws: np.ndarray
    """The speed-up in every draw, shape (1 + draws,)."""
    sampled: bool


@dataclass(frozen=True)
class Area:
    """The area of a method."""

    value: Estimate
    rank: int
    """1 plus the number of methods that are larger with an interval of the difference above 0."""


class Evidence:
    """All models of one task, compared with its reference.

    Attributes
    ----------
    models : list of Model
        All of them, dense included.
    reference : Model
    candidates : dict
        By method, without dense: `Candidates`, of models with every seed of their setting.  Empty
        if the reference lacks scores on a split.
    end : float
        The largest speed-up up to which every method was scored, or cannot go.
    """

    def __init__(
        self,
        models: list[Model],
        reference: Model,
        missed: Mapping[tuple[str, str], Sequence[Missed]],
    ) -> None:
        """``missed`` has the targets that were not reached, by method and setting."""
        self.models, self.reference, self.missed = models, reference, missed
        self.methods = sorted({own.method for own in models} - set(DENSE))
        self.candidates = {
            method: self._candidates(own)
            for method in self.methods
            if (own := _complete([each for each in models if each.method == method]))
            and reference.complete
        }
        self.end = self._common_end()

    def reference_beside(self, model: Model, split: str) -> np.ndarray:
        """The score of the reference with the seeds of a model, shape (1 + draws,)."""
        return self.reference.score_beside(split, model.seeds)

    def margin(self, model: Model, split: str = "validation") -> np.ndarray:
        """Score minus that of the reference, in points, shape (1 + draws,)."""
        return 100 * (model.score(split) - self.reference_beside(model, split))

    def largest_speedup(self, method: str, drop: float) -> Choice:
        """The fastest model at most ``drop`` points below the reference."""
        own = self.candidates[method]
        good = own.margins["selection"] >= -drop - 100 * SLACK
        best = np.where(good, own.speedups["selection"], -np.inf).argmax(axis=0)[None]
        some: np.ndarray = np.any(good, axis=0)
        draws = np.where(some, _taken(own.speedups["validation"], best), 1.0)
        margins = np.where(some, _taken(own.margins["validation"], best), 0.0)
        model = own.models[best[0, 0]] if some[0] else None
        last = best[0, 0] == own.speedups["selection"][:, 0].argmax()
        return Choice(
            model,
            estimate(draws, own.sampled),
            estimate(margins, own.sampled),
            bool(some[0] and last and self.is_open(method)),
            draws,
            own.sampled,
        )

    def is_open(self, method: str) -> bool:
        """False if the method cannot go faster: no setting gets as far as its next target."""
        own = self.candidates[method]
        fastest: dict[str | None, float] = {}
        for model, speedup in zip(own.models, own.speedups["selection"][:, 0], strict=True):
            fastest[model.setting] = max(speedup, fastest.get(model.setting, 0.0))
        return not all(
            _ends(self.missed.get((method, str(setting)), ()), speedup)
            for setting, speedup in fastest.items()
        )

    def areas(self) -> dict[str, Area]:
        """The area of every method, from speed-up 1 to ``end``."""
        return ranked(self.area_draws(), {m: own.sampled for m, own in self.candidates.items()})

    def area_draws(self) -> dict[str, np.ndarray]:
        """The area of every method in every draw, shape (1 + draws,)."""
        return {method: self._area(own) for method, own in self.candidates.items()}

    def areas_on_selection(self) -> dict[str, float]:
        """The area of every setting on selection, by which a setting is chosen."""
        found: dict[str, float] = {}
        for own in self.candidates.values():
            for setting in {str(model.setting) for model in own.models}:
                rows = [str(model.setting) == setting for model in own.models]
                speedups = own.speedups["selection"][rows, :1]
                margins = own.margins["selection"][rows, :1]
                names = [setting] * len(speedups)
                found[setting] = float(area(speedups, margins, margins, names, self.end)[0])
        return found

    def _common_end(self) -> float:
        """The least of the fastest models, without methods that cannot go faster.

        A method whose settings have one model each, such as fewer layers, has no curve that could
        be longer.  If all methods ended by themselves, it is the fastest model of all.
        """
        fastest: dict[bool, list[float]] = {True: [], False: []}
        for method, own in self.candidates.items():
            curve = len(own.models) > len({model.setting for model in own.models})
            speedup = own.speedups["validation"][:, 0].max()
            fastest[curve and self.is_open(method)].append(float(speedup))
        return min(fastest[True], default=max(fastest[False], default=1.0))

    def _candidates(self, own: list[Model]) -> Candidates:
        splits = ("selection", "validation")
        sampled = all(each.sampled(split) for each in [*own, self.reference] for split in splits)
        margins = {split: np.stack([self.margin(each, split) for each in own]) for split in splits}
        speedups = {split: np.stack([each.speedup(split) for each in own]) for split in splits}
        return Candidates(own, sampled, margins, speedups)

    def _area(self, own: Candidates) -> np.ndarray:
        settings = [model.setting for model in own.models]
        margins = own.margins["selection"], own.margins["validation"]
        return area(own.speedups["validation"], *margins, settings, self.end)


def evidence(
    table: pd.DataFrame, answers: Mapping[Key, Answers], missed: Sequence[Missed]
) -> dict[str, Evidence]:
    """The evidence of every task of a frame that has a reference."""
    done = scored(table)
    found = {}
    # Of the newest rows alone: an older version of a method may have ended elsewhere.
    trials = done.drop_duplicates("trial_id")
    names = (trials[name].astype(str) for name in ("task", "method", "setting"))
    owners = dict(zip(trials["trial_id"], zip(*names, strict=True), strict=True))
    for task, reference in references(done).items():
        own = models(done[done["task"] == task], answers)
        dense = [m for m in own if m.method == "dense" and m.setting == reference.setting]
        lacking: dict[tuple[str, str], list[Missed]] = defaultdict(list)
        for each in missed:
            own_task, method, setting = owners.get(each.trial_id, ("", "", ""))
            if own_task == task:
                lacking[method, setting].append(each)
        model = teacher(reference) if reference.name == "teacher" else dense[0]
        found[task] = Evidence(own, model, lacking)
    return found


def ranked(draws: Mapping[str, np.ndarray], sampled: Mapping[str, bool]) -> dict[str, Area]:
    """Areas of methods with their ranks, from their draws, each of shape (1 + draws,)."""
    found = {}
    for method, own in draws.items():
        better = [
            estimate(other - own, sampled[method] and sampled[rival])
            for rival, other in draws.items()
        ]
        least = [each.value if np.isnan(each.low) else each.low for each in better]
        rank = 1 + sum(value > SLACK for value in least)
        found[method] = Area(estimate(own, sampled[method]), rank)
    return found


def ties(choices: Mapping[str, Choice]) -> set[str]:
    """The methods whose speed-up does not differ from the largest, by a paired bootstrap.

    The method with the largest is among them only if another one ties with it.
    """
    chosen = {method: own for method, own in choices.items() if own.model and own.sampled}
    if not chosen:
        return set()
    best = max(chosen, key=lambda method: chosen[method].speedup.value)
    tied = set()
    for method, own in chosen.items():
        ratio = estimate(np.log(own.draws / chosen[best].draws))
        if ratio.low <= 0 <= ratio.high:
            tied.add(method)
    return tied if len(tied) > 1 else set()


def with_intervals(rows: pd.DataFrame, found: Mapping[str, Evidence]) -> pd.DataFrame:
    """Points with ``.low`` and ``.high`` of score and gain, where there are predictions."""
    rows = rows.set_index(KEY)
    for task, own in found.items():
        for model in own.models:
            place = (task, model.method, model.setting, model.point)
            if place not in rows.index or not model.sampled("validation"):
                continue
            score = estimate(model.score("validation"))
            margin = estimate(own.margin(model), own.reference.sampled("validation"))
            columns = ["score.low", "score.high", "gain.low", "gain.high"]
            rows.loc[place, columns] = [*score[1:], *margin[1:]]
    return rows.reset_index()


def _ends(missed: Sequence[Missed], fastest: float) -> bool:
    """True if a seed does not get as far as the first target that is faster than ``fastest``.

    A budget of whole tokens may jump over a target; then it can go further.
    """
    beyond = [each for each in missed if each.target > fastest]
    target = min((each.target for each in beyond), default=np.inf)
    return any(each.nearest < target for each in beyond if each.target == target)


def _complete(models: list[Model]) -> list[Model]:
    """The models that are scored on both splits with every seed of their setting."""
    seeds: dict[str | None, set[int]] = defaultdict(set)
    for own in models:
        seeds[own.setting].update(own.seeds)
    return [own for own in models if own.complete and set(own.seeds) == seeds[own.setting]]


def _taken(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, places, axis=0)[0]

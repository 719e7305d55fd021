"""Every scored model of a task over its seeds, on both splits and in all bootstrap draws."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lotbench.report import bootstrap
from lotbench.report.reference import Reference
from lotbench.store.answers import Answers, Key

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("selection", "validation")
# First number of the key of draws, so that texts and seeds are drawn independently.
VALIDATION, SELECTION, SEEDS = range(3)


@dataclass(frozen=True)
class Side:
    """One model on one split, seed by seed."""

    scores: np.ndarray
    """Score in every draw of texts, the sample first; shape (seeds, 1 + draws)."""
    speedups: np.ndarray
    """FLOPs speed-up on the split; shape (seeds,)."""
    sampled: bool
    """False if rows lack predictions; then all draws are the sample."""
    labels: tuple[np.ndarray | None, ...]
    """Labels of the texts by seed, each of shape (N,)."""


@dataclass(frozen=True)
class Model:
    """One method with one setting at one budget or target, over its seeds."""

    method: str
    setting: str | None
    point: str
    """The target or budget, as in `lotbench.report.pareto.points`."""
    seeds: tuple[int, ...]
    sides: dict[str, Side]
    """By split."""

    def score(self, split: str, seeds: tuple[int, ...] | None = None) -> np.ndarray:
        """Mean score over drawn seeds and texts, shape (1 + draws,).

        Models with the same seeds have the same draws.  ``seeds`` restricts the model to some of
        its seeds.
        """
        seeds = seeds or self.seeds
        rows = [self.seeds.index(seed) for seed in seeds]
        return (_shares(seeds) * self.sides[split].scores[rows].T).sum(axis=1)

    def score_beside(self, split: str, seeds: tuple[int, ...]) -> np.ndarray:
        """Mean score over these seeds in all draws; a seed that it lacks counts with its mean."""
        own = self.sides[split].scores
        mean = own.mean(axis=0)
        rows = [own[self.seeds.index(seed)] if seed in self.seeds else mean for seed in seeds]
        return (_shares(seeds) * np.stack(rows).T).sum(axis=1)

    def speedup(self, split: str) -> np.ndarray:
        """Mean FLOPs speed-up over drawn seeds, shape (1 + draws,)."""
        return _shares(self.seeds) @ self.sides[split].speedups

    def sampled(self, split: str) -> bool:
        """True if the draws of a split differ, so that they give an interval."""
        return self.sides[split].sampled

    @property
    def complete(self) -> bool:
        """True if every seed has a score and a speed-up on both splits."""
        values = [each for own in self.sides.values() for each in (own.scores, own.speedups)]
        return all(np.isfinite(each).all() for each in values)


def shared_seeds(a: Model, b: Model) -> tuple[int, ...]:
    """The seeds that both models have."""
    return tuple(seed for seed in a.seeds if seed in b.seeds)


def difference(a: Model, b: Model, split: str = "validation") -> np.ndarray:
    """How many points ``a`` is better than ``b`` in every draw of shared seeds and texts.

    Shape (1 + draws,).  The two tie if 0 is in the interval.

    Raises
    ------
    ValueError
        If they share no seed, or if their texts differ.
    """
    seeds = shared_seeds(a, b)
    if not seeds:
        raise ValueError(f"{a.method} and {b.method} share no seed")
    for seed in seeds:
        own, other = (each.sides[split].labels[each.seeds.index(seed)] for each in (a, b))
        if own is not None and other is not None and not np.array_equal(own, other):
            raise ValueError(f"{a.method} and {b.method} have other texts with seed {seed}")
    return 100 * (a.score(split, seeds) - b.score(split, seeds))


def models(done: pd.DataFrame, answers: Mapping[Key, Answers]) -> list[Model]:
    """The models of one task, from its rows (see `lotbench.report.pareto.scored`)."""
    records = done.sort_values(["method", "setting", "point", "seed"]).to_dict("records")
    drawn = _draws(records, answers)
    groups = defaultdict(lambda: defaultdict(dict))
    for place, row in enumerate(records):
        groups[row["method"], row["setting"], row["point"]][row["split"]][row["seed"]] = place
    found = []
    for (method, setting, point), splits in groups.items():
        seeds = tuple(sorted({seed for rows in splits.values() for seed in rows}))
        sides = {}
        for split in SPLITS:
            places = [splits[split].get(seed) for seed in seeds]
            sides[split] = _side(places, records, drawn, answers)
        found.append(Model(method, setting, point, seeds, sides))
    return found


def teacher(reference: Reference) -> Model:
    """The teacher as a model; rows do not have its predictions, so its scores are constants."""
    seeds = tuple(sorted(reference.validation))
    sides = {}
    for split in SPLITS:
        own: dict[int, float] = getattr(reference, split)
        scores = np.array([[own.get(seed, np.nan)] for seed in seeds])
        constant = np.repeat(scores, 1 + bootstrap.DRAWS, axis=1)
        sides[split] = Side(constant, np.ones(len(seeds)), True, (None,) * len(seeds))
    return Model("teacher", None, "", seeds, sides)


def _side(
    places: list[int | None],
    records: list[dict[Any, Any]],
    drawn: dict[int, np.ndarray],
    answers: Mapping[Key, Answers],
) -> Side:
    """The side of the rows at these places, one for each seed; None where a seed has no row."""
    scores, speedups, labels = [], [], []
    for place in places:
        row = {"score": np.nan, "flops_speedup": np.nan} if place is None else records[place]
        own = None if place is None else drawn.get(place)
        labels.append(answers[_key(row)].labels if own is not None else None)
        constant = np.full(1 + bootstrap.DRAWS, np.nan if row["score"] is None else row["score"])
        scores.append(constant if own is None else own)
        speedups.append(row["flops_speedup"])
    sampled = all(own is not None for own in labels)
    return Side(np.stack(scores), np.array(speedups, float), sampled, tuple(labels))


def _draws(records: list[dict[Any, Any]], answers: Mapping[Key, Answers]) -> dict[int, np.ndarray]:
    """The scores of all rows with predictions in all draws, by place of the row."""
    groups: dict[tuple, list[int]] = defaultdict(list)
    for place, row in enumerate(records):
        own = answers.get(_key(row))
        if own is not None and len(own.labels) and len(own.predictions) == len(own.labels):
            # All seeds have the same validation texts; the selection texts differ by seed.
            key = (VALIDATION,) if row["split"] == "validation" else (SELECTION, row["seed"])
            groups[key, row["score_name"], own.labels.tobytes()].append(place)
    found: dict[int, np.ndarray] = {}
    for (key, metric, _), places in groups.items():
        labels = answers[_key(records[places[0]])].labels
        predictions = np.stack([answers[_key(records[place])].predictions for place in places])
        weights = bootstrap.weights(len(labels), *key)
        scores = bootstrap.scores(metric, predictions, labels, weights)
        found.update(zip(places, scores, strict=True))
    return found


def _key(row: Mapping[Any, Any]) -> Key:
    return row["trial_id"], row["split"], row["budget"]


def _shares(seeds: tuple[int, ...]) -> np.ndarray:
    """The share of each seed in each draw, shape (1 + draws, seeds)."""
    return bootstrap.weights(len(seeds), SEEDS, *seeds).astype(float) / len(seeds)

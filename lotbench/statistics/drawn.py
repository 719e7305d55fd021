"""The scores of a model over its seeds, on both splits and in all bootstrap draws."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lotbench.scoring.metrics import MEANS, METRICS
from lotbench.scoring.predictions import decode
from lotbench.scoring.scores import scores
from lotbench.statistics import bootstrap
from lotbench.statistics.runs import Key, Row

Splits = Literal["validation", "selection"]
CHOOSE_THEN_REPORT: tuple[Splits, Splits] = ("selection", "validation")
# First number of the key of draws, so that texts and seeds are drawn independently.
VALIDATION, SELECTION, SEEDS = range(3)


@dataclass(frozen=True, eq=False)
class Side:
    """One model on one split, seed by seed."""

    scores: np.ndarray
    """Score in every draw of texts, the sample first; NaN where a seed has none; shape (seeds,
    1 + draws)."""
    speedups: np.ndarray
    """FLOPs speed-up on the split; NaN where a seed has none; shape (seeds,)."""
    texts: tuple[bytes | str | None, ...]
    """By seed what tells the texts apart: their labels, or without labels the fingerprint of the
    data; None where it is not known."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A model over its seeds; models with the same seeds have the same draws of seeds."""

    seeds: tuple[int, ...]
    sides: dict[Splits, Side]

    def score(self, split: Splits, seeds: tuple[int, ...] | None = None) -> np.ndarray:
        """Mean score over drawn seeds and texts, shape (1 + draws,).

        ``seeds`` are by default its own; one that it lacks counts with its mean.
        """
        own, seeds = self.sides[split].scores, seeds or self.seeds
        mean = own.mean(axis=0)
        rows = [own[self.seeds.index(seed)] if seed in self.seeds else mean for seed in seeds]
        return (_shares(seeds) * np.stack(rows).T).sum(axis=1)

    def speedup(self, split: Splits) -> np.ndarray:
        """Mean FLOPs speed-up over drawn seeds, shape (1 + draws,)."""
        return _shares(self.seeds) @ self.sides[split].speedups

    def by_seed(self, split: Splits) -> dict[int, float]:
        """The score of every seed that has one."""
        scores = zip(self.seeds, self.sides[split].scores[:, 0], strict=True)
        return {seed: float(score) for seed, score in scores if np.isfinite(score)}

    @property
    def complete(self) -> bool:
        """True if every seed has a score and a speed-up on both splits."""
        values = [array for side in self.sides.values() for array in (side.scores, side.speedups)]
        return all(np.isfinite(array).all() for array in values)


EveryMetric = Mapping[Key, Mapping[str, Drawn]]
"""By model, then by metric, the main one first."""


def shared_seeds(a: Drawn, b: Drawn) -> tuple[int, ...]:
    """The seeds that both models have."""
    return tuple(seed for seed in a.seeds if seed in b.seeds)


def difference(a: Drawn, b: Drawn, split: Splits = "validation") -> np.ndarray:
    """How many points ``a`` is better than ``b`` in every draw of shared seeds and texts.

    Shape (1 + draws,).  The two tie if 0 is in the interval.  A ValueError says that they share no
    seed, or that their texts differ.
    """
    seeds = shared_seeds(a, b)
    if not seeds:
        raise ValueError("the two models share no seed")
    for seed in seeds:
        texts = {model.sides[split].texts[model.seeds.index(seed)] for model in (a, b)}
        if len(texts - {None}) > 1:
            raise ValueError(f"the two models have other texts with seed {seed}")
    return 100 * (a.score(split, seeds) - b.score(split, seeds))


def drawn(rows: Iterable[Row], draws: dict[Row, np.ndarray]) -> Drawn:
    """A model from its rows, and their scores in all draws."""
    by_split: dict[str, dict[int, Row]] = {split: {} for split in CHOOSE_THEN_REPORT}
    for row in rows:
        by_split[row.split][row.run.seed] = row
    seeds = tuple(sorted({seed for own in by_split.values() for seed in own}))
    missing = np.full(1 + bootstrap.DRAWS, np.nan)
    sides: dict[Splits, Side] = {}
    for split in CHOOSE_THEN_REPORT:
        found = [by_split[split].get(seed) for seed in seeds]
        sides[split] = Side(
            np.stack([missing if row is None else draws[row] for row in found]),
            np.array([row.evaluation.flops_speedup if row else np.nan for row in found]),
            tuple(None if row is None else _texts(row) for row in found),
        )
    return Drawn(seeds, sides)


def draws_of(rows: Sequence[Row], metric: str | None = None) -> dict[Row, np.ndarray]:
    """Scores of rows, in the main metric or another, in all draws of texts; each (1 + draws,)."""
    groups: dict[tuple, list[Row]] = defaultdict(list)
    found = {row: np.full(1 + bootstrap.DRAWS, np.nan) for row in rows}
    for row in rows:
        name = metric or row.metric
        if row.evaluation.metrics.get(name) is not None:
            # All seeds have the same validation texts; the selection texts differ by seed.
            key = (VALIDATION,) if row.split == "validation" else (SELECTION, row.run.seed)
            labels = None if name in MEANS else _labels(row).tobytes()
            groups[key, name, labels, len(row.evaluation.made_of(name))].append(row)
    for (key, name, labelled, count), own in groups.items():
        labels = None if labelled is None else _labels(own[0])
        predictions = np.stack([decode(row.evaluation.made_of(name)) for row in own])
        weights = bootstrap.weights(count, *key)
        found.update(zip(own, scores(name, predictions, labels, weights), strict=True))
    return found


def draws_by_metric(rows: Sequence[Row]) -> dict[str, dict[Row, np.ndarray]]:
    """By metric, the main one first, the scores of the rows with answers; see `draws_of`."""
    own = [row for row in rows if row.evaluation.answers]
    names = [name for name in METRICS if any(name in row.evaluation.metrics for row in own)]
    names.sort(key=lambda name: name != own[0].metric)
    return {name: draws_of(own, name) for name in names}


def every_metric(rows: Sequence[Row]) -> EveryMetric:
    """The scored models of a task on validation; empty if the rows have no answers."""
    draws = draws_by_metric([row for row in rows if row.split == "validation"])
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in next(iter(draws.values()), ()):
        groups[row.key].append(row)
    return {
        key: {name: drawn(some, own) for name, own in draws.items()} for key, some in groups.items()
    }


def _labels(row: Row) -> np.ndarray:
    assert row.labels is not None, "a finished trial has them"
    return decode(row.labels)


def _texts(row: Row) -> bytes | str | None:
    data = row.run.trial.data
    return _labels(row).tobytes() if row.labels is not None else data and data.fingerprint


def _shares(seeds: tuple[int, ...]) -> np.ndarray:
    """The share of each seed in each draw, shape (1 + draws, seeds)."""
    return bootstrap.weights(len(seeds), SEEDS, *seeds).astype(float) / len(seeds)

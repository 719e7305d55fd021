"""Scored models: a method with one setting at one target or budget, over its seeds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from textwrap import shorten
from typing import Any, TypeVar

import numpy as np

from lotbench.statistics.bootstrap import UNKNOWN, Estimate, estimate
from lotbench.statistics.drawn import Drawn, drawn, draws_of
from lotbench.statistics.reference import Reference, reference_of
from lotbench.statistics.runs import TARGET, Key, Row, Run, Values, centre, change, varying
from lotbench.statistics.timed import TimingIndex, Where, in_backends

T = TypeVar("T")

DENSE_METHODS = ("dense", "dense-packed")
# Most letters of the parameters in a setting's name.
LONGEST_NAME = 60


class Scored:
    """A scored model; its numbers are of the validation split."""

    def __init__(
        self,
        key: Key,
        rows: Sequence[Row],
        own: Drawn,
        reference: Reference | None,
        name: str,
        clocks: TimingIndex,
    ) -> None:
        read = [row for row in rows if row.split == "validation"]
        by_seed = {row.run.seed: row for row in sorted(read, key=lambda row: row.run.seed)}
        self.key = self.method, self.setting, self.at = key
        """The method is the written name; ``at`` is the target or budget, see `Row.at`."""
        self.name = name
        """The parameters in which its setting differs from others of the method."""
        self.metric = str(rows[0].run.trial.metric)
        self.floor = rows[0].run.trial.floor
        """See `Trial.floor`."""
        self.seeds = len(by_seed)
        """How many are scored on validation; 0 if the model is scored on selection alone."""
        self.drawn = own
        self.score = UNKNOWN
        """Mean over the seeds, with its interval over texts and seeds."""
        self.gain = UNKNOWN
        """Score minus that of the reference with the same seeds, in points; NaN without one."""
        self.flops = UNKNOWN
        """FLOPs speed-up: mean, smallest and largest of the seeds."""
        if seeds := tuple(by_seed):
            self.score = estimate(own.score("validation", seeds))
            if reference is not None:
                self.gain = estimate(reference.margin(own, "validation", seeds))
            speedups = [each.evaluation.flops_speedup for each in by_seed.values()]
            self.flops = Estimate(float(np.mean(speedups)), min(speedups), max(speedups))
        ratios = [each.evaluation.keep_ratio for each in by_seed.values()]
        # Rows of a store made by hand may have more layers than others; the common ones are read.
        layers = zip(*ratios, strict=False)
        self.keep_ratios = tuple(float(np.mean(layer)) for layer in layers)
        """Share of the tokens that each layer computes, mean over the seeds."""
        evidence = [each.evaluation.evidence_kept for each in by_seed.values()]
        known = [share for share in evidence if share is not None]
        self.evidence_kept = float(np.mean(known)) if known else None
        """Share of the evidence that layers compute, mean over the seeds; None without evidence."""
        self.timed, self.backends = in_backends(by_seed, clocks)
        """By timing setting in its best backend, and by timing setting and backend."""

    @property
    def target(self) -> float | None:
        """The FLOPs speed-up that its budgets were searched for."""
        return self.at.value if self.at and self.at.name == TARGET else None

    @property
    def keep_ratio(self) -> float:
        """Share of the tokens that the layers compute, in the mean; of models with seeds."""
        return float(np.mean(self.keep_ratios))

    @property
    def is_bag(self) -> bool:
        """True if no layer computes a token, so that the embeddings alone are read."""
        return bool(self.keep_ratios) and not any(self.keep_ratios)


def scored_models(
    rows: Sequence[Row], clocks: TimingIndex
) -> tuple[list[Scored], Reference | None]:
    """The scored models of one task from its newest rows, and the reference among them.

    The models are in the order of method, setting, and target or budget.
    """
    draws, names = draws_of(rows), _names(rows)
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.key].append(row)
    keys = sorted(groups, key=lambda key: (*key[:2], key[2] or ()))
    models = {key: drawn(groups[key], draws) for key in keys}
    dense = {key[1]: own for key, own in reversed(models.items()) if key[0] == "dense"}
    reference = reference_of(dense, rows)
    scored = [
        Scored(key, groups[key], own, reference, names[key[1]], clocks)
        for key, own in models.items()
    ]
    return scored, reference


def front(speedup: Sequence[float], score: Sequence[float]) -> np.ndarray:
    """True for the models on the Pareto front, shape (N,).

    No other model is at least as fast and as good as these, and better in one of the two.  Of equal
    models, one is on the front.  A model with a missing coordinate is not.
    """
    import moocore

    # Rounding must not decide between equal scores.
    values = np.column_stack([np.asarray(speedup, float), np.round(np.asarray(score, float), 9)])
    mask: np.ndarray = np.all(np.isfinite(values), axis=1)
    if mask.any():
        mask[mask] = moocore.is_nondominated(values[mask], maximise=True)
    return mask


def on_front(models: Iterable[Scored], method: str) -> list[Scored]:
    """The models of a method on its front of score against FLOPs speed-up, slowest first."""
    own = [each for each in models if each.method == method]
    mask = front([each.flops.value for each in own], [each.gain.value for each in own])
    best = [each for each, chosen in zip(own, mask, strict=True) if chosen]
    return sorted(best, key=lambda each: each.flops.value)


def evenly(some: Sequence[T], most: int) -> list[T]:
    """At most so many of some things, evenly chosen, the first and the last among them."""
    places = np.linspace(0, len(some) - 1, min(len(some), most)).round().astype(int)
    return [some[place] for place in places]


def wheres(models: Iterable[Scored]) -> list[Where]:
    """The timing settings in which any of the models was timed."""
    return sorted({where for own in models for where in own.timed})


def _names(rows: Sequence[Row]) -> dict[str, str]:
    """For each setting, the parameters in which it differs from other settings of its method.

    If these are many, it is named by its changes from the setting in the centre.
    """
    methods: dict[str, list[Run]] = defaultdict(list)
    for row in rows:
        methods[row.run.method].append(row.run)
    names: dict[str, str] = {}
    for runs in methods.values():
        params = varying(runs)
        base = centre(params, Counter(run.setting for run in dict.fromkeys(runs)))
        own = {}
        for setting, values in params.items():
            given = {name: each for name, each in values.items() if each is not None}
            if len(written(given)) > LONGEST_NAME and setting != base:
                given = change(values, params[base])
            own[setting] = shorten(written(given), LONGEST_NAME, placeholder=" ...")
        # Settings may also differ outside the method, such as in the number of epochs.
        shared = Counter(own.values())
        for setting, text in own.items():
            names[setting] = text if shared[text] == 1 else f"{text} #{setting}".strip()
    return names


def written(params: Values) -> str:
    """Parameters as text: ``top_p=0.5 routing=drop``."""
    return " ".join(f"{name}={value_text(value)}" for name, value in params.items())


def value_text(value: Any) -> str:
    """The value of a parameter as text; None is the method's default."""
    return "default" if value is None else f"{value:g}" if isinstance(value, float) else str(value)

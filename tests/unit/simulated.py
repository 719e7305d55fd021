"""Trials of one task with the hits of every text, for tests of statistics."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from stores import evaluation, trial

from lotbench.statistics.evidence import Evidence
from lotbench.statistics.runs import Run
from lotbench.statistics.store_view import StoreView
from lotbench.store.rows import Trial


class Missed(NamedTuple):
    """A target that a trial did not reach."""

    trial_id: str
    target: float
    nearest: float


class Rows:
    """The trials of a task ``toy``, filled row by row.

    All labels are 1, so that a prediction is a hit.
    """

    def __init__(self, teacher: dict[str, float] | None = None) -> None:
        """``teacher`` has its score by split."""
        self.teacher = teacher or {}
        self.trials: dict[str, dict[str, Any]] = {}
        self.settings: dict[str, str] = {}
        self.params: dict[str, dict[str, Any]] = {}
        """The parameters that trial files give, by setting."""

    def add(
        self,
        method: str,
        selection: np.ndarray,
        validation: np.ndarray,
        target: float | None = None,
        speedups: tuple[float, float] | None = None,
        seed: int = 0,
        setting: str = "a",
        **more: Any,
    ) -> None:
        """One model: its hits on both splits, and its speed-ups on them, which default to 1."""
        name = more.get("trial_id", f"{method}-{setting}-{seed}")
        self.settings[name] = setting
        own = self.trials.setdefault(name, self._trial(name, method, seed) | more)
        for split, hits, speedup in zip(
            ("selection", "validation"),
            (selection, validation),
            speedups or (1.0, 1.0),
            strict=True,
        ):
            hits = np.asarray(hits, int)
            own["data"]["labels"][split] = "1" * len(hits)
            model = evaluation(
                float(np.mean(hits)),
                speedup,
                {"k": target or 0},
                split=split,
                target=target,
                examples=len(hits),
                predictions="".join(map(str, hits)),
            )
            ratios = {name: [1 / speedup] for name in ("keep_ratio", "key_ratio", "ffn_ratio")}
            own["evaluations"].append(model | ratios)

    def study(self, missed: Sequence[Missed] = ()) -> StoreView:
        """The study of the trials."""
        unreached = {name: [] for name in self.trials}
        for own in missed:
            unreached[own.trial_id].append({"target": own.target, "nearest": own.nearest})
        runs = []
        for name, row in self.trials.items():
            setting = self.settings[name]
            config = {"params": self.params.get(setting, {})}
            own = Trial.model_validate(row | {"unreached": unreached[name], "config": config})
            runs.append(Run(own, row["method"], setting))
        study = StoreView.__new__(StoreView)
        trials = [run.trial for run in runs]
        read = [run for run in runs if run.trial.reported]
        searched = [run for run in runs if run.trial.search and run.trial.search.part == "search"]
        study.__dict__.update(
            trials=trials, runs=read, searched_runs=searched, passes=[], shown_passes=[]
        )
        return study

    def evidence(self, missed: Sequence[Missed] = ()) -> Evidence:
        return self.study(missed).evidence["toy"]

    def _trial(self, name: str, method: str, seed: int) -> dict[str, Any]:
        teacher = {split: {"accuracy": score} for split, score in self.teacher.items()}
        more = {"data": {"labels": {}}, "created": "2025", "training": None}
        return trial(name, method, [], seed, teacher={"metrics": teacher}, **more)


SETTINGS = {"rounds": 20, "min_seconds": 1.0, "seed": 0, "plugins": (), "backends": ()}
SETTINGS |= {"dense_model": None, "metric": None}
"""Those of a `PassSpec` that a test does not care about."""


def mark(index: int, space: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The mark of a trial of a search."""
    return {
        "part": "search",
        "key": "s",
        "algorithm": "quasirandom",
        "index": index,
        "space": {"k": {"uniform": [0, 100]}} if space is None else space,
        "end": 4.0,
    } | more


def add_search(
    rows: Rows, method: str, areas: Sequence[float], texts: int = 200, **more: Any
) -> None:
    """A search of trials with these areas: one model of 2x each, so it is the height of its model.

    Rows must have a teacher of 0.9 on selection.
    """
    for index, height in enumerate(areas):
        right = hits(round(texts * (0.9 + (height - 10) / 100)), texts)
        own = mark(index, key=method) | more
        rows.add(method, right, right, 2.0, (2.0, 2.0), setting=f"{index}", seed=10, search=own)


def hits(right: int, texts: int = 200) -> np.ndarray:
    """So many hits, then misses."""
    return np.arange(texts) < right

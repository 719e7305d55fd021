"""Rows of one task with the hits of every text, for tests of statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lotbench.report.statistics import Evidence, evidence
from lotbench.store.answers import Answers, Missed


class Rows:
    """The frame and the predictions of a task ``toy``, filled row by row.

    All labels are 1, so that a prediction is a hit.
    """

    def __init__(self, teacher: dict[str, float] | None = None) -> None:
        """``teacher`` has its score by split."""
        self.teacher = teacher or {}
        self.rows: list[dict[str, Any]] = []
        self.answers: dict[tuple[str, str, str], Answers] = {}

    def add(
        self,
        method: str,
        selection: np.ndarray,
        validation: np.ndarray,
        target: float = np.nan,
        speedups: tuple[float, float] | None = None,
        seed: int = 0,
        setting: str = "a",
    ) -> None:
        """One model: its hits on both splits, and its speed-ups on them, which default to 1."""
        trial_id, budget = f"{method}-{setting}-{seed}", f"k={target:g}"
        for place, (split, hits) in enumerate(
            zip(("selection", "validation"), (selection, validation), strict=True)
        ):
            own = Answers(np.asarray(hits, int), np.ones(len(hits), int))
            self.answers[trial_id, split, budget] = own
            self.rows.append(
                {
                    "task": "toy",
                    "trial_id": trial_id,
                    "method": method,
                    "setting": setting,
                    "seed": seed,
                    "status": "done",
                    "created": "2025",
                    "split": split,
                    "target": target,
                    "budget": budget,
                    "score_name": "accuracy",
                    "score": float(np.mean(hits)),
                    "teacher_score": self.teacher.get(split, np.nan),
                    "flops_speedup": (speedups or (1.0, 1.0))[place],
                }
            )

    @property
    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows)

    def evidence(self, missed: Sequence[Missed] = ()) -> Evidence:
        return evidence(self.frame, self.answers, missed)["toy"]


def hits(right: int, texts: int = 200) -> np.ndarray:
    """So many hits, then misses."""
    return np.arange(texts) < right

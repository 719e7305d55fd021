"""The objective of a search: the area under the selection curve of one trial."""

from __future__ import annotations

import numpy as np

from lotbench.scoring.area import area
from lotbench.store.rows import Trial


def objective(trial: Trial, end: float) -> float | None:
    """The area of a trial on selection up to a speed-up, in points times doublings of speed.

    It is a function of the trial alone, so heights are counted from its own teacher.  None if the
    teacher or all of its models have no score.
    """
    metric = str(trial.metric)
    teacher = ((trial.teacher and trial.teacher.metrics) or {}).get("selection", {}).get(metric)
    scores = [
        (point.flops_speedup, score)
        for point in trial.evaluations
        if point.split == "selection" and (score := point.metrics.get(metric)) is not None
    ]
    if teacher is None or not scores:
        return None
    speedups, values = np.array(scores, float).T[:, :, None]
    margins = 100 * (values - teacher)
    return float(area(speedups, margins, margins, [None] * len(scores), end, trial.floor)[0])

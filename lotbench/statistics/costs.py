"""What training a method costs, against dense."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from lotbench.statistics.runs import Run


def training_costs(runs: Sequence[Run]) -> dict[str, float]:
    """Training time of every method against dense with the same seed: the median over its trials.

    Wall-clock times: trials train side by side, so a ratio is a rough one.  Methods without one are
    left out.
    """
    seconds = {
        run: own.seconds
        for run in runs
        if not run.failed and (own := run.trial.training) and own.steps and own.seconds
    }
    dense: dict[int, list[float]] = defaultdict(list)
    for run, own in seconds.items():
        if run.method == "dense":
            dense[run.seed].append(own)
    ratios: dict[str, list[float]] = defaultdict(list)
    for run, own in seconds.items():
        if run.seed in dense:
            ratios[run.method].append(own / median(dense[run.seed]))
    return {method: median(own) for method, own in ratios.items()}

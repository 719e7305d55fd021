"""Every metric of models whose rows have answers, in the same bootstrap draws."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from lotbench.metrics import METRICS
from lotbench.statistics.drawn import Drawn, drawn, draws_of
from lotbench.statistics.runs import Key, Row

EveryMetric = Mapping[Key, Mapping[str, Drawn]]
"""By model, then by metric, the main one first."""


def every_metric(rows: Sequence[Row]) -> EveryMetric:
    """The scored models of a task on validation; empty if the rows have no answers."""
    draws = draws_by_metric([row for row in rows if row.split == "validation"])
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in dict.fromkeys(row for own in draws.values() for row in own):
        groups[row.key].append(row)
    return {
        key: {name: drawn(some, own) for name, own in draws.items()} for key, some in groups.items()
    }


def draws_by_metric(rows: Sequence[Row]) -> dict[str, dict[Row, np.ndarray]]:
    """By metric, the main one first, the scores of the rows with answers; see `draws_of`."""
    own = [row for row in rows if row.evaluation.answers]
    names = [name for name in METRICS if any(name in row.evaluation.metrics for row in own)]
    names.sort(key=lambda name: name != own[0].metric)
    return {name: draws_of(own, name) for name in names}

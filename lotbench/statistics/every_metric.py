"""Every metric of the scored models of a task, in the same bootstrap draws."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from lotbench.metrics import METRICS
from lotbench.statistics.drawn import Drawn, drawn, draws_of
from lotbench.statistics.runs import Key, Row

EveryMetric = Mapping[Key, Mapping[str, Drawn]]
"""By model, then by metric."""


def every_metric(rows: Sequence[Row]) -> EveryMetric:
    """The scored models on validation by metric, the main one first.

    Empty if the rows have no answers for other metrics than the main one.
    """
    own = [row for row in rows if row.split == "validation" and row.evaluation.answers]
    names = [name for name in METRICS if any(name in row.evaluation.metrics for row in own)]
    names.sort(key=lambda name: name != own[0].metric)
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in own:
        groups[row.key].append(row)
    draws = {name: draws_of(own, name) for name in names}
    return {key: {name: drawn(some, draws[name]) for name in names} for key, some in groups.items()}

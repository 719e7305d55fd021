"""The rival of a faster reranker: dense on fewer passages of each query.

A first stage chooses them.  What it leaves out stands behind the others, in its own order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from lotbench.accelerate.first_stage import FirstStage
from lotbench.data.task import Task
from lotbench.kinds.rows import Split
from lotbench.report.text import unit, with_interval
from lotbench.scoring.scores import scores
from lotbench.scoring.values import known
from lotbench.statistics.bootstrap import Estimate, estimate, weights
from lotbench.statistics.evidence import holds_drop


def fewest(task: Task, drop: float) -> str:
    """The fewest passages that dense may read within the drop, and what it loses, in words.

    Chosen on selection and reported on validation; both have dense's scores.
    """
    passages = int(np.bincount(known(task.validation.groups)).max())
    for count in range(1, passages):
        if holds_drop(change(task, task.selection, count / passages).value, drop):
            own = with_interval(change(task, task.validation, count / passages))
            return (
                f"dense on {count} of {passages} passages, the best by BM25: "
                f"{own} {unit(task.metrics[0])}, {passages / count:.1f}x fewer passages"
            )
    return f"none: dense on {passages - 1} of {passages} passages loses more"


def change(task: Task, split: Split, share: float) -> Estimate:
    """The change of dense's score, in points, if it reads this share of each query's passages."""
    groups, dense = known(split.groups), known(split.dense)[:, 0]
    _, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.lexsort((-first_scores(split.texts), numbers))
    places = np.empty(len(order), np.int64)  # of each passage among those of its query
    places[order] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    read = places < np.ceil(share * sizes)[numbers]
    outputs = np.where(read, dense, dense.min() - 1 - places)
    metric = task.metrics[0]
    values = [task.kind.values(metric, split, own[:, None], None) for own in (outputs, dense)]
    fewer, whole = scores(metric, np.stack(values), None, weights(len(values[0])))
    return estimate(100 * (fewer - whole))


def first_scores(texts: Sequence[tuple[str, ...]]) -> np.ndarray:
    """The first stage's score of each pair of query and passage, shape (N,)."""
    places = {text: at for at, text in enumerate(dict.fromkeys(text for _, text in texts))}
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, (query, _) in enumerate(texts):
        rows_of[query].append(row)
    stage, found = FirstStage([*places]), np.empty(len(texts))
    for query, rows in rows_of.items():
        found[rows] = stage.scores(query)[[places[texts[row][1]] for row in rows]]
    return found

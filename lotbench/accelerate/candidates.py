"""The rival of a faster reranker: dense on fewer passages of each query.

A first stage chooses them: the words that query and passage share, rarer words counting more.  What
it leaves out stands behind the others, in its own order.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

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
                f"dense on {count} of {passages} passages, those that share most words with the "
                f"query: {own} {unit(task.metrics[0])}, {passages / count:.1f}x fewer passages"
            )
    return f"none: dense on {passages - 1} of {passages} passages loses more"


def change(task: Task, split: Split, share: float) -> Estimate:
    """The change of dense's score, in points, if it reads this share of each query's passages."""
    groups, dense = known(split.groups), known(split.dense)[:, 0]
    _, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.lexsort((-shared_words(split.texts), numbers))
    places = np.empty(len(order), np.int64)  # of each passage among those of its query
    places[order] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    read = places < np.ceil(share * sizes)[numbers]
    outputs = np.where(read, dense, dense.min() - 1 - places)
    metric = task.metrics[0]
    values = [task.kind.values(metric, split, own[:, None], None) for own in (outputs, dense)]
    fewer, whole = scores(metric, np.stack(values), None, weights(len(values[0])))
    return estimate(100 * (fewer - whole))


def shared_words(texts: Sequence[tuple[str, ...]]) -> np.ndarray:
    """The inverse document frequencies of the words that a pair shares, summed, shape (N,)."""
    words = [tuple({*re.findall(r"\w+", text.lower())} for text in pair) for pair in texts]
    counts = Counter(word for _, passage in words for word in passage)
    return np.array(
        [
            sum(math.log(len(words) / counts[word]) for word in sorted(query & passage))
            for query, passage in words
        ]
    )

"""Ranking: the relevance of documents for a query, 0 or more, learned by the squared distance.

A row is a pair; the rows of a group have the same query and are scored together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lotbench.kinds.kind import Array, Kind
from lotbench.kinds.rows import Rows, Split
from lotbench.scoring.metrics import RANKING as METRICS
from lotbench.scoring.values import known, of_groups


class Ranking(Kind):
    name, article = "ranking", "a ranking"
    keys, metrics = ("group", "protect", "evidence"), METRICS
    by_dense = ("agreement",)
    named = True
    by_row = False
    least = 0

    def unfit(self, data: Any, text: Sequence[str]) -> Iterator[tuple[str, str]]:
        if len(text) < 2:
            yield "text", "a ranking needs two columns, the text of the query first"
        if data.group is None:
            yield "group", "a ranking needs the column that says which rows have the same query"

    def scorable(self, rows: Rows, kept: Array) -> Array:
        """The kept rows of groups that have two or more, one relevant: the others have no nDCG.

        A file has no groups of one row, but what is removed as a leak may leave some.
        """
        assert rows.groups is not None, "a ranking has groups"
        _, numbers, sizes = np.unique(rows.groups[kept], return_inverse=True, return_counts=True)
        relevant = np.bincount(numbers, weights=rows.labels[kept] > 0)
        return kept[((sizes > 1) & (relevant > 0))[numbers]]

    def values(self, metric: str, split: Split, outputs: Array, queries: Array | None) -> Array:
        right = split.dense if metric == "agreement" else split.labels
        return of_groups(metric, known(split.groups), outputs[:, 0], known(right))

    def unit(self, metric: str | None) -> str:
        return "groups"


RANKING = Ranking()

"""Ranking: the relevance of documents for a query, 0 or more, learned by the squared distance.

A row is a pair; the rows of a group have the same query and are scored together.  Without labels
dense takes their place: it gives what is learned, and the document that it puts first is the
relevant one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lotbench.kinds.kind import Array, Kind
from lotbench.kinds.rows import Rows, Split
from lotbench.scoring.metrics import RANKING as METRICS
from lotbench.scoring.metrics import UNLABELLED_RANKING
from lotbench.scoring.values import best_of_groups, known, of_groups


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

    def metrics_for(self, rows: Rows) -> tuple[str, ...]:
        return UNLABELLED_RANKING if rows.labels is None else METRICS

    def scorable(self, rows: Rows, kept: Array) -> Array:
        """The kept rows of groups that have two or more, one relevant (the others have no nDCG).

        A file has no groups of one row, but what is removed as a leak may leave some.
        """
        assert rows.groups is not None, "a ranking has groups"
        _, numbers, sizes = np.unique(rows.groups[kept], return_inverse=True, return_counts=True)
        sound = sizes > 1
        if rows.labels is not None:
            sound &= np.bincount(numbers, weights=rows.labels[kept] > 0) > 0
        return kept[sound[numbers]]

    def values(self, metric: str, split: Split, outputs: Array, queries: Array | None) -> Array:
        groups, right = known(split.groups), split.labels
        if metric == "agreement":
            right = split.dense
        elif split.unlabelled is not None:
            right = best_of_groups(groups, known(split.dense)[:, 0])
        return of_groups(metric, groups, outputs[:, 0], known(right))

    def unit(self, metric: str | None) -> str:
        return "groups"


RANKING = Ranking()

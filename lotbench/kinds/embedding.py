"""Embedding: a vector for each text, learned by the cosine with that of dense.

A text may have a query, whose known item it is.  Pairs with a score, which is not learned, are two
texts each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lotbench.kinds.kind import Array, Kind
from lotbench.kinds.rows import Rows, Split
from lotbench.scoring.metrics import EMBEDDING as METRICS
from lotbench.scoring.values import cosines, found_at, known, shared


class Embedding(Kind):
    name, article = "embedding", "an embedding"
    keys = ("query", "pooling", "reduce")
    metrics = by_dense = METRICS
    named = vectors = True
    by_row = False

    def unfit(self, data: Any, text: Sequence[str]) -> Iterator[tuple[str, str]]:
        pair = len(text) == 2
        if data.query is not None and [*text] == [data.query]:
            yield "query", "it must be another column than `text`"
        if data.query is not None and pair:
            yield "query", "it needs one other column in `text`; two are pairs with a score"
        if data.label is not None and not pair:
            yield "label", "only pairs have a score; name two columns in `text`, or remove it"
        if data.reduce == "both" and data.query is None:
            yield "reduce", "it concerns queries; name their column in `query`, or remove it"

    def metrics_for(self, rows: Rows) -> tuple[str, ...]:
        there = {"mrr": rows.queries is not None, "spearman": rows.labels is not None}
        return tuple(metric for metric in METRICS if there.get(metric, True))

    def values(self, metric: str, split: Split, outputs: Array, queries: Array | None) -> Array:
        match metric:
            case "mrr":
                if queries is None and split.queries is not None:
                    queries = split.queries.dense
                return found_at(known(queries), outputs, split.text_seed)
            case "overlap":
                return shared(outputs, known(split.dense))
            case "cosine":
                return cosines(outputs, known(split.dense))
            case _:
                return cosines(*np.split(outputs, 2))

    def unit(self, metric: str | None) -> str:
        return "pairs" if metric == "spearman" else "texts"


EMBEDDING = Embedding()

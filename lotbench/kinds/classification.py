"""Classification: one of several classes for each text or pair, learned by cross-entropy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lotbench.kinds.kind import Array, Kind, Labels
from lotbench.kinds.labels import class_labels, labels_of_model
from lotbench.kinds.rows import Rows, Split, of_both
from lotbench.scoring.metrics import CLASSIFICATION as METRICS
from lotbench.scoring.metrics import UNLABELLED
from lotbench.scoring.values import known


class Classification(Kind):
    name, article = "classification", "a classification"
    keys = ("protect", "evidence", "regression", "windows", "limit.labelled")
    metrics = METRICS
    classes = True

    def unfit(self, data: Any, text: Sequence[str]) -> Iterator[tuple[str, str]]:
        yield from super().unfit(data, text)
        if data.windows and len(text) == 2:
            yield "windows", "only a single text is read on behind `max_length`; remove it"

    def read_labels(
        self, both: Sequence[Rows], label: str, task: str, classes: Sequence[str] | None
    ) -> Labels:
        if classes is None:
            return class_labels(both, label, task)
        return of_both(lambda rows: labels_of_model(rows, label, classes), both), classes

    def metrics_for(self, rows: Rows) -> tuple[str, ...]:
        return UNLABELLED if rows.labels is None else METRICS

    def labels_of(self, outputs: Array) -> Array:
        return outputs.argmax(axis=1)

    def values(self, metric: str, split: Split, outputs: Array, queries: Array | None) -> Array:
        labels = self.labels_of(outputs)
        if metric in UNLABELLED:
            return (labels == self.labels_of(known(split.dense))).astype(np.int64)
        return labels


CLASSIFICATION = Classification()

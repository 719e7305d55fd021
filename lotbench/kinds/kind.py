"""What a kind of task is asked, with the answers for texts or pairs that have a number each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from lotbench.kinds.labels import float_labels
from lotbench.kinds.rows import Rows, Split, of_both
from lotbench.scoring.area import FLOOR, FLOOR_OF_VECTORS
from lotbench.scoring.metrics import MEANS, compute_metrics
from lotbench.scoring.predictions import decode, encode

Array = np.ndarray
SPANS = -1
"""The number of labels of a model with a start and an end logit for each token."""
Labels = tuple[list[Array | None], Sequence[str | int]]
"""The labels of both splits, None where there are none, and the names of the classes."""


class SplitScores(NamedTuple):
    """The scores of a model on a split, and the values that they are made of."""

    metrics: dict[str, float]
    values: dict[str, Array]
    """The values behind each score, main metric first; see `lotbench.scoring.scores.scores`.
    All metrics of a classification or regression share one array."""


class Kind:
    """A kind of task: what its rows have, how its models answer, and how answers are scored.

    Its loss is `lotbench.losses.task_loss`, which goes by the type and shape of the labels.
    """

    name: ClassVar[str]
    article: ClassVar[str]
    """The name with its article, for messages."""
    keys: ClassVar[tuple[str, ...]]
    """The keys of a task that not every kind has."""
    metrics: ClassVar[tuple[str, ...]]
    by_dense: ClassVar[tuple[str, ...]] = ()
    """The main metrics for which dense is asked."""
    named: ClassVar[bool] = False
    """True if a task names it in ``kind``; a built-in task of such a kind has no other one."""
    classes: ClassVar[bool] = False
    """True if outputs are logits of classes."""
    text: ClassVar[tuple[str, ...]] = ()
    """The text columns if a task names none; without any, the usual ones of a table."""
    vectors: ClassVar[bool] = False
    """True if outputs are vectors of single texts, also of those of a pair, without a head."""
    spans: ClassVar[bool] = False
    """True if outputs are logits of tokens, (N, 2, L), and answers are spans of second texts."""
    by_row: ClassVar[bool] = True
    """True if a row is scored by itself."""
    least: ClassVar[float] = -np.inf
    """The smallest label that is a number."""

    def unfit(self, data: Any, text: Sequence[str]) -> Iterator[tuple[str, str]]:
        """The keys of a `TaskConfig` that do not fit its others, and why."""
        if data.protect is not None and len(text) < 2:
            why = "only a pair has a first text; name two columns in `text`, or remove it"
            yield "protect", why

    def n_labels(self, names: Sequence[str | int]) -> int:
        """Outputs of its models, of which ``names`` are the classes: 0 of vectors, or `SPANS`."""
        return 0 if self.vectors else len(names) or 1

    def labelled(self, frame: Any, where: str) -> Any:
        """The frame of a split with its labels in one column."""
        return frame

    def read_labels(
        self, both: Sequence[Rows], label: str, task: str, classes: Sequence[str] | None
    ) -> Labels:
        """The labels of a column; ``classes`` are those of a fine-tuned teacher."""
        if self.vectors and len(both[0].texts[0]) == 1:
            return [None, None], ()  # only pairs have a score
        return of_both(lambda rows: float_labels(rows, label, self.least), both), ()

    def notes(self, both: Sequence[Rows], names: Sequence[str | int]) -> dict[str, Any]:
        """What the record of the data says of both splits."""
        return {"classes": [*names]} if names else {}

    def metrics_for(self, rows: Rows) -> tuple[str, ...]:
        """The metrics that a split can be scored by."""
        return self.metrics

    def scorable(self, rows: Rows, kept: Array) -> Array:
        """Those of the kept rows that can be scored."""
        return kept

    def labels_of(self, outputs: Array) -> Array:
        """The labels that outputs (N, C) give, shape (N,)."""
        return outputs[:, 0]

    def gold(self, split: Split) -> Any:
        """What metrics that are no means compare predictions with."""
        return split.labels if self.by_row else split.gold

    def values(self, metric: str, split: Split, outputs: Array, queries: Array | None) -> Array:
        """The values behind a metric, one per text, query, pair or group."""
        return decode(encode(outputs[:, 0], None))  # rounded as in the row

    def score(
        self, metrics: Sequence[str], split: Split, outputs: Array, queries: Array | None = None
    ) -> SplitScores:
        """The scores of outputs (N, C) on a split that has what dense answers; main metric first.

        ``queries`` are vectors (N, D) of an embedding's queries, by default those of dense.
        """
        names = metrics[:1] if self.by_row else metrics
        values = {name: self.values(name, split, outputs, queries) for name in names}
        scores = {}
        for name in metrics:
            gold = None if name in MEANS else self.gold(split)
            scores |= compute_metrics([name], values.get(name, values[metrics[0]]), gold)
        return SplitScores(scores, values)

    def answered(self, split: Split, outputs: Array) -> list[int] | None:
        """What a row stores beside the values, so that answers can be scored again."""
        return None

    def unit(self, metric: str | None) -> str:
        """What the main score is a mean over, and bootstrap draws take."""
        return "texts"

    def floor(self, metric: str | None) -> float:
        """How many points below the reference an area is counted from.

        Vectors and rankings lose more than classes before they are of no use.
        """
        return FLOOR_OF_VECTORS if self.vectors or metric in MEANS else FLOOR

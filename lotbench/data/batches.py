"""Batches of a split: grouped by length, without padding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lotbench.data.tokens import Split

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lotbench.batch import Batch

MEGABATCH = 50


def batches(split: Split, batch_size: int, seed: int | None) -> list[np.ndarray]:
    """Row numbers of each batch; every example is in exactly one batch.

    With a seed, the split is shuffled and cut into megabatches of 50 batches.  Each is sorted by
    length and cut into batches, which are then shuffled.  Without a seed, the batches go from the
    shortest example to the longest.
    """
    lengths = split.lengths
    if seed is None:
        order = np.argsort(lengths, kind="stable")
        return _cut(order, batch_size)
    rng = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    for rows in _cut(rng.permutation(len(split)), MEGABATCH * batch_size):
        found += _cut(rows[np.argsort(lengths[rows], kind="stable")], batch_size)
    return [found[i] for i in rng.permutation(len(found))]


def collate(split: Split, rows: ArrayLike) -> Batch:
    """The ragged batch of these rows, in this order, on the CPU.

    What the dense teacher answers is also the labels of a split that has none.
    """
    from lotbench.batch import Batch

    rows = np.asarray(rows, dtype=np.int64)
    own = split.at(rows)
    return Batch.from_ids(
        own.input_ids,
        own.token_type_ids,
        labels=own.dense if own.labels is None else own.labels,
        index=rows,
        text_seed=own.text_seed,
        unlabelled=own.unlabelled,
        saliency=own.saliency,
        teacher_logits=own.dense,
    )


def _cut(order: np.ndarray, size: int) -> list[np.ndarray]:
    return [order[i : i + size] for i in range(0, len(order), size)]

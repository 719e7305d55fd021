"""Tasks as token ids: splits without leaks, length-bucketed batches, ragged collation."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from lotbench.errors import InputError
from lotbench.study.config import TaskConfig
from lotbench.study.metrics import compute_metrics
from lotbench.study.sources import Source, read_source
from lotbench.study.tables import Rows

if TYPE_CHECKING:
    from lotbench.reducer import Batch

__all__ = ["Split", "Task", "batches", "collate", "compute_metrics", "load_task"]

SELECTION_SHARE, SELECTION_MOST = 0.1, 2000
"""The selection set is a tenth of the training rows, but no more than so many: they tell accuracies
apart to a point, and what is left trains."""
MEGABATCH = 50
_CHUNK = 2000


@dataclass
class Split:
    """N examples.

    Attributes
    ----------
    input_ids, token_type_ids : list of list of int
        Without padding.
    labels : ndarray, shape (N,), int64, or float32 for a regression
    text_seed : ndarray, shape (N,), int64
        A stable, non-negative hash of the texts.
    texts : list of tuple of str
        One or two fields each.
    """

    input_ids: list[list[int]]
    token_type_ids: list[list[int]]
    labels: np.ndarray
    text_seed: np.ndarray
    texts: list[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, shape (N,), int64."""
        return np.fromiter(map(len, self.input_ids), dtype=np.int64, count=len(self))


@dataclass
class Task:
    """A task ready to train on.

    ``selection`` is split off train, for every choice; ``validation`` is only reported.  ``notes``
    says what was found in the data: class names, rows, duplicates.
    """

    name: str
    n_labels: int
    regression: bool
    metrics: tuple[str, ...]
    train: Split
    selection: Split
    validation: Split
    fingerprint: str
    notes: dict[str, Any] = field(default_factory=dict)


def load_task(
    name: str, data: TaskConfig, tokenizer: Any, seed: int, data_root: str | None = None
) -> Task:
    """The task, read, limited and tokenised.

    The seed draws the rows of a limited train split and the selection set.  A limited validation
    split has the same rows for every seed, so that seeds differ by the model alone.

    Raises
    ------
    InputError
        Names the file or data set, the column and row, and the mend.
    """
    _check_length(name, data.max_length, tokenizer)
    source = read_source(name, data, data_root)
    kept = _without_leaks(source)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(kept)[: data.limit.train]
    n_selection = min(max(1, round(SELECTION_SHARE * len(chosen))), SELECTION_MOST)
    if len(chosen) <= n_selection:
        raise InputError(
            f"{source.train.where}: {len(chosen)} usable training rows are too few; "
            "two are the least, one of them for the selection set"
        )
    reported = np.arange(len(source.validation.texts))
    if data.limit.validation is not None and data.limit.validation < len(reported):
        shuffled = np.random.default_rng(0).permutation(reported)
        reported = np.sort(shuffled[: data.limit.validation])
    splits = [
        _tokenise(source.train, chosen[n_selection:], tokenizer, data.max_length),
        _tokenise(source.train, chosen[:n_selection], tokenizer, data.max_length),
        _tokenise(source.validation, reported, tokenizer, data.max_length),
    ]
    return Task(
        name,
        source.n_labels,
        source.regression,
        source.metrics,
        *splits,
        fingerprint=_fingerprint(splits),
        notes=source.notes,
    )


def batches(split: Split, batch_size: int, seed: int | None) -> list[np.ndarray]:
    """Row numbers of each batch; every example is in exactly one.

    With a seed, the split is shuffled and cut into megabatches of 50 batches; lengths are sorted
    inside each, and then the batches are shuffled.  Without one, batches run from the shortest
    example to the longest.
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


def collate(split: Split, indices: np.ndarray) -> Batch:
    """The ragged batch of these rows, in this order, on the CPU."""
    import torch

    from lotbench.ragged import Ragged
    from lotbench.reducer import Batch

    rows = np.asarray(indices, dtype=np.int64)
    ids = [split.input_ids[i] for i in rows]
    lengths = [len(row) for row in ids]
    total = sum(lengths)
    types = [split.token_type_ids[i] for i in rows]
    return Batch(
        input_ids=torch.from_numpy(_flat(ids, total)),
        token_type_ids=torch.from_numpy(_flat(types, total)),
        layout=Ragged.from_lengths(lengths),
        labels=torch.from_numpy(split.labels[rows]),
        index=torch.from_numpy(rows),
        text_seed=torch.from_numpy(split.text_seed[rows]),
    )


def _flat(rows: list[list[int]], total: int) -> np.ndarray:
    return np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=total)


def _cut(order: np.ndarray, size: int) -> list[np.ndarray]:
    return [order[i : i + size] for i in range(0, len(order), size)]


def _check_length(name: str, max_length: int, tokenizer: Any) -> None:
    if not tokenizer.is_fast:
        raise InputError(f"task {name!r}: the backbone's tokenizer has no fast version")
    if max_length > tokenizer.model_max_length:
        raise InputError(
            f"tasks.{name}.max_length: {max_length} is more than the "
            f"{tokenizer.model_max_length} tokens that the backbone can read"
        )


def _without_leaks(source: Source) -> np.ndarray:
    """Row numbers of train without the texts of validation, and each text once."""
    reported = set(source.validation.texts)
    seen: dict[tuple[str, ...], int] = {}
    leaks = repeated = conflicting = 0
    labels = source.train.labels
    for row, text in enumerate(source.train.texts):
        if text in reported:
            leaks += 1
        elif text in seen:
            repeated += 1
            conflicting += bool(labels[row] != labels[seen[text]])
        else:
            seen[text] = row
    source.notes.update(
        train_rows=len(labels),
        validation_rows=len(source.validation.labels),
        removed_also_in_validation=leaks,
        removed_repeated=repeated,
        repeated_with_another_label=conflicting,
        validation_repeated=len(source.validation.texts) - len(reported),
    )
    return np.fromiter(seen.values(), dtype=np.int64, count=len(seen))


def _tokenise(rows: Rows, chosen: np.ndarray, tokenizer: Any, max_length: int) -> Split:
    # Said outright, or a later fork (Ray, git) makes the tokenizer warn about its own threads.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    texts = [rows.texts[i] for i in chosen]
    ids: list[list[int]] = []
    types: list[list[int]] = []
    # In chunks, since the offsets of 25,000 long texts at once take gigabytes.
    for start in range(0, len(texts), _CHUNK):
        some_ids, some_types = tokenise(texts[start : start + _CHUNK], tokenizer, max_length)
        ids += some_ids
        types += some_types
    seeds = np.fromiter(map(text_seed, texts), dtype=np.int64, count=len(texts))
    return Split(ids, types, rows.labels[chosen], seeds, texts)


def tokenise(
    texts: Sequence[tuple[str, ...]], tokenizer: Any, max_length: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids and token types of texts that all have one field, or all two."""
    fields = [list(column) for column in zip(*texts, strict=True)]
    # All said here, since a tokenizer file may bring its own padding and truncation.
    found = tokenizer(
        *fields,
        truncation=True,
        max_length=max_length,
        padding=False,
        return_token_type_ids=True,
        return_attention_mask=False,
    )
    ids, types = found["input_ids"], found["token_type_ids"]
    if "token_type_ids" not in tokenizer.model_input_names:
        # RoBERTa's embedding has one type only, whatever its tokenizer reports for a pair.
        types = [[0] * len(row) for row in ids]
    return ids, types


def text_seed(fields: Iterable[str]) -> int:
    """A stable, non-negative hash of a text or text pair."""
    digest = hashlib.blake2b("\0".join(fields).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _fingerprint(splits: list[Split]) -> str:
    """A hash of texts, tokens and labels of all splits, in order."""
    digest = hashlib.blake2b(digest_size=16)
    for split in splits:
        total = int(split.lengths.sum())
        for array in (
            split.lengths,
            _flat(split.input_ids, total),
            _flat(split.token_type_ids, total),
            split.labels,
            split.text_seed,
        ):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

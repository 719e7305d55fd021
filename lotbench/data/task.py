"""Load a task as token ids: training, selection and validation split, without overlap."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lotbench.config.sections import TaskConfig
from lotbench.data.sources import Source, read_source
from lotbench.data.tokens import Split, tokenise_rows
from lotbench.errors import InputError

SELECTION_SHARE, SELECTION_MOST = 0.1, 2000
"""The selection split is a tenth of the training rows, at most 2000, unless the task says how many
it has.  With 2000 texts a difference of one point of accuracy can be seen."""
LEFT_OUT = "(repeated texts and texts of the validation split are left out)"


@dataclass
class Task:
    """A task ready to train on.

    ``selection`` is a part of the training rows, used for all choices.  ``validation`` is only for
    reports.  ``notes`` has the names of the classes and the numbers of rows and duplicates.
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

    The seed selects the rows of a limited training split and of the selection split.  A limited
    validation split has the same rows for every seed, so that all seeds have the same test.

    Raises
    ------
    InputError
        If the data are invalid; the message has file, column and row.
    """
    if data.max_length > tokenizer.model_max_length:
        raise InputError(
            f"tasks.{name}.max_length: {data.max_length} is more than the "
            f"{tokenizer.model_max_length} tokens that the backbone can read"
        )
    source = read_source(name, data, data_root)
    kept = _without_leaks(source)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(kept)[: data.limit.train]
    tenth = min(max(1, round(SELECTION_SHARE * len(chosen))), SELECTION_MOST)
    n_selection = data.limit.selection or tenth
    if len(chosen) <= n_selection:
        raise InputError(
            f"{source.train.where}: {len(chosen)} usable training rows leave none to train on "
            f"after {n_selection} for selection; add rows, or change tasks.{name}.limit {LEFT_OUT}"
        )
    if not source.regression and len({*source.train.labels[chosen[n_selection:]].tolist()}) < 2:
        raise InputError(
            f"{source.train.where}: the {len(chosen) - n_selection} rows that are left to train on "
            f"have one class only; raise tasks.{name}.limit.train, or add rows {LEFT_OUT}"
        )
    reported = np.arange(len(source.validation.texts))
    if data.limit.validation is not None and data.limit.validation < len(reported):
        shuffled = np.random.default_rng(0).permutation(reported)
        reported = np.sort(shuffled[: data.limit.validation])
    splits = [
        tokenise_rows(source.train, chosen[n_selection:], tokenizer, data.max_length),
        tokenise_rows(source.train, chosen[:n_selection], tokenizer, data.max_length),
        tokenise_rows(source.validation, reported, tokenizer, data.max_length),
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


def _without_leaks(source: Source) -> np.ndarray:
    """Training rows without repeated texts and without texts of the validation split, (N,)."""
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


def _fingerprint(splits: list[Split]) -> str:
    """A hash of texts, tokens and labels of all splits, in order."""
    digest = hashlib.blake2b(digest_size=16)
    for split in splits:
        for array in (
            split.lengths,
            np.concatenate([np.asarray(row, dtype=np.int64) for row in split.input_ids]),
            np.concatenate([np.asarray(row, dtype=np.int64) for row in split.token_type_ids]),
            split.labels,
            split.text_seed,
        ):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

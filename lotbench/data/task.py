"""Load a task as token ids: training, selection and validation split, without overlap."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lotbench.config.sections import TaskConfig
from lotbench.config.tasks import Kind
from lotbench.data.labels import MISSING
from lotbench.data.sources import Source, read_source
from lotbench.data.tables import Rows
from lotbench.data.tokens import Split, tokenise_rows, windows_behind, with_queries
from lotbench.errors import InputError

SELECTION_SHARE, SELECTION_MOST = 0.1, 2000
"""The selection split is a tenth of the training rows (of a ranking: groups), at most 2000, unless
the task says how many it has.  With 2000 texts a difference of one point of accuracy can be seen.
"""
LEFT_OUT = "(repeated texts and texts of the validation split are left out)"


@dataclass
class Task:
    """A task ready to train on.

    ``selection`` is a part of the training rows, used for all choices.  ``validation`` is only for
    reports.  ``notes`` has the names of the classes and the numbers of rows and duplicates.  An
    embedding has no labels, so its ``n_labels`` is 0.
    """

    name: str
    n_labels: int
    kind: Kind
    metrics: tuple[str, ...]
    train: Split
    selection: Split
    validation: Split
    fingerprint: str
    notes: dict[str, Any] = field(default_factory=dict)
    reduces_queries: bool = False
    """True if an embedding's queries, too, are encoded by the reduced model."""

    @property
    def asks_dense(self) -> bool:
        """True if what dense answers is used, to score or in the place of labels."""
        splits = (self.train, self.selection, self.validation)
        unlabelled = any(own.unlabelled is not None for own in splits)
        return self.kind == "embedding" or self.metrics[0] == "agreement" or unlabelled


def load_task(
    name: str,
    data: TaskConfig,
    tokenizer: Any,
    seed: int,
    data_root: str | None = None,
    scored_length: int | None = None,
    classes: Sequence[str] | None = None,
) -> Task:
    """The task, read, limited and tokenised.

    The seed selects the rows of a limited training split and of the selection split.  A limited
    validation split has the same rows for every seed, so that all seeds have the same test.
    Limits of a ranking count groups.  Validation and selection texts are cut after
    ``scored_length`` tokens, by default after the task's ``max_length``.  With the ``classes`` of a
    fine-tuned teacher rows need no labels; of partly labelled training rows the labelled ones are
    selected by.  Rows behind ``limit.labelled`` lose theirs, and ``windows`` are rows without one.

    Raises
    ------
    InputError
        If the data are invalid; the message has file, column and row.  If the tokenizer is
        unfit for a key of the task; the message has the key.
    """
    scored_length = scored_length or data.max_length
    for key, length in (
        (f"tasks.{name}.max_length", data.max_length),
        ("evaluate.max_length", scored_length),
    ):
        if length > tokenizer.model_max_length:
            raise InputError(
                f"{key}: {length} is more than the {tokenizer.model_max_length} tokens that the "
                "backbone can read"
            )
    if data.windows and not tokenizer.is_fast:
        raise InputError(
            f"tasks.{name}.windows: the tokenizer of this backbone is written in Python and does "
            "not say where in a text its tokens stand; remove it"
        )
    source = read_source(name, data, data_root, classes)
    train, validation = source.train, source.validation
    kept, reported = _without_leaks(source), np.arange(len(validation.texts))
    if source.kind == "ranking":
        kept, reported = _scorable(train, kept), _scorable(validation, reported)
        _note_groups(source, kept, reported)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(_units(train, kept))
    labelled = all(rows.labels is not None for rows in (train, validation))
    if classes is not None and source.kind == "classification" and labelled:
        # In their order, but rows without a label behind the others.
        chosen = chosen[np.argsort(train.labels[chosen] == MISSING, kind="stable")]
    chosen = chosen[: data.limit.train]
    tenth = min(max(1, round(SELECTION_SHARE * len(chosen))), SELECTION_MOST)
    n_selection = data.limit.selection or tenth
    if len(chosen) <= n_selection:
        units = "rows" if train.groups is None else "groups"
        raise InputError(
            f"{train.where}: {len(chosen)} usable training {units} leave none to train on "
            f"after {n_selection} for selection; add {units}, or change tasks.{name}.limit "
            f"{LEFT_OUT}"
        )
    trained = _rows_of(train, kept, chosen[n_selection:])
    selected = _rows_of(train, kept, chosen[:n_selection])
    labelled = trained[: data.limit.labelled]
    if len(labelled) < len(trained):
        if train.labels is None:
            message = f"no label column; add one, or remove tasks.{name}.limit.labelled"
            raise InputError(f"{train.where}: {message}")
        train.labels[trained[len(labelled) :]] = MISSING
    if classes is not None:
        _check_labelled(source, selected, name)
    elif source.kind == "classification" and len(np.unique(train.labels[labelled])) < 2:
        raise InputError(
            f"{train.where}: the {len(labelled)} rows that are left to train on "
            f"have one class only; raise tasks.{name}.limit, or add rows {LEFT_OUT}"
        )
    if data.windows:
        texts = [train.texts[row][0] for row in trained]
        behind = windows_behind(texts, tokenizer, data.max_length)
        train, trained = _with_unlabelled(train, trained, behind)
    units = _units(validation, reported)
    if data.limit.validation is not None and data.limit.validation < len(units):
        shuffled = np.random.default_rng(0).permutation(units)
        reported = _rows_of(validation, reported, np.sort(shuffled[: data.limit.validation]))
    embedding = source.kind == "embedding"
    splits = [
        tokenise_rows(train, trained, tokenizer, data.max_length, embedding),
        tokenise_rows(train, selected, tokenizer, scored_length, embedding),
        tokenise_rows(validation, reported, tokenizer, scored_length, embedding),
    ]
    if data.reduce == "both":
        splits[0] = with_queries(splits[0])
    return Task(
        name,
        source.n_labels,
        source.kind,
        source.metrics,
        *splits,
        fingerprint=_fingerprint(splits),
        notes=source.notes,
        reduces_queries=data.reduce == "both",
    )


def _with_unlabelled(rows: Rows, trained: np.ndarray, texts: list[str]) -> tuple[Rows, np.ndarray]:
    """The rows with further texts, which have no label, and which of all rows are trained on."""
    added = np.full(len(texts), MISSING)
    labels = None if rows.labels is None else np.concatenate([rows.labels, added])
    chosen = np.concatenate([trained, len(rows.texts) + np.arange(len(texts))])
    return Rows([*rows.texts, *((text,) for text in texts)], labels, rows.where), chosen


def _check_labelled(source: Source, selected: np.ndarray, name: str) -> None:
    """Refuses labels that are missing in some of the rows that models are scored on."""
    train, validation = source.train, source.validation
    if validation.labels is None:
        return
    classified = source.kind == "classification"
    if classified and (missing := int((validation.labels == MISSING).sum())):
        raise InputError(
            f"{validation.where}: {missing} rows have no label; label or remove them, or "
            "remove the column, and models are scored by the classes that the teacher gives"
        )
    if train.labels is None or (classified and (train.labels[selected] == MISSING).any()):
        raise InputError(
            f"{train.where}: fewer labels than the {len(selected)} rows that models are selected "
            f"by; label more rows, lower tasks.{name}.limit.selection, or remove the label column "
            "of the validation split, and models are scored by the classes that the teacher gives"
        )


def _units(rows: Rows, kept: np.ndarray) -> np.ndarray:
    """What a split is divided into: the kept rows, or the groups of a ranking."""
    return kept if rows.groups is None else np.unique(rows.groups[kept])


def _rows_of(rows: Rows, kept: np.ndarray, units: np.ndarray) -> np.ndarray:
    """The kept rows of some units."""
    return units if rows.groups is None else kept[np.isin(rows.groups[kept], units)]


def _scorable(rows: Rows, kept: np.ndarray) -> np.ndarray:
    """The kept rows of groups that have two or more, one of them relevant: the others have no nDCG.

    A file has no groups of one row, but what is removed as a leak may leave some.
    """
    assert rows.groups is not None, "a ranking has groups"
    _, numbers, sizes = np.unique(rows.groups[kept], return_inverse=True, return_counts=True)
    relevant = np.bincount(numbers, weights=rows.labels[kept] > 0)
    return kept[((sizes > 1) & (relevant > 0))[numbers]]


def _note_groups(source: Source, kept: np.ndarray, reported: np.ndarray) -> None:
    """Counts the groups that are left out; refuses a validation split where none is left."""
    parts = {"train": (source.train, kept), "validation": (source.validation, reported)}
    for name, (rows, left) in parts.items():
        without = len(_units(rows, np.arange(len(rows.texts)))) - len(_units(rows, left))
        source.notes[f"{name}_groups_left_out"] = without
    if not len(reported):
        raise InputError(
            f"{source.validation.where}: no group has a relevant row (a label above 0), so none "
            "can be scored; correct the labels, or choose another group column"
        )


def _without_leaks(source: Source) -> np.ndarray:
    """Training rows without repeated texts and without texts of the validation split, (N,).

    Of an embedding's pairs, which are read alone, each text counts.
    """

    def parts(text: tuple[str, ...]) -> tuple:
        return text if source.kind == "embedding" else (text,)

    reported = {part for text in source.validation.texts for part in parts(text)}
    seen: dict[tuple[str, ...], int] = {}
    leaks = repeated = conflicting = 0
    labels = source.train.labels
    if labels is None:
        labels = np.zeros(len(source.train.texts))
    for row, text in enumerate(source.train.texts):
        if not reported.isdisjoint(parts(text)):
            leaks += 1
        elif text in seen:
            repeated += 1
            conflicting += bool(labels[row] != labels[seen[text]])
        else:
            seen[text] = row
    source.notes.update(
        train_rows=len(labels),
        validation_rows=len(source.validation.texts),
        removed_also_in_validation=leaks,
        removed_repeated=repeated,
        repeated_with_another_label=conflicting,
        validation_repeated=len(source.validation.texts) - len({*source.validation.texts}),
    )
    return np.fromiter(seen.values(), dtype=np.int64, count=len(seen))


def _fingerprint(splits: list[Split]) -> str:
    """A hash of texts, tokens, labels, queries and groups of all splits, in order."""
    digest = hashlib.blake2b(digest_size=16)
    for split in (part for own in splits for part in (own, own.queries) if part is not None):
        for array in (
            split.lengths,
            np.concatenate([np.asarray(row, dtype=np.int64) for row in split.input_ids]),
            np.concatenate([np.asarray(row, dtype=np.int64) for row in split.token_type_ids]),
            split.labels,
            split.text_seed,
            split.gold,
            split.groups,
        ):
            if array is not None:
                digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

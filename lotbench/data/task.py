"""Load a task as token ids: training, selection and validation split, without overlap."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lotbench.data.places import check_has_places
from lotbench.data.sources import Source
from lotbench.data.tokens import Split, tokenise_rows, windows_behind, with_queries
from lotbench.errors import InputError
from lotbench.kinds.kind import Kind
from lotbench.kinds.labels import MISSING, without_label
from lotbench.kinds.rows import Rows

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
        unlabelled = any(split.unlabelled is not None for split in splits)
        return self.metrics[0] in self.kind.by_dense or unlabelled


def load_task(
    source: Source,
    tokenizer: Any,
    seed: int,
    scored_length: int | None = None,
    share: float = 1.0,
) -> Task:
    """The task of a source, limited and tokenised; see `limited` and `tokenised`."""
    scored_length = scored_length or source.data.max_length
    _check_tokenizer(source, tokenizer, scored_length)
    return tokenised(source, limited(source, seed, share), tokenizer, scored_length)


def limited(source: Source, seed: int, share: float = 1.0) -> list[Rows]:
    """The rows of the training, selection and validation split.

    The seed selects the rows of a limited training split and of the selection split.  A limited
    validation split has the same rows for every seed, so that all seeds have the same test.
    Limits of a ranking count groups.  Rows behind ``limit.labelled`` lose their labels.  Of partly
    labelled training rows the labelled ones are selected by, if validation has labels.  A ranking
    whose teacher is given is learned from that teacher's scores alone.  Of what is left to train on
    a ``share`` is taken; the other splits do not depend on it.
    """
    train, validation, limit = source.train, source.validation, source.data.limit
    kept = source.kind.scorable(train, _without_leaks(source))
    reported = source.kind.scorable(validation, np.arange(len(validation.texts)))
    if train.groups is not None:
        _note_groups(source, kept, reported)
    chosen = np.random.default_rng(seed).permutation(_units(train, kept))
    missing = without_label(train.labels, len(train.texts))
    if missing is not None and validation.labels is not None:
        # In their order, but rows without a label behind the others.
        chosen = chosen[np.argsort(missing[chosen], kind="stable")]
    chosen = chosen[: limit.train]
    tenth = min(max(1, round(SELECTION_SHARE * len(chosen))), SELECTION_MOST)
    n_selection = limit.selection or tenth
    if len(chosen) <= n_selection:
        units = "rows" if train.groups is None else "groups"
        raise InputError(
            f"{train.where}: {len(chosen)} usable training {units} leave none to train on "
            f"after {n_selection} for selection; add {units}, or change tasks.{source.name}.limit "
            f"{LEFT_OUT}"
        )
    taken = max(1, round(share * (len(chosen) - n_selection)))
    trained = train.at(_rows_of(train, kept, chosen[n_selection:][:taken]))
    selected = train.at(_rows_of(train, kept, chosen[:n_selection]))
    _limit_labels(source, trained, selected)
    if source.taught and train.groups is not None:
        trained.labels = None  # a teacher from elsewhere has a scale of its own
    units = _units(validation, reported)
    if limit.validation is not None and limit.validation < len(units):
        shuffled = np.random.default_rng(0).permutation(units)
        reported = _rows_of(validation, reported, np.sort(shuffled[: limit.validation]))
    return [trained, selected, validation.at(reported)]


def tokenised(source: Source, rows: list[Rows], tokenizer: Any, scored_length: int) -> Task:
    """The task of these rows of the three splits.

    Validation and selection texts are cut after ``scored_length`` tokens.  With ``windows`` the
    rest of each training text is trained on without a label.
    """
    data, kind = source.data, source.kind
    train, *scored = rows
    if data.windows:
        texts = [text for (text,) in train.texts]
        train = _with_unlabelled(train, windows_behind(texts, tokenizer, data.max_length))
    splits = [
        tokenise_rows(train, tokenizer, data.max_length, kind),
        *(tokenise_rows(split, tokenizer, scored_length, kind) for split in scored),
    ]
    if kind.spans:
        splits[0] = _without_cut(source, splits)
    reduces_queries = data.reduce == "both"
    if reduces_queries:
        splits[0] = with_queries(splits[0])
    if (marks := splits[-1].evidence) is not None:
        source.notes["validation_with_evidence"] = sum(bool(own.any()) for own in marks)
    return Task(
        source.name,
        source.n_labels,
        kind,
        source.metrics,
        *splits,
        fingerprint=_fingerprint(splits),
        notes=source.notes,
        reduces_queries=reduces_queries,
    )


def _check_tokenizer(source: Source, tokenizer: Any, scored_length: int) -> None:
    """Refuses texts that are too long for the backbone, and keys that need places in a text."""
    name, data = source.name, source.data
    for key, length in (
        (f"tasks.{name}.max_length", data.max_length),
        ("evaluate.max_length", scored_length),
    ):
        if length > tokenizer.model_max_length:
            raise InputError(
                f"{key}: {length} is more than the {tokenizer.model_max_length} tokens that the "
                "backbone can read"
            )
    for key in ("windows", "evidence", "kind"):
        if source.kind.spans if key == "kind" else getattr(data, key):
            check_has_places(tokenizer, f"tasks.{name}.{key}")


def _without_cut(source: Source, splits: list[Split]) -> Split:
    """The training rows whose answer is not behind the cut; counts those of which it is.

    In the other splits such a row counts as wrong.
    """
    cut = [split.labels[:, 0] == MISSING for split in splits]
    for name, rows in zip(("train", "selection", "validation"), cut, strict=True):
        source.notes[f"{name}_answers_cut"] = int(rows.sum())
    if cut[0].all():
        raise InputError(
            f"{source.train.where}: every answer is behind the first {source.data.max_length} "
            f"tokens; raise tasks.{source.name}.max_length"
        )
    return splits[0].at(np.flatnonzero(~cut[0]))


def _with_unlabelled(rows: Rows, texts: list[str]) -> Rows:
    """The rows, and behind them texts without a label."""
    labels = rows.labels
    if labels is not None:
        labels = np.concatenate([labels, np.full(len(texts), MISSING)])
    return Rows([*rows.texts, *((text,) for text in texts)], labels, rows.where)


def _limit_labels(source: Source, trained: Rows, selected: Rows) -> None:
    """Takes labels away behind ``limit.labelled``.

    Refuses one class to train on, and labels that are missing where models are scored by labels.
    """
    train, validation, limit = source.train, source.validation, source.data.limit
    if limit.labelled is not None and limit.labelled < len(trained.texts):
        if trained.labels is None:
            message = f"no label column; add one, or remove tasks.{source.name}.limit.labelled"
            raise InputError(f"{train.where}: {message}")
        trained.labels[limit.labelled :] = MISSING
    if source.kind.classes and not source.taught:
        labels = trained.labels[: limit.labelled]
        if len(np.unique(labels)) < 2:
            raise InputError(
                f"{train.where}: the {len(labels)} rows that are left to train on "
                f"have one class only; raise tasks.{source.name}.limit, or add rows {LEFT_OUT}"
            )
    if validation.labels is None:
        return
    fewer = f"label more rows, lower tasks.{source.name}.limit.selection"
    for rows, use, mend in (
        (validation, "reported on", "label or remove them"),
        (selected, "selected by", fewer),
    ):
        missing = without_label(rows.labels, len(rows.texts))
        if missing is not None:
            raise InputError(
                f"{rows.where}: {missing.sum()} of the {len(missing)} rows that models are {use} "
                f"have no label; {mend}, or remove the label column of the validation split, and "
                "models are scored by the classes that the teacher gives"
            )


def _units(rows: Rows, kept: np.ndarray) -> np.ndarray:
    """What a split is divided into: the kept rows, or the groups of a ranking."""
    return kept if rows.groups is None else np.unique(rows.groups[kept])


def _rows_of(rows: Rows, kept: np.ndarray, units: np.ndarray) -> np.ndarray:
    """The kept rows of some units."""
    return units if rows.groups is None else kept[np.isin(rows.groups[kept], units)]


def _note_groups(source: Source, kept: np.ndarray, reported: np.ndarray) -> None:
    """Counts the groups that are left out; refuses a validation split where none is left."""
    splits = {"train": (source.train, kept), "validation": (source.validation, reported)}
    for name, (rows, left) in splits.items():
        without = len(_units(rows, np.arange(len(rows.texts)))) - len(_units(rows, left))
        source.notes[f"{name}_groups_left_out"] = without
    if not len(reported):
        raise InputError(
            f"{source.validation.where}: no group has a relevant row (a label above 0), so none "
            "can be scored; correct the labels, or choose another group column"
        )


def _without_leaks(source: Source) -> np.ndarray:
    """Training rows without repeated texts and without texts of the validation split, (N,).

    Of pairs whose texts are read alone, both texts count.
    """

    def parts(text: tuple[str, ...]) -> tuple:
        return text if source.kind.vectors else (text,)

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
    """A hash of texts, tokens, labels, queries, groups and evidence of all splits, in order."""
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
            None if split.evidence is None else np.concatenate(split.evidence),
            None if split.answers is None else np.frombuffer(repr(split.answers).encode(), "u1"),
        ):
            if array is not None:
                digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

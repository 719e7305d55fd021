"""The task of a trial: its data, and the classes of a teacher that is taken as it is."""

from __future__ import annotations

from typing import Any

from lotbench.config.sections import TrialConfig
from lotbench.config.tasks import kind_of
from lotbench.data.sources import read_source
from lotbench.data.task import Task, load_task
from lotbench.engine.config_of_backbone import model_classes
from lotbench.errors import InputError


def task_of(config: TrialConfig, tokenizer: Any) -> Task:
    """The task of a trial; see `read_source` and `load_task`."""
    source = read_source(config.task, config.data, config.data_root, _classes(config))
    return load_task(source, tokenizer, config.seed, config.scored_length, config.share)


def _classes(config: TrialConfig) -> list[str] | None:
    """The classes of a fine-tuned teacher that is given, none of a regression; else None."""
    model, kind = config.teacher.model, kind_of(config.task, config.data)
    if model is None or kind.vectors or kind.spans:
        return None
    classes = model_classes(model)
    if (len(classes) > 1) != kind.classes:
        outputs = "one number" if len(classes) == 1 else f"{len(classes)} classes"
        other = "regression: true" if len(classes) == 1 else "regression: false"
        raise InputError(
            f"tasks.{config.task}: {kind.article}, but teacher.model gives {outputs}; set "
            f"tasks.{config.task}.{other}, or choose another model"
        )
    return classes if kind.classes else []

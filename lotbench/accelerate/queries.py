"""What a faster reranker changes query by query."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lotbench.data.task import Task
from lotbench.scoring.predictions import decode
from lotbench.scoring.scores import contributions
from lotbench.scoring.values import known
from lotbench.store.rows import Evaluation, Trial

if TYPE_CHECKING:
    import pandas as pd


def by_query(task: Task, trial: Trial, chosen: Evaluation) -> pd.DataFrame:
    """The queries of the validation split, those that lose most first.

    The columns are the query, its passages, their tokens in the mean, what dense and the faster
    model add to the score in ``torch-fp32``, and the change.  ``chosen`` is any evaluation of the
    model.
    """
    import pandas as pd

    split, metric = task.validation, task.metrics[0]
    _, first, numbers, sizes = np.unique(
        known(split.groups), return_index=True, return_inverse=True, return_counts=True
    )
    (own,) = (
        each
        for each in trial.evaluations
        if (each.split, each.target, each.budget) == ("validation", chosen.target, chosen.budget)
    )
    teacher = known(known(trial.teacher).predictions)["validation"]
    dense, faster = (
        contributions(metric, decode(answers)[None])[0]
        for answers in (teacher, own.made_of(metric))
    )
    frame = pd.DataFrame(
        {
            "query": [split.texts[row][0] for row in first],
            "passages": sizes,
            "tokens": (np.bincount(numbers, split.lengths) / sizes).round(1),
            f"{metric} dense": dense.round(4),
            f"{metric} faster": faster.round(4),
            "change": (faster - dense).round(4),
        }
    )
    return frame.sort_values("change", kind="stable")

"""The sentence that comes before all others where the teacher has learned nothing."""

from __future__ import annotations

import math

import numpy as np

from lotbench.report.text import score, score_with_interval, unit_of
from lotbench.scoring.metrics import CLASSIFICATION, compute_metrics
from lotbench.scoring.predictions import decode
from lotbench.statistics.bootstrap import estimate
from lotbench.statistics.store_view import StoreView


def nothing_learned(task: str, study: StoreView) -> str | None:
    """A warning if the reference is not above what one answer for all texts gives; else None.

    Rankings have none, since their rows do not say which order chance gives, and neither do
    embeddings, whose teacher is not trained.
    """
    reference, rows = study.references.get(task), study.rows.get(task, [])
    stored = next((row.labels for row in rows if row.split == "validation" and row.labels), None)
    if reference is None or stored is None or unit_of(study.runs_on(task)) != "texts":
        return None
    metric, labels = rows[0].metric, decode(stored)
    answers = np.unique(labels)
    if len(answers) < 2:
        return None
    level, what = 0.0, "one answer for all texts"  # of correlations
    if metric in CLASSIFICATION:
        answered = [compute_metrics([metric], np.full_like(labels, own), labels) for own in answers]
        level, what = max(own[metric] for own in answered), "one class for all texts"
    reached = estimate(reference.drawn.score("validation"))
    if (reached.value if math.isnan(reached.low) else reached.low) > level:
        return None
    return (
        f"The teacher has learned nothing: {reference.name} is at "
        f"{score_with_interval(reached, metric)}, and {what} gives {score(level, metric)}; train "
        "it with more epochs or texts, since nothing below can tell methods apart."
    )

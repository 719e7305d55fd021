"""The table of all scored models of a task."""

from __future__ import annotations

import math

from lotbench.report import text
from lotbench.report.looks import order
from lotbench.report.tables.clock import model_name
from lotbench.report.tables.render import Table
from lotbench.report.text import NONE, TIMES
from lotbench.statistics.scored import Scored, on_front
from lotbench.statistics.store_view import StoreView


def all_models(task: str, study: StoreView) -> Table:
    """All models of a task by method and FLOPs speed-up; a star marks each method's front."""
    models, reference = study.validated(task), study.references.get(task)
    metric = models[0].metric
    against = f"vs {reference.name if reference else 'dense'}"
    columns = ["method", "setting", "seeds", metric, against, "kept", f"FLOPs {TIMES}"]
    groups = []
    for method in order(own.method for own in models):
        ours = sorted(
            (own for own in models if own.method == method), key=lambda own: own.flops.value
        )
        best = on_front(ours, method)
        groups.append([_row(own, own in best) for own in ours])
    unit = text.unit_of(study.runs_on(task))
    shown = text.reference(reference, metric) if reference else "dense without a score"
    notes = [
        "* on the method's front of score against FLOPs speed-up",
        f"scores: mean over seeds (95% interval over {unit} and seeds)",
    ]
    return Table(f"{task}, all models, {shown}", columns, groups, notes, texts=2)


def _row(own: Scored, starred: bool) -> list[str]:
    gain = own.gain.value
    return [
        f"{own.method} *" if starred else own.method,
        model_name(own),
        str(own.seeds),
        NONE if math.isnan(own.score.value) else text.score_with_interval(own.score, own.metric),
        NONE if math.isnan(gain) else text.signed(gain),
        f"{100 * own.keep_ratio:.0f}%",
        text.speedup(own.flops.value),
    ]

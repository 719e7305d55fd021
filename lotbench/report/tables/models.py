"""The table of all models of a task, which a page and a CSV file have."""

from __future__ import annotations

import math

from lotbench.report import text
from lotbench.report.looks import order
from lotbench.report.tables import clock
from lotbench.report.tables.render import Table
from lotbench.report.text import NONE, TIMES
from lotbench.statistics.bootstrap import estimate
from lotbench.statistics.scored import Scored, on_front, wheres
from lotbench.statistics.store_view import StoreView

EVIDENCE = (
    "kept: tokens that layers compute, mean over the layers; evidence kept: the same of the tokens "
    "of the evidence, mean over the texts that have any"
)


def models(task: str, study: StoreView) -> Table | None:
    """All models of a task with every metric and their speed on the clock; None if there is none.

    They are in the order of method and FLOPs speed-up.
    """
    shown, reference = study.validated(task), study.references.get(task)
    if not shown:
        return None
    metric, every = shown[0].metric, study.metrics[task]
    metrics = list(next(iter(every.values()), [metric]))
    settings = wheres(shown)
    with_evidence = any(own.evidence_kept is not None for own in shown)

    def row(model: Scored, starred: bool) -> list[str]:
        scores = {metric: model.score}
        for name, own in every.get(model.key, {}).items():
            scores[name] = estimate(own.score("validation"))
        known = [name in scores and not math.isnan(scores[name].value) for name in metrics]
        cells = [
            text.score_with_interval(scores[name], name) if there else NONE
            for name, there in zip(metrics, known, strict=True)
        ]
        gain = NONE if math.isnan(model.gain.value) else text.signed(model.gain.value)
        cells += [gain, f"{100 * model.keep_ratio:.0f}%"]
        if with_evidence:
            share = model.evidence_kept
            cells.append(NONE if share is None else f"{100 * share:.0f}%")
        cells.append(text.speedup(model.flops.value))
        name = f"{model.method}{' *' * starred}"
        times = [clock.speed(model, where) for where in settings]
        return [name, clock.model_name(model), str(model.seeds), *cells, *times]

    groups = []
    for method in order(own.method for own in shown):
        ours = sorted(
            (own for own in shown if own.method == method), key=lambda own: own.flops.value
        )
        best = on_front(ours, method)
        groups.append([row(own, own in best) for own in ours])
    against = f"vs {reference.name if reference else 'dense'}"
    columns = ["method", "setting", "seeds", *metrics, against, "kept"]
    columns += [*["evidence kept"] * with_evidence, f"FLOPs {TIMES}"]
    columns += map(text.timing_setting, settings)
    notes = [
        "* on the method's front of score against FLOPs speed-up",
        "scores: mean over seeds (95% interval over "
        f"{text.unit_of(study.runs_on(task))} and seeds)",
        *[text.explained(name) for name in metrics if len(metrics) > 1],
        *[EVIDENCE] * with_evidence,
        *clock.notes(task, study, shown),
    ]
    of = text.reference(reference, metric) if reference else "dense without a score"
    return Table(f"{text.named(task, study)}: all models, {of}", columns, groups, notes, texts=2)

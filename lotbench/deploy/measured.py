"""The measured numbers of one trained model, for its card."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from lotbench.errors import InputError
from lotbench.report.text import listed, unit_of
from lotbench.statistics.bootstrap import estimate
from lotbench.statistics.drawn import draws_by_metric, draws_of
from lotbench.statistics.runs import Row
from lotbench.statistics.store_view import StoreView


def measured(model: Path) -> str:
    """A Markdown table of a model's scores on the validation split, one row per budget.

    Empty if the folder is not the model of a finished trial in a store.
    """
    folder = model.resolve()
    try:
        study = StoreView(folder.parent.parent)
    except InputError:
        return ""
    for run in study.runs:
        stored = study.store.model(run.trial)
        if stored is not None and stored.resolve() == folder:
            return _table([Row(run, x) for x in run.trial.evaluations if x.split == "validation"])
    return ""


def _table(rows: list[Row]) -> str:
    trial, unit = rows[0].run.trial, unit_of([rows[0].run])
    draws = draws_by_metric(rows) or {rows[0].metric: draws_of(rows)}
    lines = [
        f"Trial `{trial.trial_id}`: {listed([*draws])} on the validation split of `{trial.task}` "
        f"with a 95% bootstrap interval over its {unit}, and the FLOPs speed-up over the dense "
        "model. Scored in PyTorch in float32, before the export.",
        "",
        f"| budget | {' | '.join(draws)} | {unit} | FLOPs speed-up |",
        f"| --- | {'--- | ' * len(draws)}--- | --- |",
    ]
    for row in rows:
        evaluation = row.evaluation
        scores = " | ".join(_score(of_metric[row]) for of_metric in draws.values())
        numbers = f"{evaluation.examples} | {evaluation.flops_speedup:.2f}x"
        lines.append(f"| {evaluation.budget or 'none'} | {scores} | {numbers} |")
    return "\n".join(lines)


def _score(draws: np.ndarray) -> str:
    value, low, high = estimate(draws)
    return "undefined" if math.isnan(value) else f"{value:.4f} ({low:.4f} to {high:.4f})"

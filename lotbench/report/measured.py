"""The measured numbers of one trained model, for its card."""

from __future__ import annotations

from pathlib import Path

from lotbench.report import bootstrap
from lotbench.store.answers import answers
from lotbench.store.records import Evaluation, Trial
from lotbench.store.store import Store


def measured(model: Path) -> str:
    """A Markdown table of a model's scores on the validation split, one row per budget.

    Empty if the folder is not the model of a finished trial in a store.
    """
    folder = model.resolve()
    store = Store(folder.parent.parent)
    found = [
        trial for trial in store.trials() if (own := store.model(trial)) and own.resolve() == folder
    ]
    if not found:
        return ""
    (trial,) = found
    rows = [
        _row(store.folder, trial, own) for own in trial.evaluations if own.split == "validation"
    ]
    head = [
        f"Trial `{trial.trial_id}`: {trial.metric} on the validation split of `{trial.task}` with "
        "a 95% bootstrap interval over its texts, and the FLOPs speed-up over the dense model. "
        "Scored in PyTorch in float32, before the export.",
        "",
        f"| budget | {trial.metric} | texts | FLOPs speed-up |",
        "| --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *rows])


def _row(folder: Path, trial: Trial, own: Evaluation) -> str:
    budget = str(own.budget or "")
    assert trial.metric is not None, "the trial is done"
    value = own.metrics.get(trial.metric)
    score = "undefined" if value is None else f"{value:.4f}"
    given = answers(folder).get((trial.trial_id, own.split, budget))
    if given is not None and value is not None:
        draws = bootstrap.weights(len(given.labels))
        found = bootstrap.scores(trial.metric, given.predictions[None], given.labels, draws)
        low, high = bootstrap.estimate(found[0])[1:]
        score += f" ({low:.4f} to {high:.4f})"
    speed = "unknown" if own.flops_speedup is None else f"{own.flops_speedup:.2f}x"
    return f"| {budget or 'none'} | {score} | {own.examples or 'unknown'} | {speed} |"

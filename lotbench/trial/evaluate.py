"""Metrics, FLOPs and keep ratios of a model on a split, on the packed path in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from statistics import fmean
from typing import Any, Literal

import numpy as np
import torch

from lotbench.budget import Budget
from lotbench.data.batches import batches, collate
from lotbench.data.task import Task
from lotbench.data.tokens import Split, with_queries
from lotbench.decision import Trace
from lotbench.engine.encoder import ReducedEncoder
from lotbench.measure.flops import dense_flops, reduced_flops
from lotbench.scoring.metrics import classes_of
from lotbench.scoring.predictions import encode
from lotbench.store.rows import Evaluation, Unreached
from lotbench.trial.progress import post
from lotbench.trial.targets import find_budgets

BATCH_SIZE = 32
SplitName = Literal["validation", "selection"]
SPLITS: tuple[SplitName, ...] = ("validation", "selection")
SEARCH_TEXTS = 128
"""A search counts FLOPs some thirty times, and 128 texts give them to about two hundredths."""


def evaluate(
    encoder: ReducedEncoder, task: Task, split: SplitName, target: float | None = None
) -> Evaluation:
    """Metrics, FLOPs (per example) and per-layer ratios of one model at its current budget.

    Ratios are over all tokens of the split: tokens computed, keys seen and tokens in the
    feed-forward, each against the tokens of the texts.  The share of the evidence that is kept is
    a mean over the texts that have any.  ``target`` is the FLOPs speed-up that the
    budget was searched for.
    """
    texts: Split = getattr(task, split)
    counts = _Counts(encoder)
    outputs = counts.outputs(texts)
    queries = counts.outputs(texts.queries) if task.reduces_queries and texts.queries else None
    for own in (outputs, queries):
        check_finite(own, "the trained model's")
    answers = task.kind.score(task.metrics, texts, outputs, queries)
    stored: dict[str, Any] = {
        metric: encode(values, classes_of(metric, task.n_labels))
        for metric, values in answers.values.items()
    }
    predicted = stored.pop(task.metrics[0])
    optional: dict[str, Any] = {"target": target, "answers": stored or None}
    optional["spans"] = task.kind.answered(texts, outputs)
    optional["evidence_kept"] = fmean(counts.evidence) if counts.evidence else None
    optional = {key: value for key, value in optional.items() if value is not None}
    name = encoder.reducer.budget_name
    value = encoder.reducer.budget if name else None  # of some methods a list with one per layer
    return Evaluation(
        budget=Budget(name, value) if name and isinstance(value, int | float) else None,
        split=split,
        **optional,
        examples=len(predicted),
        metrics={**answers.metrics},
        flops=counts.flops / counts.texts,
        dense_flops=counts.dense / counts.texts,
        flops_speedup=counts.dense / counts.flops,
        keep_ratio=counts.ratio("queries"),
        key_ratio=counts.ratio("keys"),
        ffn_ratio=counts.ratio("feed_forward"),
        predictions=predicted,
    )


class _Counts:
    """Counts of what a model computes, over the splits that it is run on."""

    def __init__(self, encoder: ReducedEncoder) -> None:
        self.encoder = encoder
        self.flops = self.dense = 0.0
        self.texts = self.tokens = 0
        self.evidence: list[float] = []
        n_layers = len(encoder.backbone.layers)
        self.totals = {name: np.zeros(n_layers) for name in ("queries", "keys", "feed_forward")}

    @torch.inference_mode()
    def outputs(self, split: Split) -> np.ndarray:
        """Outputs of a split in evaluation mode, float64; see `shape_of`."""
        encoder, device = self.encoder.eval(), next(self.encoder.parameters()).device
        backbone = encoder.backbone
        found = np.full(shape_of(split, backbone.outputs, backbone.spans), -np.inf)
        for rows in batches(split, BATCH_SIZE, seed=None):
            batch = collate(split, rows).to(device)
            batch.teacher_logits = None  # of the texts that it is scored on, a method has none
            outputs = encoder(batch)
            logits = outputs.logits.double().cpu().numpy()
            found[rows, ..., : logits.shape[-1]] = logits
            reduced = reduced_flops(outputs.trace, encoder.backbone, encoder.reducer)
            self.flops += float(reduced.sum())
            self.dense += float(dense_flops(batch.layout.lengths, encoder.backbone).sum())
            for name, total in self.totals.items():
                if counts := getattr(outputs.trace, name):
                    total[: len(counts)] += torch.stack(counts).sum(1).cpu().numpy()
            if split.evidence is not None:
                marks = [split.evidence[row] for row in rows]
                self.evidence += evidence_kept(outputs.trace, marks, len(encoder.backbone.layers))
        self.texts += len(split)
        self.tokens += int(split.lengths.sum())
        return found

    def ratio(self, name: str) -> list[float]:
        """The tokens of one kind over all tokens, by layer."""
        return (self.totals[name] / self.tokens).tolist()


def shape_of(split: Split, width: int, spans: bool) -> tuple[int, ...]:
    """The shape of the outputs of N texts: logits (N, C), vectors (N, D), or, of spans, (N, 2, L).

    L is the longest text.
    """
    return (len(split), width, int(split.lengths.max())) if spans else (len(split), width)


def evidence_kept(trace: Trace, marks: Sequence[np.ndarray], n_layers: int) -> list[float]:
    """The share of the evidence that layers compute, of each text of a batch that has any.

    ``marks`` (T,) bool are true for the evidence tokens of a text.  A token that 3 of 6 layers
    compute counts as a half.
    """
    layers = np.zeros(sum(map(len, marks)))
    for rows in trace.computed:
        layers[rows.cpu().numpy()] += 1
    own = np.split(layers / n_layers, np.cumsum([*map(len, marks)])[:-1])
    return [float(text[mark].mean()) for text, mark in zip(own, marks, strict=True) if mark.any()]


def check_finite(outputs: np.ndarray | None, whose: str) -> None:
    """Refuses outputs of which one is not finite: no score of them means anything.

    Those of spans, (N, 2, L), are -inf for tokens that are no answer.
    """
    if outputs is None:
        return
    sound = np.isfinite(outputs) | ((outputs == -np.inf) & (outputs.ndim == 3))
    if not sound.all():
        broken = int((~sound).reshape(len(outputs), -1).any(1).sum())
        raise FloatingPointError(
            f"{whose} outputs are not finite for {broken} of {len(outputs)} texts"
        )


def flops_speedup(encoder: ReducedEncoder, texts: Split) -> float:
    """Dense FLOPs over FLOPs at the current budget, both summed over the texts."""
    counts = _Counts(encoder)
    counts.outputs(texts)
    return counts.dense / counts.flops


def scorer(encoder: ReducedEncoder, task: Task, texts: int) -> Callable[[], tuple[float, float]]:
    """A function that gives the model's main score on the selection split and FLOPs per text.

    It scores at most so many texts, but the whole split where a score depends on other texts.
    """
    size = len(task.selection)
    if task.kind.by_row and texts < size:
        rows = np.linspace(0, size - 1, texts).round().astype(int)
        task = replace(task, selection=task.selection.at(rows))
    calls = count(1)

    def scored() -> tuple[float, float]:
        number = next(calls)
        post("search on selection", number, number)
        found = evaluate(encoder, task, "selection")
        main = found.metrics[task.metrics[0]]
        return float("-inf") if main is None else main, found.flops

    return scored


def score(
    encoder: ReducedEncoder, task: Task, budgets: Sequence[float], targets: Sequence[float]
) -> tuple[list[Evaluation], list[Unreached] | None]:
    """Evaluations of a trained model on validation and selection, and the targets without one.

    It is scored at the budgets of the targets (FLOPs speed-ups), which are searched.  A model that
    ends before a target is also scored at its end, and one whose trained budget is no number also
    at that.  Without targets it is scored at the given budgets, or at the trained one, and the
    second result is None.
    """
    # Budgets, and the targets that they are for.
    chosen: list[tuple[float | None, float | None]] = [(own, None) for own in budgets or [None]]
    unreached = None
    if targets:
        # All texts of the selection split, or some of evenly spread length.
        texts = with_queries(task.selection) if task.reduces_queries else task.selection
        order = np.argsort(texts.lengths, kind="stable")
        count = min(len(order), SEARCH_TEXTS)
        texts = texts.at(order[np.linspace(0, len(order) - 1, count).round().astype(int)])
        speedup = partial(flops_speedup, encoder, texts)
        found, missed, fastest = find_budgets(encoder.reducer, targets, speedup)
        unreached = [Unreached(target=target, nearest=near) for target, near in missed.items()]
        chosen = [(budget, target) for target, budget in found.items()]
        if fastest is not None:
            chosen.append((fastest, None))
        if not isinstance(encoder.reducer.budget, int | float):
            chosen.append((None, None))  # one number for each layer, which no target gives
    evaluations = []
    for number, (budget, target) in enumerate(chosen):
        post("evaluate", number, len(chosen))
        with encoder.reducer.at_budget(budget):
            evaluations += [evaluate(encoder, task, split, target) for split in SPLITS]
    return evaluations, unreached

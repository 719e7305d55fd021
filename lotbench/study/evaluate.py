"""Metrics, FLOPs and keep ratios of a model on a split, on the packed path in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lotbench.data.batches import batches, collate
from lotbench.data.metrics import compute_metrics
from lotbench.data.task import Task
from lotbench.data.tokens import Split
from lotbench.engine.encoder import ReducedEncoder
from lotbench.measure.flops import dense_flops, reduced_flops
from lotbench.study.progress import report

BATCH_SIZE = 32


def evaluate(encoder: ReducedEncoder, split: Split, metrics: Sequence[str]) -> dict[str, Any]:
    """Metrics, FLOPs (per example) and per-layer ratios of one model at its current budget.

    Ratios are over all tokens of the split: tokens computed, keys seen and tokens in the
    feed-forward, each against the tokens of the texts.

    Raises
    ------
    FloatingPointError
        If a logit is not finite: the metrics and FLOPs of such a model mean nothing.
    """
    device = next(encoder.parameters()).device
    encoder.eval()
    n_layers = len(encoder.backbone.layers)
    logits = np.zeros((len(split), encoder.backbone.n_labels), dtype=np.float64)
    flops = dense = tokens = 0.0
    totals = {name: np.zeros(n_layers) for name in ("queries", "keys", "feed_forward")}
    with torch.inference_mode():
        for rows in batches(split, BATCH_SIZE, seed=None):
            batch = collate(split, rows).to(device)
            outputs = encoder(batch)
            logits[rows] = outputs.logits.double().cpu().numpy()
            trace = outputs.trace
            flops += float(reduced_flops(trace, encoder.backbone, encoder.reducer).sum())
            dense += float(dense_flops(batch.layout.lengths, encoder.backbone).sum())
            tokens += batch.layout.total
            for name, total in totals.items():
                counts = torch.stack(getattr(trace, name)).sum(1).cpu().numpy()
                total[: len(counts)] += counts
    broken = int((~np.isfinite(logits)).any(1).sum())
    if broken:
        raise FloatingPointError(
            f"the trained model's logits are not finite for {broken} of {len(split)} texts"
        )
    return {
        "examples": len(split),
        "metrics": compute_metrics(metrics, logits, split.labels),
        "flops": flops / len(split),
        "dense_flops": dense / len(split),
        "flops_speedup": dense / flops,
        "keep_ratio": (totals["queries"] / tokens).tolist(),
        "key_ratio": (totals["keys"] / tokens).tolist(),
        "ffn_ratio": (totals["feed_forward"] / tokens).tolist(),
    }


def evaluate_budgets(
    encoder: ReducedEncoder, task: Task, budgets: Sequence[float]
) -> list[dict[str, Any]]:
    """Evaluations on validation and selection at each budget; by default at the trained one."""
    rows = []
    reducer = encoder.reducer
    values = budgets or [None]
    for number, value in enumerate(values):
        report("evaluate", number, len(values))
        with reducer.at_budget(value):
            budget = {reducer.budget_name: reducer.budget} if reducer.budget_name else {}
            for split in ("validation", "selection"):
                found = evaluate(encoder, getattr(task, split), task.metrics)
                rows.append({"budget": budget, "split": split, **found})
    return rows

"""Fates and confidences of tokens, from the trace of a forward pass."""

from __future__ import annotations

import numpy as np
import torch

from lotbench.decision import Event, Leap, Merge, Trace
from lotbench.inspection.route import Fate


def fates(trace: Trace, n_tokens: int, layers: int) -> np.ndarray:
    """A `Fate` for every layer and token of a batch, shape (layers, n_tokens)."""
    table = np.full((layers, n_tokens), Fate.REMOVED)
    present = np.arange(n_tokens)
    points = {(event.layer, event.point): event for event in trace.events}
    early = points.get((-1, "before_embedding"))
    if early is not None:
        present = np.setdiff1d(present, _left_out(early))
    for layer in range(len(trace.queries)):
        before = points.get((layer, "before_layer"))
        table[layer, present] = Fate.PROCESSED
        if before is not None:
            leaps = isinstance(before.decision, Leap)
            table[layer, _left_out(before)] = Fate.LEAPT if leaps else Fate.REMOVED
            present = present if leaps else np.setdiff1d(present, _left_out(before))
            if isinstance(before.decision, Merge):
                table[layer:, _left_out(before)] = Fate.MERGED
        after = points.get((layer, "after_attention"))
        if after is not None:
            table[layer, _left_out(after)] = Fate.ATTENTION
            present = np.setdiff1d(present, _left_out(after))  # what leapt before it stays
            if isinstance(after.decision, Merge):
                table[layer + 1 :, _left_out(after)] = Fate.MERGED
    if early is not None and isinstance(early.decision, Leap):
        table[: len(trace.queries), _left_out(early)] = Fate.LEAPT
    return table


def confidence(trace: Trace, n_tokens: int, layers: int) -> np.ndarray:
    """The routers' probability to process a token, (layers, n_tokens); NaN where none decides.

    A router's logits (T, 2) are in the ``aux`` of its decision, or (T,) for a single logit.
    """
    table = np.full((layers, n_tokens), np.nan)
    for event in trace.decisions("before_embedding") + trace.decisions():
        logits = event.decision.aux.get("logits")
        if isinstance(logits, torch.Tensor):
            margin = logits if logits.ndim == 1 else logits[:, 1] - logits[:, 0]
            layer, rows = max(0, event.layer), event.rows.cpu().numpy()
            table[layer, rows] = margin.float().sigmoid().cpu().numpy()
    return table


def _left_out(event: Event) -> np.ndarray:
    return event.rows[~event.decision.keep].cpu().numpy()

"""Losses that trainer and methods share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAST = -1e4
"""Stands for the logit -inf of a token that is no answer, so that every loss has a gradient."""
GONE = 16.0
"""Loss of a start or end whose token was dropped: as if its probability were 1e-7."""


def task_loss(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy of ``(B, C)`` logits if labels (B,) are int, mean squared error if float.

    Float labels (B, D) are the dense model's vectors: the loss is 1 minus the cosine.  Int labels
    (B, 2) are the first and last token of an answer, of which logits (B, 2, L) are those of each
    token: the loss is the mean of both cross-entropies, with `GONE` for a token that is no more.
    ``reduction="none"`` gives one loss per example, shape (B,).
    """
    if logits.dim() == 3:
        there = logits.float().clamp(min=LEAST).flatten(0, 1)
        off = nn.functional.cross_entropy(there, labels.flatten(), reduction="none")
        gone = there.gather(1, labels.view(-1, 1)).squeeze(1) == LEAST
        off = torch.where(gone, GONE, off).view(-1, 2).mean(1)
        return off.mean() if reduction == "mean" else off
    if labels.dim() == 2:
        off = 1 - nn.functional.cosine_similarity(logits.float(), labels.float())
        return off.mean() if reduction == "mean" else off
    if labels.is_floating_point():
        return nn.functional.mse_loss(logits.squeeze(-1).float(), labels, reduction=reduction)
    return nn.functional.cross_entropy(logits.float(), labels, reduction=reduction)


def distillation_loss(logits: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence of ``(B, C)`` logits from the teacher's, in float32, mean over examples.

    With a single logit (regression), it is the mean squared distance.  With logits (B, 2, L) it is
    the mean of starts and ends, over the tokens that are there; the teacher may have more of them.
    """
    if logits.dim() == 3:
        teacher = teacher[..., : logits.shape[2]].masked_fill(logits == -torch.inf, LEAST)
        logits, teacher = (own.clamp(min=LEAST).flatten(0, 1) for own in (logits, teacher))
    if logits.shape[1] == 1:
        return nn.functional.mse_loss(logits.float(), teacher.float())
    student, teacher = logits.float().log_softmax(-1), teacher.float().log_softmax(-1)
    return nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)

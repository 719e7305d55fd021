"""Losses that trainer and methods share."""

from __future__ import annotations

from torch import Tensor, nn


def task_loss(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy of ``(B, C)`` logits if labels (B,) are int, mean squared error if float.

    Labels (B, D) are the dense model's vectors: the loss is 1 minus the cosine.
    ``reduction="none"`` gives one loss per example, shape (B,).
    """
    if labels.dim() == 2:
        off = 1 - nn.functional.cosine_similarity(logits.float(), labels.float())
        return off.mean() if reduction == "mean" else off
    if labels.is_floating_point():
        return nn.functional.mse_loss(logits.squeeze(-1).float(), labels, reduction=reduction)
    return nn.functional.cross_entropy(logits.float(), labels, reduction=reduction)


def distillation_loss(logits: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence of ``(B, C)`` logits from the teacher's, in float32, mean over examples.

    With a single logit (regression), it is the mean squared distance.
    """
    if logits.shape[1] == 1:
        return nn.functional.mse_loss(logits.float(), teacher.float())
    student, teacher = logits.float().log_softmax(-1), teacher.float().log_softmax(-1)
    return nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)

"""Gradient saliency of a split against training's plain backward pass on the same batches.

Saliency needs no gradients of weights, so it should be the faster of the two.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from lotbench.data.batches import batches, collate
from lotbench.data.tokens import Split
from lotbench.engine.encoder import ReducedEncoder
from lotbench.losses import task_loss
from lotbench.reducer import Params, TokenReducer
from lotbench.trial.evaluate import BATCH_SIZE
from lotbench.trial.saliency import gradient_saliency
from lotbench.trial.training import resolve_precision

RATIO = "plain backward / saliency"
TEXTS = 96


def test_saliency_is_cheaper_than_a_backward_pass(fresh_backbone, rotten_tomatoes, compare):
    backbone = fresh_backbone()
    teacher = ReducedEncoder(
        backbone, TokenReducer(Params(), len(backbone.layers), backbone.width)
    ).eval()
    split = first_rows(rotten_tomatoes, TEXTS)
    bf16 = resolve_precision("auto", torch.device("cpu")) == "bf16"

    def plain() -> None:
        for rows in batches(split, BATCH_SIZE, seed=None):
            batch = collate(split, rows)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = task_loss(teacher(batch).logits, batch.labels)
            loss.backward()
            teacher.zero_grad(set_to_none=True)

    def saliency() -> None:
        gradient_saliency(teacher, split)

    compare(f"{TEXTS} reviews", [plain], [saliency], target=1.0, training=True)


def first_rows(split: Split, count: int) -> Split:
    return replace(split, **{name: value[:count] for name, value in vars(split).items()})

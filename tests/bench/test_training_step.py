"""One training step of the packed dense model against the padded Hugging Face model.

Both with the trainer's precision, loss, clipping and AdamW, from rows of token ids to the updated
weights.  The padded batch has a mask and is as wide as its longest text.  Attention probabilities
are dropped out in neither: the engine never does it, and it would slow the padded model down.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lotbench.config.sections import CLIP, TrainConfig
from lotbench.data.batches import batches, collate
from lotbench.data.tokens import Split
from lotbench.engine.encoder import ReducedEncoder
from lotbench.losses import task_loss
from lotbench.measure.calls import padded_inputs
from lotbench.reducer import Params, TokenReducer
from lotbench.trial.training import resolve_precision

RATIO = "padded step / packed step"
BATCH = 32


def bucketed(split: Split) -> list[np.ndarray]:
    """Four batches as the trainer makes them, of texts of like length."""
    return batches(split, BATCH, seed=0)[:4]


def mixed(split: Split) -> list[np.ndarray]:
    """One batch of texts of any length."""
    return [np.random.default_rng(0).permutation(len(split))[:BATCH]]


@pytest.mark.parametrize(
    ("task", "draw", "rounds", "target"),
    [("rotten_tomatoes", bucketed, 9, 1.0), ("imdb", mixed, 5, 1.2)],
)
def test_packed_step_is_faster(request, fresh_backbone, compare, task, draw, rounds, target):
    split = request.getfixturevalue(task)
    backbone, model = fresh_backbone(), fresh_backbone().model
    encoder = ReducedEncoder(
        backbone, TokenReducer(Params(), len(backbone.layers), backbone.width)
    ).train()
    model.train()
    for layer in model.bert.encoder.layer:
        layer.attention.self.dropout.p = 0.0

    def packed_loss(rows: np.ndarray) -> Tensor:
        batch = collate(split, rows)
        return task_loss(encoder(batch).logits, batch.labels)

    def padded_loss(rows: np.ndarray) -> Tensor:
        ids, types = ([each[i] for i in rows] for each in (split.input_ids, split.token_type_ids))
        inputs = padded_inputs(model.config, model.device, ids, types, [0] * len(rows))
        return task_loss(model(**inputs).logits, torch.from_numpy(split.labels[rows]))

    drawn = draw(split)
    padded, packed = (
        [lambda rows=rows, step=step: step(rows) for rows in drawn]
        for step in (training_step(model, padded_loss), training_step(encoder, packed_loss))
    )
    label = f"{task}, {draw.__name__} batches of {BATCH}"
    compare(label, padded, packed, rounds, target, training=True)


def training_step(
    model: nn.Module, loss_of: Callable[[np.ndarray], Tensor]
) -> Callable[[np.ndarray], None]:
    """A function that takes one optimisation step on a batch of rows."""
    config = TrainConfig()
    optimiser = torch.optim.AdamW(
        model.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    bf16 = resolve_precision("auto", torch.device("cpu")) == "bf16"

    def step(rows: np.ndarray) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = loss_of(rows)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step

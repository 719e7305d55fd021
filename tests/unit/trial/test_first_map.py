"""Vectors in a trial: their loss, the first map of the pooling, and saliency."""

from typing import Any

import numpy as np
import pytest
import torch
from splits import split_of
from tiny_models import random_model

from lotbench.conformance.tiny import WIDTH, pooled_backbone
from lotbench.data.batches import collate
from lotbench.data.task import Task
from lotbench.data.tokens import Split
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.pooling import Pooling
from lotbench.kinds.embedding import EMBEDDING
from lotbench.losses import task_loss
from lotbench.reducer import Params, TokenReducer
from lotbench.trial.saliency import gradient_saliency
from lotbench.trial.teacher import Artefacts, embeddings_to_states, teacher_outputs


def teacher() -> ReducedEncoder:
    return ReducedEncoder(pooled_backbone(2), TokenReducer(Params(), 2, WIDTH)).eval()


def split() -> Split:
    rng = np.random.default_rng(0)
    ids = [[1, *rng.integers(4, 60, size).tolist(), 2] for size in rng.integers(3, 12, 40)]
    return split_of(ids)


def test_a_method_that_needs_logits_gets_the_vectors():
    data = split()
    data.dense = np.arange(40.0 * WIDTH, dtype=np.float32).reshape(40, WIDTH)
    config: Any = None
    task = Task("t", 0, EMBEDDING, ("cosine",), data, data, data, "f")
    batch = collate(Artefacts(config, task, None).trained(frozenset({"teacher_logits"})), [3, 1])
    assert batch.teacher_logits is not None
    assert batch.teacher_logits.tolist() == data.dense[[3, 1]].tolist()


def test_the_loss_of_vectors_is_one_minus_the_cosine():
    """Cosines 1, 0 and -1: losses 0, 1 and 2."""
    own, dense = torch.tensor([[2.0, 0.0]] * 3), torch.tensor([[1.0, 0.0], [0.0, 3.0], [-4.0, 0.0]])
    assert task_loss(own, dense, reduction="none").tolist() == [0, 1, 2]
    assert float(task_loss(own, dense)) == 1


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_the_first_map_is_the_best_linear_one(kind):
    """The residuals of least squares are at right angles to what it reads."""
    own, data, last_norm = teacher(), split(), torch.nn.Identity()
    if kind == "modernbert":
        model = random_model(kind, layers=2).model
        last_norm = model.final_norm
        torch.nn.init.normal_(last_norm.bias)
        own.backbone = Backbone(model, Pooling(WIDTH, "mean", normalise=True))
    weight = torch.from_numpy(embeddings_to_states(own, data)).double()
    rows = np.arange(len(data))
    with torch.no_grad():
        outputs = own(collate(data, rows), inputs=True)
        x, y = last_norm(outputs.inputs[0]).double(), outputs.hidden.double()
    off = x.T @ (y - x @ weight.T)
    assert off.abs().max() < 0.01 * (x.T @ y).abs().max()
    assert (y - x @ weight.T).square().sum() < 0.8 * y.square().sum()


def test_saliency_of_a_vector_is_not_zero_and_ignores_its_length():
    """The cosine with its own vector is at its largest, so its gradient would be zero."""
    own, data = teacher(), split()
    data.dense = teacher_outputs(own, data)
    found = gradient_saliency(own, data)
    assert found.shape == (data.lengths.sum(),) and (found > 0).all()
    data.dense = 4 * data.dense  # exact in binary
    assert np.allclose(gradient_saliency(own, data), found, rtol=1e-3)

"""Saliency that methods learn from, and the texts that it is counted on, by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from splits import split_of
from torch import nn

from baselines.static import Static
from lotbench.batch import Batch
from lotbench.config.sections import TrainConfig
from lotbench.data.task import Task
from lotbench.engine.pooling import Pooling
from lotbench.reducer import Outputs, Trace
from lotbench.trial.saliency import gradient_saliency
from lotbench.trial.teacher import Artefacts
from lotbench.trial.training import train


class Lookup(nn.Module):
    """A teacher without layers: its vectors are the means of the embeddings (2 i - 1, 2 i)."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding.from_pretrained(torch.arange(-1.0, 13.0).view(7, 2), freeze=False)
        self.backbone = SimpleNamespace(pooling=Pooling(2, "mean", normalise=False))

    def forward(self, batch: Batch, inputs: bool) -> Outputs:
        states, layout = self.words(batch.input_ids), batch.layout
        vectors = self.backbone.pooling(states, layout)
        return Outputs(vectors, states, layout, layout.rows, Trace(), None, (states,))


def test_the_saliency_of_a_vector_is_along_the_vector_of_its_text():
    """Texts (1, 2), (3, 4) along (1, 0), and (5, 6), (7, 8), (9, 10) along (0, 1).

    The gradient of v . u is u / n for each of n tokens, so saliency is 1/2 and 3/2, and 6/3, 8/3
    and 10/3.
    """
    split = split_of([[1, 2], [3, 4, 5]], dense=np.array([[2, 0], [0, 3]], np.float32))
    teacher: Any = Lookup()
    saliency = gradient_saliency(teacher, split)
    assert saliency.tolist() == pytest.approx([1 / 2, 3 / 2, 6 / 3, 8 / 3, 10 / 3])


def test_static_counts_the_training_texts_alone(reduced, monkeypatch):
    """Saliency 3, 1 and 3 for the words 7, 8 and 9, and 50 for [CLS], which is word 1.

    The training texts have means of 2: their shares are 3/2 and 1/2, and 1/2 and 3/2.
    In the others 7 and 9, or 8 alone, would have 1.
    """
    of_word = np.zeros(10, np.float32)
    of_word[[1, 7, 8, 9]] = 50, 3, 1, 3
    monkeypatch.setattr(
        Artefacts, "_array", lambda self, name, split, *_: of_word[np.concatenate(split.input_ids)]
    )
    texts = [
        split_of(ids, np.zeros(len(ids), int))
        for ids in ([[1, 7, 8], [1, 8, 9]], [[1, 7, 9, 9]], [[1, 8, 8]])
    ]
    task, config = Task("t", 2, "classification", ("accuracy",), *texts, "f"), None
    encoder = reduced(Static, layers=2, shrinkage=0)
    artefacts = Artefacts(config, task, None)  # pyright: ignore[reportArgumentType]
    settings = TrainConfig(epochs=1, distillation=0, batch_size=2, precision="fp32")
    train(encoder, artefacts.trained(encoder.reducer.needs), settings, seed=0)
    assert encoder.reducer.importance[[7, 8, 9]].tolist() == [1.5, 0.5, 1.5]

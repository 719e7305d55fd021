"""Tiny backbones and ragged batches, for the fixtures of tests/conftest.py."""

from __future__ import annotations

import torch

from lotbench.batch import Batch
from lotbench.conformance.tiny import tiny_backbone
from lotbench.engine.backbone import Backbone


def make_tiny(num_hidden_layers: int = 3, **changes: int | float) -> Backbone:
    return tiny_backbone(num_hidden_layers, **changes).double().eval()


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

"""Tiny models with random weights, saved as a sweep saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lotbench import registry
from lotbench.conformance.tiny import WIDTH, tiny_backbone
from lotbench.engine import checkpoint
from lotbench.engine.encoder import ReducedEncoder


class NoTokenizer:
    """Saves nothing, since the tests give token ids."""

    def save_pretrained(self, folder: Path) -> None:
        pass


def tiny_encoder(method: str, layers: int = 2, **params: Any) -> ReducedEncoder:
    """A tiny BERT with two classes and a method; the same weights every time."""
    torch.manual_seed(0)
    cls = registry.get(method)
    backbone = tiny_backbone(layers, num_labels=2)
    return ReducedEncoder(backbone, cls(cls.Params(**params), layers, WIDTH)).eval()


def save(folder: Path, encoder: ReducedEncoder) -> None:
    """Saves a tiny encoder as a model."""
    checkpoint.save(folder, encoder, NoTokenizer(), [], 32)

"""How long timing passes take, roughly: dense is timed on one batch, and FLOPs give the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import torch

from lotbench.backends import BY_NAME, TORCH
from lotbench.config.sections import MeasureConfig
from lotbench.engine.loading import random_backbone
from lotbench.measure.calls import packed_dense, padded
from lotbench.measure.devices import occupy, timer_for
from lotbench.measure.protocol import DENSE_NAME, rounds_of_processes
from lotbench.measure.spec import DeviceSetting, Example
from lotbench.trial.progress import rough

LENGTH, TEXTS = 64, 8
"""Tokens of a text, and texts of the batch that dense is timed on."""


def pass_texts(
    config: MeasureConfig,
    names: Sequence[str],
    speedups: Iterable[float],
    texts: int,
    passes: int = 1,
) -> float:
    """How many texts dense could process while a pass runs, or several that share the models.

    A model of a FLOPs speed-up counts in one backend, dense in all.  With other backends than
    ``torch-fp32``, whose scores the rows have, models are scored on so many ``texts``.
    """
    dense = passes * (len(names) + 2)  # packed, and again for the noise floor
    contenders = dense + sum(1 / speedup for speedup in speedups)
    rounds = config.rounds + 2 * len(rounds_of_processes(config.rounds))  # with those of warm-up
    timed = rounds * config.examples * len(config.batch_sizes)
    return contenders * (timed + texts * ([*names] != [TORCH]))


@cache
def dense_rate(name: str, layers: int | None, setting: DeviceSetting) -> float:
    """FLOPs of dense in float32 in a second, in a batch after one that warms up."""
    before, device = torch.get_num_threads(), occupy(setting)
    dense = padded(packed_dense(random_backbone(name, 2, layers)).to(device))
    batches = [[Example([1] * LENGTH, [0] * LENGTH)] * TEXTS]
    with torch.inference_mode():
        _, seconds = (timer_for(device)(DENSE_NAME, dense.calls(batches)) for _ in range(2))
    torch.set_num_threads(before)
    return dense.flops(batches) / seconds


def in_words(seconds: float, models: int, names: Iterable[str]) -> str:
    """``about 12 min``, and the exports, whose time cannot be known before."""
    exports = any(BY_NAME[name].exported for name in names)
    return f"about {rough(seconds)}" + f", and the export of {models} models" * exports

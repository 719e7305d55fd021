"""What a trial costs: steps of training and a batch of scoring, timed with an untrained model."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import torch

from lotbench import machine
from lotbench.config.sections import FitConfig, TrainConfig
from lotbench.data.tokens import Split
from lotbench.engine.encoder import ReducedEncoder
from lotbench.reducer import Stage
from lotbench.trial.evaluate import flops_speedup, shape_of
from lotbench.trial.progress import listening
from lotbench.trial.training import device, train


@dataclass(frozen=True)
class Cost:
    """Measured seconds."""

    recipe: list[Stage]
    step: float
    """Of a training step, the mean over the stages."""
    text: float
    """To score a text."""
    speedup: float
    """FLOPs speed-up of that."""
    searched: int = 0
    """How often the method's own search asks for a score."""


def clock() -> float:
    """Seconds of this process, so that other work on the machine does not count; or of the wall.

    The latter with several threads or a GPU, where a process waits for others of its own.
    """
    alone = machine.trial_threads() == 1 and device().type == "cpu"
    return time.process_time() if alone else time.perf_counter()


def evenly(split: Split, size: int) -> Split:
    """So many texts, evenly spread over the lengths of a split."""
    order = np.argsort(split.lengths, kind="stable")
    rows = order[np.linspace(0, len(order) - 1, min(size, len(order))).round().astype(int)]
    picked = split.at(rows)
    return picked if split.unlabelled is None else replace(picked, labels=None, unlabelled=None)


def sample(encoder: ReducedEncoder, fit: FitConfig, batch: Split, scored: Split) -> Cost:
    """The cost of a trial with this untrained model, of a batch to train on and one to score.

    Training takes at least one step in each stage, by its share, after a first that warms up.
    """
    recipe = encoder.reducer.stages()
    steps = 1 + math.ceil(1 / min(stage.share for stage in recipe if stage.share))
    changes = {"epochs": steps, "batch_size": len(batch)}
    total = {"steps": "total"} if isinstance(fit, TrainConfig) else {}
    # In the place of what the teacher gives.
    rng, backbone = np.random.default_rng(0), encoder.backbone
    shape = shape_of(batch, backbone.outputs, backbone.spans)
    batch.dense = rng.standard_normal(shape, np.float32)
    batch.saliency = [rng.random(size, np.float32) for size in batch.lengths]
    ends: list[float] = []
    with listening(lambda *_: ends.append(clock())):
        train(encoder, batch, fit.model_copy(update=changes | total), 0)
    flops_speedup(encoder, scored)  # the first is slow
    started = clock()
    speedup = flops_speedup(encoder, scored)
    text = (clock() - started) / len(scored)
    asked = count()
    encoder.reducer.search(lambda: (float(next(asked)), 1.0), torch.Generator())
    # The first end is the start of the first stage.
    return Cost(recipe, (ends[-1] - ends[1]) / (steps - 1), text, speedup, next(asked))

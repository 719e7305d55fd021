"""What a trial costs: a few steps and a few evaluations of an untrained model, timed.

They run side by side in as many processes as trials do, which slow each other.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import count
from multiprocessing import get_context
from typing import Any, TypeVar

import numpy as np
import torch

from lotbench import machine
from lotbench.config.sections import FitConfig, TrainConfig, TrialConfig
from lotbench.data.tokens import Split
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.loading import random_backbone
from lotbench.plan.resolve import resolve
from lotbench.reducer import Params, Stage, TokenReducer
from lotbench.trial.evaluate import flops_speedup
from lotbench.trial.progress import listening, post
from lotbench.trial.targets import find_budgets
from lotbench.trial.training import device, stage_steps, total_steps, train

STEPS = 3
"""Steps of each stage; the first warms up and is not counted."""
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Sample:
    """A trial, or its teacher, and the texts that it is timed on."""

    config: TrialConfig
    teacher: bool
    n_labels: int
    trained: Split
    """One batch."""
    scored: Split


@dataclass(frozen=True)
class Cost:
    """Measured seconds."""

    start: float
    """To start the process and build the model."""
    recipe: list[Stage]
    steps: list[float]
    """Of a training step in each stage."""
    scores: list[tuple[float, float]]
    """FLOPs speed-ups, and the seconds in which a text is scored at each."""
    searched: int = 0
    """How often the method's own search asks for a score."""

    def at_length(self, ratio: float) -> Cost:
        """The cost with texts that are longer by this ratio."""
        scores = [(speedup, seconds * ratio) for speedup, seconds in self.scores]
        return replace(self, steps=[own * ratio for own in self.steps], scores=scores)

    def training(self, examples: int, fit: FitConfig) -> float:
        """Seconds to train on so many texts."""
        counts = stage_steps(self.recipe, total_steps(examples, fit, self.recipe))
        return sum(count * own for (_, count), own in zip(counts, self.steps, strict=True))

    def scoring(self, speedup: float | None = None) -> float:
        """Seconds to score a text at a speed-up, by default at the trained budget.

        In proportion to its FLOPs, on top of what it takes at any speed-up.
        """
        if speedup is None:
            return self.scores[0][1]
        places = sorted((1 / speedup, seconds) for speedup, seconds in self.scores)
        shares, seconds = np.array(places).T
        return float(np.interp(1 / speedup, shares, seconds))


def clock() -> float:
    """Seconds of this process, so that other work on the machine does not count; or of the wall.

    The latter with several threads or a GPU, where a process waits for others of its own.
    """
    alone = machine.trial_threads() == 1 and device().type == "cpu"
    return time.process_time() if alone else time.perf_counter()


def side_by_side() -> int:
    """How many trials run side by side on this machine."""
    return max(1, machine.usable_cores() // machine.trial_threads())


def window(split: Split, count: int) -> Split:
    """So many texts whose lengths are nearest to the mean length, in order of length."""
    lengths = split.lengths
    order = np.argsort(lengths, kind="stable")
    middle = int(np.searchsorted(lengths[order], lengths.mean()))
    first = max(0, min(middle - count // 2, len(split) - count))
    picked = split.at(order[first : first + count])
    return picked if split.unlabelled is None else replace(picked, labels=None, unlabelled=None)


def timed(samples: Mapping[Key, Sample]) -> dict[Key, Cost | str]:
    """The cost of each sample, or in a line what the method's code raises."""
    found: dict[Key, Cost | str] = {}
    if not samples:
        return found
    with ProcessPoolExecutor(
        min(len(samples), side_by_side()), get_context("spawn"), _begin
    ) as pool:
        futures = {pool.submit(_time, sample): key for key, sample in samples.items()}
        for future in as_completed(futures):
            try:
                found[futures[future]] = future.result()
            except BrokenProcessPool as error:
                found[futures[future]] = str(error)
            post("time a few steps of each method", len(found), len(samples))
    return found


_start = 0.0
"""Seconds that this process took to start; a worker of Ray takes as long."""


def _begin() -> None:
    global _start
    torch.set_num_threads(machine.trial_threads())
    _start = time.process_time()


def _time(sample: Sample) -> Cost | str:
    try:
        return _timed(sample)
    except BaseException as error:  # a method may call sys.exit
        return f"{type(error).__name__}: {error}".splitlines()[0]


def _timed(sample: Sample) -> Cost:
    started = clock()
    config = sample.config
    torch.manual_seed(0)
    backbone = random_backbone(config.backbone, sample.n_labels, config.layers)
    method, params, fit, search = TokenReducer, Params(), config.teacher, False
    if not sample.teacher:
        trial = resolve(config)
        method, params, fit = trial.method, trial.params, config.train
        search = bool(trial.targets)
    reducer = method(params, len(backbone.layers), backbone.width)
    encoder = ReducedEncoder(backbone, reducer).to(device())
    start, recipe = _start + clock() - started, reducer.stages()
    steps = _steps(encoder, sample.trained, fit, recipe)
    scores = _scores(encoder, sample.scored, search)
    asked = count()
    reducer.search(lambda: (float(next(asked)), 1.0), torch.Generator())
    return Cost(start, recipe, steps, scores, next(asked))


def _steps(
    encoder: ReducedEncoder, batch: Split, fit: FitConfig, recipe: list[Stage]
) -> list[float]:
    """Seconds of a step in each stage."""
    even = [replace(stage, share=1 / len(recipe)) for stage in recipe]
    encoder.reducer.stages = lambda: even
    changes: dict[str, Any] = {"epochs": STEPS * len(recipe), "batch_size": len(batch)}
    if isinstance(fit, TrainConfig):
        changes["steps"] = "total"
    # In the place of what the teacher gives.
    rng, shape = np.random.default_rng(0), (len(batch), encoder.backbone.outputs)
    batch.dense = rng.standard_normal(shape, np.float32)
    batch.saliency = [rng.random(size, np.float32) for size in batch.lengths]
    moments: list[float] = []
    with listening(lambda *_: moments.append(clock())):
        short = fit.model_copy(update=changes)
        train(encoder, batch, short, 0, getattr(fit, "r_drop", 0.0))
    # One moment at the start of each stage, and one after each of its steps.
    times = np.diff(np.reshape(moments, (len(recipe), STEPS + 1)), axis=1)
    return times[:, 1:].mean(axis=1).tolist()


def _scores(encoder: ReducedEncoder, texts: Split, search: bool) -> list[tuple[float, float]]:
    """Speed-up and seconds per text at the trained budget, or at both ends of its range."""
    found: list[tuple[float, float]] = []

    def observe() -> float:
        started = clock()
        speedup = flops_speedup(encoder, texts)
        found.append((speedup, (clock() - started) / len(texts)))
        return speedup

    observe()
    found.clear()  # it warmed up
    if search:
        find_budgets(encoder.reducer, [], observe)
    else:
        observe()
    return found

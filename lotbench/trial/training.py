"""The training loop: a method's stages on one split, with the same number of steps for all."""

from __future__ import annotations

import itertools
import math
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from lotbench import machine
from lotbench.batch import Batch
from lotbench.config.sections import CLIP, WARM_UP, FitConfig, TrainConfig
from lotbench.data.batches import batches, collate
from lotbench.data.tokens import Split
from lotbench.engine.encoder import ReducedEncoder
from lotbench.errors import InputError
from lotbench.reducer import Stage, Step, TokenReducer
from lotbench.store.rows import StageRecord, Training
from lotbench.trial.budgets import LARGEST, sampler
from lotbench.trial.progress import post

POOLING_MAP = "pooling.map.weight"
NEW_RATE = 2e-3
"""Learning rate of the pooling's map, which is new, and of a head without layers below it, which
has read states so far and now reads embeddings."""

RESERVED_TERMS = {"task", "distillation"}
"""Loss terms that the trainer adds; no method may return one of these names."""


class NonFiniteLoss(Exception):
    """A loss term that is not finite: the trial has failed."""

    def __init__(self, term: str, step: int, stage: str) -> None:
        super().__init__(term, step, stage)  # pickle needs them
        self.term, self.step, self.stage = term, step, stage

    def __str__(self) -> str:
        return f"the {self.term} loss is not finite at step {self.step} of stage {self.stage!r}"


def device() -> torch.device:
    """Where training and scoring run: the first GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resolve_precision(asked: str, device: torch.device) -> str:
    """ "fp32" or "bf16": what ``auto`` means on this hardware."""
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if machine.fast_bf16() else "fp32"


def train(
    encoder: ReducedEncoder, split: Split, config: FitConfig, seed: int, largest: float = LARGEST
) -> Training:
    """Train in place; returns steps, examples, seconds, precision, threads and stage losses.

    If ``config`` asks for distillation, ``split.dense`` must have the teacher's logits.  If it asks
    for sampled budgets, they are drawn for speed-ups up to ``largest``.
    """
    device = next(encoder.parameters()).device
    precision = resolve_precision(config.precision, device)
    torch.manual_seed(seed)
    generator = torch.Generator(device).manual_seed(seed)
    recipe = encoder.reducer.stages()
    total = total_steps(len(split), config, recipe)
    # The task of a sentence vector is the teacher's already.
    distillation = 0.0 if encoder.backbone.pooling else getattr(config, "distillation", 0.0)
    # In another order in every epoch, without end.
    epochs = (batches(split, config.batch_size, own) for own in itertools.count(seed * 10_007))
    stream = itertools.chain.from_iterable(epochs)
    started, examples, done = time.perf_counter(), 0, 0
    with torch.no_grad():
        # Each text once; a batch is made where the method asks for it.
        once = batches(split, config.batch_size, seed=None)
        texts = (collate(split, rows).to(device) for rows in once)
        encoder.reducer.before_training(texts, encoder.backbone.words)
    budgets = sampler(encoder, config, largest, seed)
    stages = []
    for stage, steps in stage_steps(recipe, total):
        encoder.reducer.start_stage(stage)
        optimiser = _optimiser(encoder, stage, config)
        parameters = [own for group in optimiser.param_groups for own in group["params"]]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _linear(steps))
        sums: dict[str, float] = defaultdict(float)
        recent = max(1, steps // 4)
        encoder.train()
        post(stage.name, done, total)
        for i in range(steps):
            rows = next(stream)
            batch = collate(split, rows).to(device)
            autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
            moved = nullcontext() if budgets is None or stage.soft else budgets.step()
            with moved, autocast:
                step = Step(stage, i / steps, generator, distillation)
                terms = losses(encoder, batch, step)
            values = _finite(terms, done, stage.name)
            reduce(torch.add, terms.values()).backward()
            nn.utils.clip_grad_norm_(parameters, CLIP)
            optimiser.step()
            with torch.no_grad():
                encoder.reducer.after_step()
            optimiser.zero_grad(set_to_none=True)
            schedule.step()
            done, examples = done + 1, examples + len(rows)
            if i >= steps - recent:
                for name, value in values.items():
                    sums[name] += value / recent
            post(stage.name, done, total)
        stages.append(StageRecord(name=stage.name, steps=steps, losses=dict(sums)))
    encoder.requires_grad_(True)
    encoder.eval()
    with torch.no_grad():
        encoder.reducer.after_training(encoder.backbone.words)
    return Training(
        steps=done,
        examples=examples,
        seconds=time.perf_counter() - started,
        precision=precision,
        threads=torch.get_num_threads(),
        device=device.type,
        stages=stages,
        budgets=budgets.record() if budgets else None,
    )


def _finite(terms: dict[str, Tensor], step: int, stage: str) -> dict[str, float]:
    """The loss terms as numbers; the first that is not finite ends the trial."""
    values = {name: float(term.detach()) for name, term in terms.items()}
    for name, value in values.items():
        if not math.isfinite(value):
            raise NonFiniteLoss(name, step, stage)
    return values


def total_steps(examples: int, config: FitConfig, stages: list[Stage]) -> int:
    """Optimisation steps of all stages: those of the epochs, or more with ``steps: final``.

    Without epochs there is none.
    """
    steps = config.epochs * math.ceil(examples / config.batch_size)
    if isinstance(config, TrainConfig) and config.steps == "final":
        # Without any share, `stage_steps` complains.
        steps /= next((stage.share for stage in reversed(stages) if stage.share), 1.0)
    return max(1, round(steps)) if steps else 0


def stage_steps(stages: list[Stage], total: int) -> list[tuple[Stage, int]]:
    """Steps of each stage by its share; they sum to ``total`` exactly.

    The shares sum to 1, and if there are steps, each stage with a share gets one.
    """
    shares = [stage.share for stage in stages]
    if not math.isclose(sum(shares), 1.0, rel_tol=1e-6):
        raise ValueError(f"the shares of the stages sum to {sum(shares)}, not to 1")
    ends = [round(total * sum(shares[: i + 1])) for i in range(len(shares))]
    starts = [0, *ends[:-1]]
    steps = [end - start for start, end in zip(starts, ends, strict=True)]
    for stage, count in zip(stages, steps, strict=True):
        if total and stage.share and not count:
            raise InputError(
                f"stage {stage.name!r} gets none of {total} steps, since its share of them is "
                f"{stage.share:g}; train for longer, or give it a larger share"
            )
    return list(zip(stages, steps, strict=True))


def losses(encoder: ReducedEncoder, batch: Batch, step: Step) -> dict[str, Tensor]:
    """The loss terms of one step, scalars to be summed."""
    terms = encoder.reducer.training_step(encoder, batch, step)
    if terms is not None:
        return _checked(terms, encoder.reducer, "training_step")
    outputs = encoder(batch, mode="reference" if step.stage.soft else "packed")
    terms = _checked(encoder.reducer.loss(outputs, batch, outputs.trace), encoder.reducer, "loss")
    for name in RESERVED_TERMS & terms.keys():
        raise ValueError(
            f"method {encoder.reducer.name!r}: loss returns a term {name!r}, which the trainer "
            "adds by itself; give it another name"
        )
    return step.objective(outputs.logits, batch) | terms


def _checked(terms: Any, reducer: TokenReducer, hook: str) -> dict[str, Tensor]:
    """The loss terms that a method returns; others than scalar tensors by name are refused."""
    wrong = type(terms).__name__
    if isinstance(terms, dict):
        fits = {
            n: isinstance(n, str) and isinstance(t, Tensor) and t.numel() == 1
            for n, t in terms.items()
        }
        if all(fits.values()):
            return terms
        wrong = f"something else as {min(fits, key=fits.__getitem__)!r}"
    raise ValueError(
        f"method {reducer.name!r}: {hook} returns {wrong}; a dict of scalar tensors by name is "
        "needed"
    )


def _linear(steps: int) -> Callable[[int], float]:
    """Factor of the learning rate: up over the warm-up, then linearly down to zero."""
    rising = max(1, round(steps * WARM_UP))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return max(0.0, (steps - step) / max(1, steps - rising))

    return factor


def _optimiser(encoder: ReducedEncoder, stage: Stage, config: FitConfig) -> torch.optim.AdamW:
    """AdamW with the stage's learning rates."""
    encoder.requires_grad_(True)
    if "backbone" in stage.frozen:
        encoder.backbone.requires_grad_(False)
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in encoder.backbone.named_parameters():
        if parameter.requires_grad:
            alone = not encoder.reducer.active_layers and encoder.backbone.height(name) > 0
            rate = NEW_RATE if name == POOLING_MAP or alone else config.learning_rate
            groups[rate, _decay(name, parameter, config)].append(parameter)
    for name, parameter in encoder.reducer.named_parameters():
        frozen = "reducer" in stage.frozen or prefix_of(name, stage.frozen)
        parameter.requires_grad_(not frozen)
        if not frozen:
            prefix = prefix_of(name, stage.learning_rates)
            rate = stage.learning_rates[prefix] if prefix else config.learning_rate
            groups[rate, _decay(name, parameter, config)].append(parameter)
    rates = [
        {"params": members, "lr": rate, "weight_decay": decay}
        for (rate, decay), members in groups.items()
    ]
    return torch.optim.AdamW(rates, fused=True)


def _decay(name: str, parameter: nn.Parameter, config: FitConfig) -> float:
    """Weight decay for the weights of linear layers and embeddings, 0 for all others.

    Other parameters of a method (retention, thresholds) are changed only by its loss.
    """
    layer = parameter.dim() > 1 and name.rpartition(".")[2] == "weight"
    return config.weight_decay if layer else 0.0


def prefix_of(name: str, prefixes: Any) -> str | None:
    """The longest prefix of a name, which it equals or which is followed by a dot; None if none."""
    fitting = [p for p in prefixes if name == p or name.startswith(p + ".")]
    return max(fitting, key=len, default=None)

"""The method under test, and the tiny random BERTs that use it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from lotbench import registry
from lotbench.batch import Batch
from lotbench.config.sections import TrainConfig
from lotbench.conformance.answers import Case, positions_left_out
from lotbench.conformance.outcome import Broken, on
from lotbench.conformance.texts import BATCHES, RAGGED, batch, split, with_artefacts
from lotbench.conformance.tiny import WIDTH, pooled_backbone, tiny_backbone
from lotbench.conformance.watch import Watch, watch_stage
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import MODES, Mode, ReducedEncoder
from lotbench.errors import InputError
from lotbench.measure.flops import reduced_flops
from lotbench.reducer import Outputs, Params, TokenReducer
from lotbench.store.rows import Training
from lotbench.trial.training import train
from lotbench.validation import report_at

TINY_LAYERS = 4
# A budget may be a share, a threshold or a count, so these factors and values cover the range of
# each.  Values that the method's parameters refuse are skipped.
FACTORS, VALUES = (0.5, 0.25, 2, 4, 16, 64), (0.0, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0)


@dataclass
class Part:
    """A pass in a stage of training: its faults by kind, and the exception that ended it."""

    where: str
    training: bool
    faults: dict[str, str] = field(default_factory=dict)
    error: Broken | None = None


@dataclass
class Trained:
    """A trained model, the trainer's report, and the largest gradients of each parameter."""

    encoder: ReducedEncoder
    report: Training
    gradients: dict[str, Tensor]


@dataclass
class Subject:
    """A method with hyper-parameters, and the models that the rules test."""

    cls: type[TokenReducer]
    values: dict[str, Any] = field(default_factory=dict)
    """Hyper-parameters; the defaults where not given."""
    plugins: list[str] = field(default_factory=list)
    """Plugins that define the method; empty if it is installed."""
    vectors: bool = False
    """True if the models give sentence vectors, not logits."""

    @cached_property
    def pooled(self) -> Subject:
        """The same method in models that give sentence vectors."""
        return replace(self, vectors=True)

    @cached_property
    def params(self) -> Params:
        """The validated hyper-parameters."""
        return registry.make_params(self.cls, self.values, report_at(self.cls.name))

    def fresh(self, layers: int = TINY_LAYERS) -> ReducedEncoder:
        """A new model with seeded weights, in evaluation mode and float32."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            reducer = self.cls(self.params, layers, WIDTH)
        return ReducedEncoder(self.backbone(layers), reducer).eval()

    def backbone(self, layers: int = TINY_LAYERS) -> Backbone:
        """A tiny backbone with weights of its own."""
        return pooled_backbone(layers) if self.vectors else tiny_backbone(layers)

    def randomised(self, seed: int, layers: int = TINY_LAYERS) -> ReducedEncoder:
        """A model whose method has large random weights.

        A fresh method often keeps every token, so the rules would not see it drop any.
        """
        encoder = self.fresh(layers)
        generator = torch.Generator().manual_seed(seed)
        texts = batch(needs=encoder.reducer.needs)
        with torch.no_grad():
            encoder.reducer.before_training([texts], encoder.backbone.words)
            for parameter in encoder.reducer.parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                if parameter.dim() > 1:
                    parameter.copy_(2 * noise / parameter.shape[-1] ** 0.5)
                else:
                    parameter.mul_(1 + noise / 2)
        for stage in encoder.reducer.stages():
            encoder.reducer.start_stage(stage)
        with torch.no_grad():
            encoder.reducer.after_training(encoder.backbone.words)
        search(encoder)
        return encoder.eval()

    @cached_property
    def cases(self) -> list[Case]:
        """Models in float64, fresh and randomised, at budgets where their decisions differ.

        They share a backbone, which no method may change.
        """
        made = {"fresh": self.fresh(), "randomised": self.randomised(1)}
        if not self.vectors:  # of the same decisions, two models show what pooling makes of them
            made["randomised again"] = self.randomised(2)
        backbone, chosen = self.backbone().double(), []
        for label, encoder in made.items():
            reducer, budget = encoder.reducer.double(), self.cls.budget_name
            trained = reducer.budget if budget else None
            trained = trained if isinstance(trained, int | float) else None
            distinct: dict[int, Case] = {}
            for value in [trained, *self.budgets_to_try(trained)]:
                name = label if value is None else f"{label}, {budget}={value:g}"
                if value != trained and budget not in self.cls.Params.model_fields:
                    name += f" (tried, because no field of Params limits {budget})"
                moved = ReducedEncoder(backbone, deepcopy(reducer)).eval()
                if value is not None:
                    moved.reducer.budget = value
                with on(self.cls, f"{name}, ragged batch"), torch.no_grad():
                    outputs = moved(batch(), reducer=Watch(moved.reducer))
                left_out = sum(map(len, positions_left_out(outputs.trace, batch()).values()))
                distinct.setdefault(left_out, Case(name, moved))
            by_share = [distinct[left_out] for left_out in sorted(distinct)]
            last = len(by_share) - 1
            chosen += [by_share[i] for i in sorted({round(i * last / 3) for i in range(4)})]
        return chosen

    @cached_property
    def watched(self) -> list[tuple[str, str, Mode, Watch, Outputs]]:
        """A watched forward pass for every case, batch and mode, and its outputs."""
        passes = []
        for case in self.cases:
            for name, rows in BATCHES.items():
                for mode in MODES:
                    watch = Watch(case.encoder.reducer)
                    with on(self.cls, f"{case.label}, {name}, {mode}"), torch.no_grad():
                        outputs = case.encoder(batch(rows), mode, reducer=watch)
                    passes.append((case.label, name, mode, watch, outputs))
        return passes

    @cached_property
    def staged(self) -> list[Part]:
        """For every stage, a watched pass in evaluation in the middle of it, and in training."""
        encoder, parts = self.fresh(), []
        examples = batch(needs=encoder.reducer.needs, vectors=self.vectors)
        with torch.no_grad(), on(self.cls, "before training"):
            encoder.reducer.before_training([examples], encoder.backbone.words)
        for stage in encoder.reducer.stages():
            encoder.reducer.start_stage(stage)
            for training in (False, True):
                encoder.train(training)
                where = f"{'training' if training else 'evaluation'} in stage {stage.name!r}"
                part = Part(where, training)
                parts.append(part)
                try:
                    with on(self.cls, where):
                        data = batch(RAGGED, encoder.reducer.needs, self.vectors)
                        watch_stage(encoder, data if training else batch(), stage, part.faults)
                except Broken as error:
                    part.error = error
        return parts

    @cached_property
    def untouched(self) -> dict[str, Tensor]:
        """Outputs of the untouched model on each of the batches, in float64."""
        backbone, layers = self.backbone().double().eval(), self.fresh().reducer.active_layers
        with torch.no_grad():
            batches = {name: batch(rows) for name, rows in BATCHES.items()}
            return {k: hugging_face_outputs(backbone, v, layers) for k, v in batches.items()}

    def train(self) -> Trained:
        """A model trained for a few steps on random texts, and its gradients."""
        encoder, largest = self.fresh(), {}

        def note(name: str) -> Callable[[Tensor], None]:
            def hook(parameter: Tensor) -> None:
                assert parameter.grad is not None, "the hook runs once it is there"
                size = parameter.grad.abs()
                largest[name] = torch.maximum(largest.get(name, size), size)

            return hook

        handles = [
            parameter.register_post_accumulate_grad_hook(note(name))
            for name, parameter in encoder.named_parameters()
        ]
        # Two epochs are 12 steps; more if the shortest stage would have none.
        shortest = min(stage.share for stage in encoder.reducer.stages() if stage.share)
        epochs = max(2, 2 / shortest / 6)
        config = TrainConfig(epochs=epochs, batch_size=8, learning_rate=1e-3, precision="fp32")
        needs = encoder.reducer.needs | {"teacher_logits"}
        report = train(encoder, with_artefacts(split(48), needs, self.vectors), config, seed=0)
        search(encoder)
        for handle in handles:
            handle.remove()
        return Trained(encoder, report, largest)

    @cached_property
    def trained(self) -> Trained:
        """The result of `train`, computed once."""
        return self.train()

    def budgets_to_try(self, trained: Any) -> list[float]:
        """Other values to try for the budget: multiples of the trained value, then fixed values."""
        if not isinstance(trained, int | float):
            return []
        whole = isinstance(trained, int)
        tried = [trained * factor for factor in FACTORS] + list(VALUES)
        values = dict.fromkeys(int(value) if whole else float(value) for value in tried)
        valid = []
        for value in values:
            with suppress(InputError):
                self.cls.check_budget(self.params, value, report_at(""))
                valid += [] if value == trained else [value]
        return valid

    @cached_property
    def decides(self) -> bool:
        """True if the method has a hook that decides, or runs fewer layers."""
        return registry.decides(self.cls) or self.fresh().reducer.active_layers < TINY_LAYERS


def search(encoder: ReducedEncoder) -> None:
    """Lets the method search, with the spread of the outputs as the score."""

    @torch.no_grad()
    def score() -> tuple[float, float]:
        outputs = encoder.eval()(batch())
        flops = reduced_flops(outputs.trace, encoder.backbone, encoder.reducer)
        return float(outputs.logits.std()), float(flops.mean())

    encoder.reducer.search(score, torch.Generator().manual_seed(0))


def hugging_face_outputs(backbone: Backbone, batch: Batch, layers: int) -> Tensor:
    """Logits (B, C) of the untouched model with its first ``layers`` layers, text by text.

    Of sentence vectors the pooling of its states, (B, D).
    """
    model, pooling = backbone.model, backbone.pooling
    if layers < len(backbone.layers):
        model = deepcopy(model)
        base = model.base_model
        modules = base.named_modules()
        name, every = next(pair for pair in modules if isinstance(pair[1], nn.ModuleList))
        base.set_submodule(name, nn.ModuleList(list(every.children())[:layers]))
    typed = getattr(model.config, "type_vocab_size", 0) > 1
    rows = [x.split(batch.layout.sizes) for x in (batch.input_ids, batch.token_type_ids)]
    answers = [
        model(ids[None], **({"token_type_ids": types[None]} if typed else {}))
        for ids, types in zip(*rows, strict=True)
    ]
    if pooling is None:
        return torch.cat([answer.logits for answer in answers])
    return torch.cat([pooling.padded(answer.last_hidden_state, None) for answer in answers])

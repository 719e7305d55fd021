"""`Watch`: a wrapper around a method that records its faults."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lotbench.batch import Batch
from lotbench.decision import malformed, misgrouped
from lotbench.engine.encoder import ReducedEncoder
from lotbench.ragged import Ragged, segment_count
from lotbench.reducer import Decision, Leap, Merge, Received, Stage, Step, TokenReducer, Tokens

ROUNDING = 1e-5
"""Rounding error allowed in a straight-through weight, ``hard + (soft - soft.detach())``."""


class Watch(TokenReducer):
    """Calls the method for every decision, records faults, and repairs the decision.

    The repair keeps the engine from failing, so that a fault is reported by the rule it breaks.
    If ``soft``, decisions may have a weight.
    """

    def __init__(self, method: TokenReducer, soft: bool = False) -> None:
        super().__init__(method.params, method.n_layers, method.width)
        self.name = getattr(method, "name", type(method).__name__)
        self.needs = method.needs
        self.active_layers = method.active_layers
        self.method, self.soft = method, soft
        self.faults: dict[str, str] = {}
        """Describes the first fault of each kind: "first token", "soft", "sizes", "groups" or
        "mutation"."""

    def before_embedding(self, batch: Batch, words: Tensor) -> Decision | None:
        shown = tensors(batch) | {"words": words}
        before = {name: tensor.detach().clone() for name, tensor in shown.items()}
        decision = self.method.before_embedding(batch, words)
        altered = changed(before, tensors(batch) | {"words": words})
        return self._watched(decision, "before_embedding", altered, batch.layout, None)

    def before_layer(self, layer: int, tokens: Tokens) -> Decision | None:
        return self._watched_call("before_layer", layer, tokens)

    def after_attention(
        self, layer: int, tokens: Tokens, received: Received | None
    ) -> Decision | None:
        return self._watched_call("after_attention", layer, tokens, received)

    def summary(self, tokens: Tokens) -> Tensor:
        return self.method.summary(tokens)

    def _watched_call(
        self, point: str, layer: int, tokens: Tokens, *received: Received | None
    ) -> Decision | None:
        before = {name: t.detach().clone() for name, t in _shown(tokens, *received).items()}
        decision = getattr(self.method, point)(layer, tokens, *received)
        altered = changed(before, _shown(tokens, *received))
        where, width = f"{point} of layer {layer}", tokens.hidden.shape[1]
        return self._watched(decision, where, altered, tokens.layout, width)

    def _watched(
        self,
        decision: Decision | None,
        where: str,
        altered: str | None,
        layout: Ragged,
        width: int | None,
    ) -> Decision | None:
        """A decision on tokens of this layout, repaired; ``altered`` is what making it changed."""
        if altered:
            self.faults.setdefault("mutation", f"{where} changes {altered}")
        if decision is None or malformed(decision, layout, width):
            return decision
        if isinstance(decision, Merge) and (wrong := misgrouped(decision.groups, layout)):
            self.faults.setdefault("groups", f"{where}: {wrong}")
            return None
        first = layout.is_first
        dropped = (first & ~decision.keep).nonzero().squeeze(1)
        if dropped.numel():
            text = int(layout.sequence[dropped[0]])
            size = layout.sizes[text]
            self.faults.setdefault(
                "first token",
                f"{where} leaves out the first token of {dropped.numel()} of "
                f"{layout.batch_size} texts, among them text {text} ({size} tokens shown)",
            )
            if isinstance(decision, Merge):
                groups = torch.where(first, layout.rows, decision.groups)
                decision = replace(decision, groups=groups)
            else:
                decision = replace(decision, keep=decision.keep | first)
        if decision.weight is not None and not self.soft:
            self.faults.setdefault(
                "soft", f"{where} returns a weight; only stages with soft=True train with weights"
            )
            decision = replace(decision, weight=None)
        elif decision.weight is not None and (isinstance(decision, Leap) or decision.as_key):
            least, most = decision.weight.detach().aminmax()
            if not (least >= -ROUNDING and most <= 1 + ROUNDING):  # also refuses NaN
                self.faults.setdefault(
                    "soft",
                    f"{where} returns weights from {least:.3g} to {most:.3g}; the weights of a "
                    "Leap, and of keys, must be between 0 and 1",
                )
                decision = replace(decision, weight=decision.weight.nan_to_num().clamp(0, 1))
        if isinstance(decision, Leap):
            declared = (("sizes", decision.keep, "keeps"), ("key_sizes", decision.seen, "sees"))
            for name, mask, does in declared:
                sizes = getattr(decision, name)
                counted = tuple(segment_count(mask, layout).tolist())
                if sizes is not None and tuple(sizes) != counted:
                    self.faults.setdefault(
                        "sizes", f"{where} declares {name} {sizes}, but its mask {does} {counted}"
                    )
                    decision = replace(decision, **{name: None})
        return decision


def watch_stage(encoder: ReducedEncoder, data: Batch, stage: Stage, faults: dict[str, str]) -> None:
    """Watches a pass in a stage, and in training also the training step and the loss.

    What is wrong is added to ``faults``, by kind.
    """
    if encoder.training:
        _watch_training_step(encoder, data, stage, faults)
    watch = Watch(encoder.reducer, stage.soft and encoder.training)
    watch.faults = faults
    outputs = encoder(data, "reference" if watch.soft else "packed", reducer=watch)
    if encoder.training:
        inputs = {**tensors(data), "logits": outputs.logits, "hidden": outputs.hidden}
        before = {name: value.detach().clone() for name, value in inputs.items()}
        encoder.reducer.loss(outputs, data, outputs.trace)
        if altered := changed(before, inputs | tensors(data)):
            faults.setdefault("mutation", f"loss changes {altered}")


def _watch_training_step(
    encoder: ReducedEncoder, data: Batch, stage: Stage, faults: dict[str, str]
) -> None:
    """Runs the method's own training step and watches every forward pass in it."""
    watches = []

    def forward(batch: Batch, *args: Any, reducer: TokenReducer | None = None, **kwargs: Any):
        watches.append(Watch(encoder.reducer if reducer is None else reducer, stage.soft))
        return ReducedEncoder.forward(encoder, batch, *args, reducer=watches[-1], **kwargs)

    before = {name: value.detach().clone() for name, value in tensors(data).items()}
    encoder.forward = forward
    try:
        step = Step(stage, 0.5, torch.Generator().manual_seed(0))
        encoder.reducer.training_step(encoder, data, step)
    finally:
        del encoder.forward
        for watch in watches:
            named = {kind: f"{fault} (training_step)" for kind, fault in watch.faults.items()}
            faults |= named | faults
    if altered := changed(before, tensors(data)):
        faults.setdefault("mutation", f"training_step changes {altered}")


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> str | None:
    """The first tensor that has changed, and by how much; None if none has."""
    for name in {**before, **after}:
        if name not in before or name not in after or before[name].shape != after[name].shape:
            return f"{name} (it was replaced by another tensor)"
        was, now = before[name], after[name].detach()
        other = (was != now) & ~(was.isnan() & now.isnan())
        if other.any():
            count = int(other.sum())
            most = float((was.double() - now.double()).abs().max())
            return f"{name} ({count} of {was.numel()} numbers, by up to {most:.2g})"
    return None


def tensors(batch: Batch) -> dict[str, Tensor]:
    """Every tensor of a batch, by name."""
    values = {f"batch.{k}": v for k, v in vars(batch).items() if isinstance(v, Tensor)}
    return {**values, "batch.layout": batch.layout.cu_seqlens}


def _shown(tokens: Tokens, received: Received | None = None) -> dict[str, Tensor]:
    decided = ("keep", "weight", "keys", "context")
    values: dict[str, Tensor | None] = {
        "tokens.hidden": tokens.hidden,
        "tokens.rows": tokens.rows,
        "tokens.layout": tokens.layout.cu_seqlens,
        **tensors(tokens.batch),
        "tokens.keys": tokens.keys,
        **{f"tokens.previous.{name}": getattr(tokens.previous, name, None) for name in decided},
    }
    if received is not None:
        values |= {"received.mean": received.mean, "received.own": received.own}
    return {name: value for name, value in values.items() if value is not None}

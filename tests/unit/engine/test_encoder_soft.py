"""Soft decisions of the reduced encoder against a plain padded model."""

import pytest
import torch
from scripted import Fixed, Plain, Soft, at
from torch import Tensor

from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.ragged import Ragged, pad, unpad
from lotbench.reducer import Decision, Drop, Leap, Tokens

SOFT = {
    "leap": lambda w, keep: ("before_layer", Leap(keep, w)),
    "key": lambda w, keep: ("before_layer", Drop(keep, w, as_key=True)),
    "drop": lambda w, keep: ("before_layer", Drop(keep, w)),
    "drop_output": lambda w, keep: ("before_layer", Drop(keep, w, at_output=True)),
    "inner_drop": lambda w, keep: ("after_attention", Drop(keep, w)),
    "inner_drop_output": lambda w, keep: ("after_attention", Drop(keep, w, at_output=True)),
}


def soft_encoder(backbone: Backbone, kind: str, weights: Tensor) -> ReducedEncoder:
    """An encoder with these weights (L, T) at one point of every layer; no token is dropped."""

    def decide(layer: int, point: str, tokens: Tokens) -> Decision | None:
        keep = torch.ones_like(tokens.rows, dtype=torch.bool)
        at, decision = SOFT[kind](weights[layer], keep)
        return decision if at == point else None

    return ReducedEncoder(backbone, Fixed(3, decide))


def random_weights(layout: Ragged) -> Tensor:
    """Weights (3, T) of which some are 0, some 1, most in between; the first of each is 1."""
    raw = torch.rand(3, layout.total, dtype=torch.float64)
    raw = ((raw - 0.2) / 0.6).clamp(0, 1)
    return raw.masked_fill(layout.is_first, 1.0)


@pytest.mark.parametrize("kind", list(SOFT))
def test_soft_decisions_equal_the_plain_model(make_backbone, make_batch, kind):
    """Values, and gradients of the weights and of every parameter of the backbone."""
    backbone = make_backbone()
    batch = make_batch([6, 30, 1, 14])
    layout = batch.layout
    weights = random_weights(layout)
    results = []
    for ours in (True, False):
        backbone.zero_grad()
        w = weights.clone().requires_grad_()
        if ours:
            outputs = soft_encoder(backbone, kind, w)(batch, "reference")
            logits, hidden = outputs.logits, outputs.hidden
        else:
            plan = [Soft(**{kind: pad(w[layer], layout)}) for layer in range(3)]
            ids, types, mask = (
                pad(x, layout)
                for x in (batch.input_ids, batch.token_type_ids, torch.ones(layout.total))
            )
            logits, padded = Plain(backbone.model)(ids, types, mask.double(), plan)
            hidden = unpad(padded, layout)
        (logits.square().sum() + hidden.sin().sum()).backward()
        parameters = {name: p.grad.clone() for name, p in backbone.named_parameters()}
        results.append((logits, hidden, w.grad, parameters))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", list(SOFT))
def test_soft_values_do_not_depend_on_gradients_being_on(tiny, make_batch, kind):
    """Results are the same with a frozen router or under no_grad."""
    batch = make_batch([6, 3])
    weights = random_weights(batch.layout)
    with_gradient = soft_encoder(tiny, kind, weights.clone().requires_grad_())(batch, "reference")
    without = soft_encoder(tiny, kind, weights)(batch, "reference")
    torch.testing.assert_close(with_gradient.logits, without.logits, rtol=0, atol=1e-10)
    torch.testing.assert_close(with_gradient.hidden, without.hidden, rtol=0, atol=1e-10)


def test_hard_values_of_a_soft_leap_equal_the_hard_leap(tiny, make_batch):
    batch = make_batch([9, 20])
    weights = (torch.rand(3, 29) > 0.4).double().masked_fill(batch.layout.is_first, 1.0)

    def decide(layer: int, point: str, tokens: Tokens) -> Decision | None:
        return Leap(weights[layer] > 0) if point == "before_layer" else None

    hard = ReducedEncoder(tiny, Fixed(3, decide))(batch, "packed")
    soft = soft_encoder(tiny, "leap", weights.requires_grad_())(batch, "reference")
    torch.testing.assert_close(soft.logits, hard.logits, rtol=0, atol=1e-10)
    torch.testing.assert_close(soft.hidden, hard.hidden, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", list(SOFT))
def test_soft_decisions_are_refused_by_the_packed_path(tiny, make_batch, kind):
    batch = make_batch([4])
    with pytest.raises(ValueError, match="reference"):
        soft_encoder(tiny, kind, random_weights(batch.layout))(batch, "packed")


@pytest.mark.parametrize(("dropped", "fits"), [(0, True), (1, False)])
def test_a_soft_drop_is_shown_at_the_next_layer_if_it_keeps_every_token(
    tiny, make_batch, dropped, fits
):
    shown = []

    def decide(layer: int, point: str, tokens: Tokens) -> Decision | None:
        if point == "after_attention":
            return None
        shown.append(tokens.previous)
        keep = torch.arange(len(tokens.rows)) < len(tokens.rows) - dropped
        return Drop(keep, torch.full((len(keep),), 0.5), as_key=True, aux={"layer": layer})

    ReducedEncoder(tiny, Fixed(3, decide))(make_batch([5]), "reference")
    layers = [None if previous is None else previous.aux["layer"] for previous in shown]
    assert layers == ([None, 0, 1] if fits else [None] * 3)


@pytest.mark.parametrize(
    ("point", "kind", "more", "message"),
    [
        ("after_attention", Drop, {"as_key": True}, "of layer 0: as_key .* already attended"),
        ("after_attention", Leap, {}, "after_attention of layer 0: a Leap .* already attended"),
        ("before_layer", Drop, {"as_key": True, "at_output": True}, "as_key and at_output are"),
    ],
)
def test_a_decision_in_a_wrong_place_is_refused(tiny, make_batch, point, kind, more, message):
    weight = torch.ones(4, dtype=torch.float64)
    decide = at(None, lambda tokens: kind(weight > 0, weight, **more), point)
    with pytest.raises(ValueError, match=message):
        ReducedEncoder(tiny, Fixed(3, decide))(make_batch([4]), "reference")

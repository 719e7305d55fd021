"""Leaping tokens that a layer still sees as keys: by hand, in both modes, soft, and counted."""

import math
from collections.abc import Callable

import pytest
import torch
from scripted import Fixed, at
from torch import Tensor, nn

from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.measure.flops import fvcore_flops, reduced_flops
from lotbench.reducer import Decision, Drop, Leap, Received, Tokens


@pytest.fixture(scope="module")
def scalar(make_backbone: Callable[..., Backbone]) -> Backbone:
    """One layer of width 1 without norms: ``h_i + sum_j p_ij h_j`` with ``p_ij ~ 2^(h_i h_j)``.

    Token ids 1, 2 and 3 enter it as 1, 5 and 3.
    """
    model = make_backbone(
        num_hidden_layers=1, hidden_size=1, num_attention_heads=1, intermediate_size=1
    ).model
    parameters = dict(model.bert.named_parameters())
    with torch.no_grad():
        for name, parameter in parameters.items():
            if "pooler" not in name:
                parameter.zero_()
        ids = parameters["embeddings.word_embeddings.weight"]
        ids[1:4] = torch.tensor([[1.0], [5.0], [3.0]])
        attention = "encoder.layer.0.attention"
        parameters[f"{attention}.self.query.weight"].fill_(math.log(2))
        for part in ("self.key", "self.value", "output.dense"):
            parameters[f"{attention}.{part}.weight"].fill_(1)
    layer = model.bert.encoder.layer[0]
    model.bert.embeddings.LayerNorm = nn.Identity()
    layer.attention.output.LayerNorm = layer.output.LayerNorm = nn.Identity()
    return Backbone(model).double().eval()


def leap(keep: list[int], **more: object) -> Callable[..., Decision | None]:
    return at(None, lambda tokens: Leap(torch.tensor(keep) > 0, **more))


KEYS = {
    # [CLS] is 1; its keys are itself and 3: weights 2^1 : 2^3, so 0.2 and 0.8.
    "one seen": ([0, 0, 1], 1 + 0.2 * 1 + 0.8 * 3, 2),
    # Its own entry changes nothing.
    "itself": ([1, 0, 1], 1 + 0.2 * 1 + 0.8 * 3, 2),
    # 2^1 : 2^5 : 2^3 = 1 : 16 : 4
    "all": ([1, 1, 1], 1 + (1 + 16 * 5 + 4 * 3) / 21, 3),
    "none": ([0, 0, 0], 1 + 1, 1),
}


@pytest.mark.parametrize("case", list(KEYS))
def test_leaping_tokens_as_keys_by_hand(scalar, make_batch, mode, case):
    keys, expected, count = KEYS[case]
    decide = leap([1, 0, 0], keys=torch.tensor(keys) > 0)
    outputs = ReducedEncoder(scalar, Fixed(1, decide))(make_batch([[1, 2, 3]]), mode)
    assert outputs.hidden.squeeze(1).tolist() == pytest.approx([expected, 5, 3], abs=1e-12)
    assert outputs.trace.queries[0].tolist() == [1]
    assert outputs.trace.keys[0].tolist() == [count]


def test_a_context_beside_a_seen_token_by_hand(scalar, make_batch, mode):
    """Keys 1, 3 and the context 2: 2^1 : 2^3 : 2^2 = 1 : 4 : 2."""
    context = torch.full((1, 1), 2.0).double()
    decide = leap([1, 0, 0], keys=torch.tensor([False, False, True]), context=context)
    outputs = ReducedEncoder(scalar, Fixed(1, decide))(make_batch([[1, 2, 3]]), mode)
    assert outputs.hidden[0].item() == pytest.approx(1 + (1 + 4 * 3 + 2 * 2) / 7, abs=1e-12)
    assert outputs.trace.keys[0].tolist() == [3]


def test_keys_of_a_batch_are_of_their_own_text(scalar, make_batch, mode):
    """A kept token stands after a leaping one, and each text sees its own."""
    decide = leap([1, 0, 1, 1, 1, 0], keys=torch.tensor([0, 1, 0, 0, 0, 0]) > 0)
    batch = make_batch([[1, 2, 3], [1, 3, 2]])
    outputs = ReducedEncoder(scalar, Fixed(1, decide))(batch, mode)
    # [CLS] 1 of the second text sees 1 and 3.  In the first it sees all three, and so does 3:
    # 2^3 : 2^15 : 2^9 = 1 : 4096 : 64.
    third = 3 + (1 + 4096 * 5 + 64 * 3) / 4161
    assert outputs.hidden[[0, 2, 3]].squeeze(1).tolist() == pytest.approx(
        [1 + 93 / 21, third, 3.6], abs=1e-12
    )
    assert outputs.trace.queries[0].tolist() == [2, 2]
    assert outputs.trace.keys[0].tolist() == [3, 2]


def test_a_soft_leap_leaves_the_key_weight_of_a_seen_token_at_one(scalar, make_batch):
    """[CLS] of weight 1; 5 and 3 of weights 0.5 and 0.25, of which 3 is seen.

    Key weights are 1, 0.5 and 1: 1 : 16 * 0.5 : 4.  The blend of 3 still has weight 0.25; its own
    attention is 2^3 : 2^15 * 0.5 : 2^9 = 1 : 2048 : 64.
    """
    weight = torch.tensor([1, 0.5, 0.25]).double().requires_grad_()
    decide = leap([1, 1, 0], weight=weight, keys=torch.tensor([False, False, True]))
    outputs = ReducedEncoder(scalar, Fixed(1, decide))(make_batch([[1, 2, 3]]), "reference")
    assert outputs.hidden[0].item() == pytest.approx(1 + (1 + 8 * 5 + 4 * 3) / 13, abs=1e-9)
    blended = 3 + 0.25 * (1 + 2048 * 5 + 64 * 3) / 2113
    assert outputs.hidden[2].item() == pytest.approx(blended, abs=1e-9)
    (gradient,) = torch.autograd.grad(outputs.hidden[0].sum(), weight)
    assert gradient[1].abs() > 0.1
    assert gradient[2] == 0  # [CLS] sees it at every weight


def test_a_seen_token_gives_no_attention(scalar, make_batch, mode):
    """Received attention is a mean over the computed tokens, 1 and 3; 5 between them is seen.

    1 gives 1/21 to itself and 4/21 to 3, which gives 1/4161 to 1 and 64/4161 to itself.
    """
    received: list[Received] = []

    class Receiving(Fixed):
        needs = frozenset({"received_attention"})

        def after_attention(self, layer: int, tokens: Tokens, given: Received | None) -> None:
            assert given is not None
            received.append(given)

    decide = leap([1, 0, 1], keys=torch.tensor([False, True, False]))
    ReducedEncoder(scalar, Receiving(1, decide))(make_batch([[1, 2, 3]]), mode)
    own = [1 / 21, 64 / 4161]
    mean = [(own[0] + 1 / 4161) / 2, (4 / 21 + own[1]) / 2]
    assert received[0].mean.tolist() == pytest.approx(mean, abs=1e-12)
    assert received[0].own.tolist() == pytest.approx(own, abs=1e-12)


def flops(backbone: Backbone, batch, decide: Callable[..., Decision | None]) -> float:
    method = Fixed(1, decide)
    trace = ReducedEncoder(backbone, method)(batch).trace
    return reduced_flops(trace, backbone, method).item()


def test_a_seen_token_costs_its_key_and_value(scalar, make_batch):
    """Width 1, one query: two projections of a key 4 and attention with it 4, each two seen: 16."""
    batch = make_batch([[1, 2, 3]])
    every = torch.ones(3, dtype=torch.bool)
    with_keys = flops(scalar, batch, leap([1, 0, 0], keys=every))
    assert with_keys - flops(scalar, batch, leap([1, 0, 0])) == 16


@pytest.mark.parametrize("length", [2, 17, 64])
@pytest.mark.parametrize("needs", [frozenset(), frozenset({"received_attention"})])
def test_fvcore_agrees_on_seen_tokens(minilm, make_batch, length, needs):
    """A third of the tokens are kept, another third seen; every second layer has a context."""

    def decide(layer: int, point: str, tokens: Tokens) -> Decision | None:
        if point == "after_attention":
            return None
        keep = ((tokens.position + layer) % 3 == 0) | tokens.layout.is_first
        context = tokens.hidden[tokens.layout.first] if layer % 2 else None
        return Leap(keep, context=context, keys=(tokens.position + layer) % 3 == 1)

    method = Fixed(6, decide)
    method.needs = needs
    encoder = ReducedEncoder(minilm, method)
    batch = make_batch([[101, *range(2000, 1998 + length), 102]])
    with torch.no_grad():
        trace = encoder(batch).trace
    assert fvcore_flops(encoder, batch) == reduced_flops(trace, minilm, method).item()
    if length > 2:
        assert any(bool((k > q + 1).all()) for k, q in zip(trace.keys, trace.queries, strict=True))


def test_declared_sizes_give_the_same_result_without_a_look_at_the_mask(
    tiny, make_batch, monkeypatch
):
    """Of 5 and 3 tokens, 2 and 1 are kept, and all but one and all are seen: 4 and 3."""
    keep = torch.tensor([1, 0, 1, 0, 0, 1, 0, 0]) > 0
    keys = torch.tensor([1, 1, 1, 0, 1, 1, 1, 1]) > 0
    batch, found = make_batch([5, 3]), []
    with torch.inference_mode():
        for declared in ({}, {"sizes": (2, 1), "key_sizes": (4, 3)}):
            decide = leap(keep.long().tolist(), keys=keys, **declared)
            if declared:
                for look in ("nonzero", "item", "tolist"):
                    monkeypatch.setattr(Tensor, look, None)
            found.append(ReducedEncoder(tiny, Fixed(3, decide))(batch))
            monkeypatch.undo()
    assert found[0].hidden.equal(found[1].hidden)
    assert [k.tolist() for k in found[1].trace.keys] == [[4, 3]] * 3


def test_a_decision_made_again_sees_the_same_keys(tiny, make_batch, mode):
    """The previous decision has its keys, and the seen token keeps its state throughout."""

    def decide(layer: int, point: str, tokens: Tokens) -> Decision | None:
        if point == "after_attention":
            return None
        if layer:
            return tokens.previous
        return Leap(torch.tensor([1, 1, 0, 0]) > 0, keys=torch.tensor([0, 0, 0, 1]) > 0)

    outputs = ReducedEncoder(tiny, Fixed(3, decide))(make_batch([4]), mode, inputs=True)
    assert [k.tolist() for k in outputs.trace.keys] == [[3]] * 3
    assert outputs.hidden[3].equal(outputs.inputs[0][3])


def test_a_decision_made_again_may_be_followed_by_a_drop(tiny, make_batch):
    """The layer then writes into the states of the tokens that are left."""

    def decide(layer: int, point: str, tokens: Tokens) -> Decision | None:
        if point == "before_layer":
            return tokens.previous if layer else Leap(torch.tensor([1, 1, 0, 0]) > 0)
        return Drop(torch.tensor([1, 0]) > 0) if layer == 1 else None

    encoder, batch = ReducedEncoder(tiny, Fixed(3, decide)), make_batch([4])
    packed, reference = encoder(batch, "packed"), encoder(batch, "reference")
    assert packed.rows.tolist() == [0, 2, 3]
    torch.testing.assert_close(packed.logits, reference.logits)
    torch.testing.assert_close(packed.hidden, reference.hidden)

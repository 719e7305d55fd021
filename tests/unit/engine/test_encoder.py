"""The reduced encoder: against the untouched model, and packed against reference."""

import copy
from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import MODES, Fixed, Scripted, at, keep_places
from tiny_models import padded
from torch import Tensor, nn

from lotbench.batch import Batch
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.pooling import Pooling
from lotbench.ragged import unpad
from lotbench.reducer import Decision, Drop, Leap, Merge, Outputs, Params, TokenReducer, Tokens

COUNTS = ("shown", "queries", "keys", "feed_forward")


class KeepAll(TokenReducer):
    """Keeps every token, with a given kind of decision before a layer, and a drop within it."""

    name = "keep-all"

    def __init__(self, kind: type[Leap] | type[Drop] | None, n_layers: int) -> None:
        super().__init__(Params(), n_layers, 0)
        self.kind = kind

    def before_layer(self, layer: int, tokens: Tokens) -> Decision | None:
        return self.kind and self.kind(torch.ones_like(tokens.rows, dtype=torch.bool))

    def after_attention(self, layer: int, tokens: Tokens, received: None) -> Decision | None:
        return self.kind and Drop(torch.ones_like(tokens.rows, dtype=torch.bool))


def part(batch: Batch, sequences: list[int]) -> Batch:
    """A batch of these sequences, in this order."""
    ids, types = (x.split(batch.layout.sizes) for x in (batch.input_ids, batch.token_type_ids))
    return Batch.from_ids(
        [ids[b].tolist() for b in sequences],
        [types[b].tolist() for b in sequences],
        labels=batch.labels[sequences],
        index=batch.index[sequences],
        text_seed=batch.text_seed[sequences],
    )


def assert_same(one: Outputs, other: Outputs, tolerance: float = 1e-8) -> None:
    """Same logits and states to the tolerance, same tokens, same counts."""
    torch.testing.assert_close(one.logits, other.logits, rtol=0, atol=tolerance)
    torch.testing.assert_close(one.hidden, other.hidden, rtol=0, atol=tolerance)
    assert one.rows.equal(other.rows)
    assert one.layout.sizes == other.layout.sizes
    for count in COUNTS:
        for a, b in zip(getattr(one.trace, count), getattr(other.trace, count), strict=True):
            assert a.equal(b), count
    for a, b in zip(one.trace.events, other.trace.events, strict=True):
        assert (a.layer, a.point, a.layout.sizes) == (b.layer, b.point, b.layout.sizes)
        assert a.rows.equal(b.rows)
        assert a.decision.keep.equal(b.decision.keep)
        if isinstance(a.decision, Merge):
            assert a.decision.groups.equal(b.decision.groups)


# Keeping every token


@pytest.mark.parametrize("kind", [None, Leap, Drop])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_keeping_everything_is_the_untouched_model(
    minilm, make_batch, mode, kind, dtype, tolerance
):
    backbone = Backbone(copy.deepcopy(minilm.model)).eval()
    # A head as it comes gives logits near 0.01, against which nothing could differ.
    nn.init.normal_(backbone.model.classifier.weight, std=1.0)
    backbone = backbone.to(dtype)
    batch = make_batch([[101, *range(2000, 2000 + n), 102] for n in (30, 1, 12, 12, 0)])
    with torch.no_grad():
        expected = backbone.model(**padded(backbone.model, batch)).logits
        outputs = ReducedEncoder(backbone, KeepAll(kind, 6))(batch, mode)
    assert expected.abs().max() > 1
    torch.testing.assert_close(outputs.logits, expected, rtol=0, atol=tolerance)


def test_final_states_are_those_of_the_untouched_model(tiny, make_batch, mode):
    batch = make_batch([7, 2, 30])
    layout = batch.layout
    expected = tiny.model.bert(**padded(tiny.model, batch), output_hidden_states=True)
    outputs = ReducedEncoder(tiny, KeepAll(Leap, 3))(batch, mode, inputs=True)
    for ours, theirs in zip([*outputs.inputs, outputs.hidden], expected.hidden_states, strict=True):
        torch.testing.assert_close(ours, unpad(theirs, layout), rtol=0, atol=1e-10)


# Packed against reference


INNER = ["", "drop", "restore", "merge"]
outer_kinds = st.sampled_from([*INNER, "leap", "context", "keys", "both"])


@settings(max_examples=150)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    script=st.lists(st.tuples(outer_kinds, st.sampled_from(INNER)), min_size=3, max_size=3),
    seed=st.integers(0, 999),
    share=st.sampled_from([0.02, 0.5, 0.98]),
    grad=st.booleans(),
)
@pytest.mark.slow
def test_packed_equals_reference(tiny, make_batch, lengths, script, seed, share, grad):
    encoder = ReducedEncoder(tiny, Scripted(script, seed, 32, share))
    batch = make_batch(lengths, seed)
    with torch.set_grad_enabled(grad):
        packed, reference = (encoder(batch, mode, inputs=seed % 2 == 0) for mode in MODES)
    assert_same(packed, reference)
    kinds = {kind for pair in script for kind in pair}
    if "restore" in kinds and "drop" not in kinds:
        assert packed.rows.equal(torch.arange(batch.layout.total))


@pytest.mark.parametrize(
    "script",
    [
        *([pair] * 3 for pair in product(["leap", "context", "keys", "drop"], ["", "restore"])),
        [("merge", ""), ("", "merge"), ("leap", "merge")],
    ],
)
def test_gradients_of_packed_equal_those_of_reference(make_backbone, make_batch, script):
    backbone = make_backbone()
    encoder = ReducedEncoder(backbone, Scripted(script, 1, 32, share=0.7))
    batch = make_batch([30, 4, 9])
    gradients = []
    for mode in MODES:
        backbone.zero_grad()
        outputs = encoder(batch, mode)
        (outputs.logits.square().sum() + outputs.hidden.sin().sum()).backward()
        gradients.append({n: p.grad.clone() for n, p in backbone.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(
            gradient, gradients[1][name], rtol=1e-8, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("grad", [True, False])
def test_inputs_of_packed_equal_those_of_reference(tiny, make_batch, grad):
    """A layer may write over the states it has used, but not over those that were asked for."""
    encoder = ReducedEncoder(
        tiny, Scripted([("context", "drop"), ("leap", ""), ("leap", "drop")], 4, 32)
    )
    with torch.set_grad_enabled(grad):
        packed, reference = (encoder(make_batch([30, 8]), mode, inputs=True) for mode in MODES)
    assert len(packed.inputs) == 3
    for one, other in zip(packed.inputs, reference.inputs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-8)


# Removal is what it says


@pytest.mark.parametrize("kind", [Leap, Drop])
def test_the_same_tokens_in_every_layer_are_a_shorter_text(tiny, make_batch, mode, kind):
    batch = make_batch([12, 5])
    keep = torch.rand(17) > 0.5
    keep[batch.layout.is_first] = True
    decide = at(None, lambda tokens: kind(keep[tokens.rows]))
    logits = ReducedEncoder(tiny, Fixed(3, decide))(batch, mode).logits
    for b in range(2):
        kept = keep & (batch.layout.sequence == b)
        shortened = tiny.model(
            input_ids=batch.input_ids[kept][None],
            # Without a mask, transformers 5.25 takes gaps between positions for new texts.
            attention_mask=torch.ones(1, int(kept.sum()), dtype=torch.int64),
            token_type_ids=batch.token_type_ids[kept][None],
            position_ids=batch.layout.position[kept][None],
        ).logits
        torch.testing.assert_close(logits[b : b + 1], shortened, rtol=0, atol=1e-10)


def test_a_leaping_token_is_carried_and_comes_back(tiny, make_batch, mode):
    """Place 3 leaps over layer 1: its state enters layer 2 as it entered layer 1."""
    decide = at(1, keep_places({0, 1, 2, 4}))
    outputs = ReducedEncoder(tiny, Fixed(3, decide))(make_batch([5]), mode, inputs=True)
    assert outputs.inputs[2][3].equal(outputs.inputs[1][3])
    assert not outputs.hidden[3].equal(outputs.inputs[2][3])


def test_restored_states_are_the_last_ones(tiny, make_batch, mode):
    decide = at(1, keep_places({0, 2}, Drop, restore=True))
    outputs = ReducedEncoder(tiny, Fixed(3, decide))(make_batch([4]), mode, inputs=True)
    assert outputs.rows.tolist() == [0, 1, 2, 3]
    assert outputs.hidden[[1, 3]].equal(outputs.inputs[1][[1, 3]])


# What is left out must not matter


def test_neighbours_order_and_batch_size_change_nothing(tiny, make_batch):
    script = [("context", ""), ("drop", "merge"), ("both", "drop")]
    encoder = ReducedEncoder(tiny, Scripted(script, 3, 32))
    batch = make_batch([9, 30, 2, 9, 1, 17])
    with torch.no_grad():
        for mode in MODES:
            together = encoder(batch, mode)
            for order in ([5, 4, 3, 2, 1, 0], [0], [1], [2], [3, 0], [1, 4], [5]):
                few = encoder(part(batch, order), mode)
                torch.testing.assert_close(few.logits, together.logits[order], rtol=0, atol=1e-8)
                for a, b in zip(few.trace.events, together.trace.events, strict=True):
                    kept = b.decision.keep.split(b.layout.sizes)
                    assert a.decision.keep.equal(torch.cat([kept[i] for i in order]))
                for count in COUNTS:
                    for a, b in zip(
                        getattr(few.trace, count), getattr(together.trace, count), strict=True
                    ):
                        assert a.equal(b[order])


@pytest.mark.parametrize("grad", [True, False])
def test_returned_and_shown_tensors_are_not_overwritten(tiny, make_batch, mode, grad):
    """The batch during a forward, and what a method is shown while it decides."""
    inner = Scripted([("context", ""), ("leap", "drop"), ("drop", "")], 5, 32)

    class Watching(TokenReducer):
        name = "watching"
        needs = inner.needs

        def watch(self, function: Callable, layer: int, tokens: Tokens, *rest) -> Decision | None:
            before = copy.deepcopy((tokens.hidden.detach(), tokens.rows, tokens.layout))
            decision = function(layer, tokens, *rest)
            assert before[0].equal(tokens.hidden)
            assert before[1].equal(tokens.rows)
            assert before[2].cu_seqlens.equal(tokens.layout.cu_seqlens)
            return decision

        def before_layer(self, layer: int, tokens: Tokens) -> Decision | None:
            return self.watch(inner.before_layer, layer, tokens)

        def after_attention(self, layer: int, tokens: Tokens, received) -> Decision | None:
            return self.watch(inner.after_attention, layer, tokens, received)

    batch = make_batch([9, 30, 2])
    before = copy.deepcopy(batch)
    weights = copy.deepcopy(tiny.state_dict())
    with torch.set_grad_enabled(grad):
        ReducedEncoder(tiny, Watching(Params(), 3, 32))(batch, mode)
    for name in ("input_ids", "token_type_ids", "labels", "index", "text_seed"):
        assert getattr(batch, name).equal(getattr(before, name))
    assert batch.layout.cu_seqlens.equal(before.layout.cu_seqlens)
    assert batch.layout.sizes == before.layout.sizes
    for name, value in tiny.state_dict().items():
        assert value.equal(weights[name])


def test_a_repeated_forward_gives_the_same_bits(tiny, make_batch):
    encoder = ReducedEncoder(tiny, Scripted([("context", "drop")] * 3, 5, 32))
    batch = make_batch([9, 30, 2])
    with torch.inference_mode():
        first = encoder(batch)
        kept = first.hidden.clone()
        assert encoder(batch).logits.equal(first.logits)
    assert first.hidden.equal(kept)


# The previous decision


def previous_seen(backbone: Backbone, batch: Batch, mode: str, drops: set[int]) -> list[bool]:
    """Per layer, True if it has the previous Leap; ``drops`` are dropped after attention 0."""
    seen = []

    def decide(layer: int, point: str, tokens: Tokens) -> Decision | None:
        if point == "before_layer":
            seen.append(tokens.previous is not None)
            if tokens.previous is not None:
                assert tokens.previous.keep.shape == tokens.rows.shape
            return Leap(torch.ones_like(tokens.rows, dtype=torch.bool))
        if layer == 0:
            places = set(range(60)) - drops
            return keep_places(places, Drop)(tokens)
        return None

    ReducedEncoder(backbone, Fixed(3, decide))(batch, mode)
    return seen


def test_previous_is_none_after_any_drop_within_a_layer(tiny, make_batch, mode):
    # In the second case nobody is hit; whether a neighbour is must not decide what is shown.
    assert previous_seen(tiny, make_batch([5, 9]), mode, {7}) == [False, False, True]
    assert previous_seen(tiny, make_batch([5, 6]), mode, {7}) == [False, False, True]


class DropsTwice(TokenReducer):
    """Layer 0 drops place 3 for good, layer 1 drops place 2 and restores it."""

    def before_layer(self, layer: int, tokens: Tokens) -> Decision | None:
        return Drop(tokens.position != 3 - layer, restore=layer == 1) if layer < 2 else None


class LeapsFirst(TokenReducer):
    """Place 3 leaps over all layers, layer 1 drops place 2 within the layer and restores it."""

    def before_embedding(self, batch: Batch, words: Tensor) -> Leap:
        return Leap(batch.layout.position != 3)

    def after_attention(self, layer: int, tokens: Tokens, received: None) -> Decision | None:
        return Drop(tokens.position != 2, restore=True) if layer == 1 else None


@pytest.mark.parametrize("method", [DropsTwice, LeapsFirst])
def test_a_token_dropped_for_good_stays_away_if_another_is_restored(tiny, make_batch, mode, method):
    encoder = ReducedEncoder(tiny, method(Params(), 3, 32))
    outputs = encoder(make_batch([5, 3]), mode, inputs=True)
    assert outputs.rows.tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert outputs.layout.sizes == (4, 3)
    assert (outputs.hidden.abs().sum(1) > 1).all()
    if method is DropsTwice:
        place = 2 if mode == "reference" else outputs.trace.events[1].rows.tolist().index(2)
        assert outputs.hidden[2].equal(outputs.inputs[1][place])


def test_a_mean_leaves_out_what_is_dropped_for_good(tiny, make_batch, mode):
    """Of places 0 to 4 the mean is over 0, 1, 2 and 4, of which 2 enters through the map."""
    pooling = Pooling(32, "mean", normalise=False).double()
    assert pooling.map is not None
    nn.init.eye_(pooling.map.weight)
    backbone = Backbone(tiny.model.bert, pooling).eval()
    outputs = ReducedEncoder(backbone, DropsTwice(Params(), 3, 32))(make_batch([5]), mode)
    assert outputs.behind is not None and outputs.behind.tolist() == [0, 0, 1, 0]
    torch.testing.assert_close(outputs.logits[0], outputs.hidden.sum(0) / 4, rtol=0, atol=1e-12)


def test_unknown_mode_is_refused(tiny, make_batch):
    with pytest.raises(ValueError, match="'pakced'"):
        ReducedEncoder(tiny, KeepAll(None, 3))(make_batch([4]), "pakced")


def test_dropout_follows_the_backbone(make_backbone, make_batch, mode):
    """The encoder itself is in training mode throughout; the backbone's own mode decides."""
    backbone = make_backbone(hidden_dropout_prob=0.5)
    encoder, batch = ReducedEncoder(backbone, KeepAll(Leap, 3)), make_batch([9, 30])
    assert encoder.training
    assert encoder(batch, mode).logits.equal(encoder(batch, mode).logits)
    backbone.train()
    assert not encoder(batch, mode).logits.allclose(encoder(batch, mode).logits, atol=1e-3)

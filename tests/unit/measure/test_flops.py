"""Analytic FLOPs against hand-computed numbers and against fvcore."""

import pytest
import torch
from scripted import Fixed

from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.lot import LeapOfThought, Params
from lotbench.measure.flops import dense_flops, fvcore_flops, head_flops, reduced_flops
from lotbench.reducer import Decision, Drop, Leap, TokenReducer, Tokens, Trace
from lotbench.reducer import Params as NoParams


class KeepAll(TokenReducer):
    name = "keep-all"


class Costly(TokenReducer):
    """Adds 1000 operations at layer 0 and 7 per shown token at layer 1."""

    name = "costly"

    def overhead_flops(self, layer: int, n_tokens: torch.Tensor) -> torch.Tensor | float:
        return 1000.0 if layer == 0 else 7 * n_tokens


@pytest.fixture(scope="module")
def small(make_backbone) -> Backbone:
    """Two layers, D = 4, D_ff = 8, three labels."""
    return make_backbone(
        hidden_size=4, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8
    )


def test_head_by_hand(small):
    # pooler 2 * 4 * 4 = 32, classifier 2 * 4 * 3 = 24
    assert head_flops(small) == 56


def test_dense_by_hand(small):
    """Three tokens: four projections 4 * 2 * 3 * 16 = 384, attention 2 * 2 * 3 * 3 * 4 = 144,

    feed-forward 2 * 2 * 3 * 4 * 8 = 384: 912 a layer; two layers and the head: 1,880.
    One token: 128 + 16 + 128 = 272; 600.
    """
    assert dense_flops(torch.tensor([3, 1]), small).tolist() == [1880, 600]


def test_reduced_by_hand(small):
    """Layer 0: q = 2, k = 3, f = 2: 2 * 16 * (4 + 6) + 4 * 2 * 3 * 4 + 4 * 2 * 4 * 8 = 672.

    Layer 1: q = k = 2, f = 1: 2 * 16 * (4 + 4) + 4 * 2 * 2 * 4 + 4 * 1 * 4 * 8 = 448.
    Overhead 1000, then 7 for each of the 5 shown; head 56: 672 + 448 + 1035 + 56 = 2,211.
    """
    one = [torch.tensor([n]) for n in range(6)]
    trace = Trace(
        shown=[one[5], one[5]],
        queries=[one[2], one[2]],
        keys=[one[3], one[2]],
        feed_forward=[one[2], one[1]],
        lengths=one[5],
        embedded=one[5],
    )
    assert reduced_flops(trace, small, Costly(NoParams(), 2, 4)).tolist() == [2211]


def test_keeping_everything_costs_what_dense_costs(tiny, make_batch):
    batch, method = make_batch([30, 1, 7]), KeepAll(NoParams(), 3, 32)
    for mode in ("packed", "reference"):
        trace = ReducedEncoder(tiny, method)(batch, mode).trace
        assert reduced_flops(trace, tiny, method).equal(dense_flops(batch.layout.lengths, tiny))


def drop_by_place(layer: int, point: str, tokens: Tokens) -> Decision | None:
    """Takes a sixth of the text off its end at every layer, at one point and the other in turn."""
    if (point == "before_layer") == (layer % 2 == 0):
        length = tokens.batch.layout.total
        return Drop(tokens.position <= length * (5 - layer) // 6)
    return None


def leap_by_place(layer: int, point: str, tokens: Tokens) -> Decision | None:
    """A different two thirds before each layer, with a context."""
    if point == "after_attention":
        return None
    keep = ((tokens.position + layer) % 3 > 0) | tokens.layout.is_first
    return Leap(keep, context=tokens.hidden[tokens.layout.first])


METHODS = {
    "dense": lambda: KeepAll(NoParams(), 6, 384),
    "lot": lambda: LeapOfThought(Params(), 6, 384),
    "lot, wide": lambda: LeapOfThought(Params(router_width=256), 6, 384),
    "lot, no context": lambda: LeapOfThought(Params(leaping_keys="none"), 6, 384),
    "lot, all keys": lambda: LeapOfThought(Params(leaping_keys="all"), 6, 384),
    "lot, drop": lambda: LeapOfThought(Params(routing="drop"), 6, 384),
    "lot, every second layer": lambda: LeapOfThought(Params(decision_every=2), 6, 384),
    "lot, match after 2": lambda: LeapOfThought(Params(reads="match", after=2), 6, 384),
    "drops": lambda: Fixed(6, drop_by_place),
    "leaps": lambda: Fixed(6, leap_by_place),
}


@pytest.mark.parametrize("length", [2, 17, 64])
@pytest.mark.parametrize("name", list(METHODS))
def test_fvcore_agrees_to_the_last_operation(minilm, make_batch, name, length):
    method = METHODS[name]()
    if isinstance(method, LeapOfThought):
        for router in method.routers:
            torch.nn.init.normal_(router.outer.weight, std=3.0)
            torch.nn.init.zeros_(router.outer.bias)
    encoder = ReducedEncoder(minilm, method.double()).eval()
    batch = make_batch([[101, *range(2000, 1998 + length), 102]])
    with torch.no_grad():
        trace = encoder(batch).trace
    assert fvcore_flops(encoder, batch) == reduced_flops(trace, minilm, method).item()
    if name != "dense" and length > 2:
        computed = torch.stack(trace.feed_forward)
        assert computed.min() < length
        assert computed.max() > 1


class Scorer(TokenReducer):
    """One product with a vector: 2 * 32 operations for each token shown, before every layer."""

    name = "scorer"

    def before_layer(self, layer: int, tokens: Tokens) -> Decision | None:
        vector = torch.ones(32, dtype=tokens.hidden.dtype)
        score = tokens.hidden @ vector if layer else torch.mv(tokens.hidden, vector)
        return Drop((score > 0) | tokens.layout.is_first)

    def overhead_flops(self, layer: int, n_tokens: torch.Tensor) -> torch.Tensor:
        return n_tokens * 2 * 32


def test_fvcore_counts_products_with_vectors(tiny, make_batch):
    encoder, batch = ReducedEncoder(tiny, Scorer(NoParams(), 3, 32)), make_batch([30])
    with torch.no_grad():
        trace = encoder(batch).trace
    assert fvcore_flops(encoder, batch) == reduced_flops(trace, tiny, encoder.reducer).item()


def test_fvcore_traces_one_text_at_a_time(tiny, make_batch):
    with pytest.raises(ValueError, match="one example"):
        fvcore_flops(ReducedEncoder(tiny, KeepAll(NoParams(), 3, 32)), make_batch([2, 3]))

"""Shares of time, with a clock that only the watched parts advance."""

import pytest
import torch
from tiny_models import random_model

from lotbench.engine import packed
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.pooling import Pooling
from lotbench.measure.breakdown import (
    ATTENTION,
    DECISIONS,
    FEED_FORWARD,
    MOVES,
    RECEIVED,
    REST,
    time_shares,
)
from lotbench.reducer import Drop, Leap, Params, TokenReducer

LAYERS = 3


class Costly(TokenReducer):
    """Leaps over one token in each layer and drops another after attention; both take 16 s."""

    clock: list[float]

    def before_layer(self, layer, tokens):
        self.clock[0] += 16
        return Leap(tokens.position != 1)

    def after_attention(self, layer, tokens, received):
        self.clock[0] += 16
        return Drop(tokens.position != 2)


@pytest.fixture
def clock(monkeypatch):
    """The seconds so far; each selection of rows takes 32."""
    now = [0.0]
    select = packed.select

    def slow(*arguments):
        now[0] += 32
        return select(*arguments)

    monkeypatch.setattr(packed, "select", slow)
    return now


@pytest.fixture
def backbone(make_backbone, clock):
    """A backbone in which some modules advance the clock."""
    model = make_backbone().float()
    bert = model.model.bert

    def costs(module, seconds):
        spend(clock, module, seconds)

    costs(bert.embeddings.word_embeddings, 100)
    for layer in bert.encoder.layer:
        costs(layer.attention.self.value, 1)
        costs(layer.attention.output.LayerNorm, 2)
        costs(layer.intermediate.dense, 4)
        costs(layer.output.LayerNorm, 8)
    costs(bert.pooler.dense, 200)
    return model


def spend(clock, module, seconds):
    """Lets each call of a module advance the clock."""

    def advance(*_):
        clock[0] += seconds

    module.register_forward_hook(advance)


def watch(encoder, calls, padded, clock):
    with torch.inference_mode():
        return time_shares(encoder, calls, padded, clock=lambda: clock[0])


@pytest.fixture
def costly(clock):
    """A method that takes time."""
    reducer = Costly(Params(), LAYERS, 32)
    reducer.clock = clock
    return reducer


def shares_of(decisions=0, received=0, moves=0, attention=0, feed_forward=0, rest=0):
    """The shares of these seconds: all but the rest are of one layer."""
    seconds = [LAYERS * own for own in (decisions, received, moves, attention, feed_forward)]
    names = (DECISIONS, RECEIVED, MOVES, ATTENTION, FEED_FORWARD, REST)
    total = sum(seconds) + rest
    shares = zip(names, [*seconds, rest], strict=True)
    return pytest.approx({name: value / total for name, value in shares})


def test_every_second_of_the_packed_path_counts_in_its_section(backbone, costly, make_batch, clock):
    encoder, batch = ReducedEncoder(backbone, costly), make_batch([5, 4])
    shares = watch(encoder, [lambda: encoder(batch)] * 2, False, clock)
    # Three selections a layer: the leap, the drop, and the drop among all that are carried.
    assert shares == shares_of(decisions=32, moves=96, attention=3, feed_forward=12, rest=300)
    assert sum(shares.values()) == pytest.approx(1)


def test_both_products_of_every_feed_forward_count_in_it(make_batch, clock):
    # DistilBERT's own feed-forward is one module, which the packed path does not call.
    model = random_model("distilbert", LAYERS)
    for layer in model.distilbert.transformer.layer:
        for part in (layer.ffn.lin1, layer.ffn.lin2):
            spend(clock, part, 1)
    encoder = ReducedEncoder(Backbone(model), TokenReducer(Params(), LAYERS, 32))
    batch, ids = make_batch([5, 4]), torch.ones(2, 7, dtype=torch.int64)
    for padded, call in ((False, lambda: encoder(batch)), (True, lambda: model(input_ids=ids))):
        shares = watch(encoder, [call], padded, clock)
        assert shares[FEED_FORWARD] == 1


def test_the_padded_model_has_no_decisions_and_moves(backbone, clock):
    encoder = ReducedEncoder(backbone, TokenReducer(Params(), LAYERS, 32))
    ids = torch.ones(2, 7, dtype=torch.int64)
    shares = watch(encoder, [lambda: backbone.model(input_ids=ids)], True, clock)
    assert shares == shares_of(attention=3, feed_forward=12, rest=300)


def test_pooling_is_the_rest(backbone, costly, make_batch, clock):
    pooling = Pooling(32, "mean", normalise=True)
    spend(clock, pooling, 50)
    pooled = Backbone(backbone.model.bert, pooling)
    encoder, batch = ReducedEncoder(pooled, costly), make_batch([5, 4])
    shares = watch(encoder, [lambda: encoder(batch)], False, clock)
    assert shares == shares_of(decisions=32, moves=96, attention=3, feed_forward=12, rest=150)


@pytest.mark.parametrize(("explicit", "extra"), [(64, 48), (10, 0)])
def test_received_attention_is_the_additional_time_of_its_kernel(
    backbone, make_batch, clock, monkeypatch, explicit, extra
):
    def slow(name, seconds):
        kernel = getattr(Backbone, name)

        def run(*arguments):
            clock[0] += seconds
            return kernel(*arguments)

        monkeypatch.setattr(Backbone, name, staticmethod(run))

    slow("attend", 16)
    slow("attend_and_receive", explicit)
    reducer = TokenReducer(Params(), LAYERS, 32)
    reducer.needs = frozenset({"received_attention"})
    encoder, batch = ReducedEncoder(backbone, reducer), make_batch([5, 4])
    shares = watch(encoder, [lambda: encoder(batch)], False, clock)
    # In the whole, the kernel that was run beside is not.
    attention = 3 + explicit - extra
    assert shares == shares_of(received=extra, attention=attention, feed_forward=12, rest=300)


def test_the_stopwatch_is_removed_completely(backbone, costly, make_batch, clock):
    encoder, batch = ReducedEncoder(backbone, costly), make_batch([5, 4])

    def hooks():
        return [
            (len(module._forward_hooks), len(module._forward_pre_hooks), sorted(vars(module)))
            for module in encoder.modules()
        ]

    before = hooks()
    watch(encoder, [lambda: encoder(batch)], False, clock)
    assert hooks() == before

    def fails():
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        watch(encoder, [fails], False, clock)
    assert hooks() == before

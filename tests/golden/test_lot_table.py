"""Leap-of-Thought with `router: table`: the table, the places, and what is refused."""

import pytest
import torch

from baselines.static import Static
from lotbench.conformance.tiny import VOCABULARY, WIDTH
from lotbench.deploy.graph import export
from lotbench.deploy.session import feed, open_session
from lotbench.lot import FixedBudget, LeapOfThought
from lotbench.reducer import Drop, Leap
from lotbench.routers import PLACES, WordRouter


@pytest.fixture
def table(reduced):
    """An encoder whose router and places have random numbers, with its table written."""

    def build(cls=LeapOfThought, **values):
        encoder = reduced(cls, router="table", **values)
        router = encoder.reducer.word_router
        with torch.no_grad():
            router.places.normal_()
            for weight in (router.inner.weight, router.outer.weight):
                weight.normal_()
            encoder.reducer.after_training(encoder.backbone.words)
        return encoder

    return build


def test_the_table_has_the_scores_of_the_router(table, batch):
    encoder, texts = table(), batch([9, 4])
    router, words = encoder.reducer.word_router, encoder.backbone.words
    assert router.table.shape == (VOCABULARY,)
    logits, found = router.computed(texts, words), router.looked_up(texts)
    wanted = logits[:, 1] - logits[:, 0]
    torch.testing.assert_close(found[:, 1] - found[:, 0], wanted, rtol=0, atol=1e-12)
    # Word 3 at place 2, by hand: W2 gelu(W1 LN(e)) and the bias of the place.
    x = router.norm(words[3])
    x = torch.nn.functional.gelu(router.inner.weight @ x + router.inner.bias)
    x = router.outer.weight @ x + router.outer.bias
    texts.input_ids[2] = 3
    score = router.looked_up(texts)[2, 1]
    assert score.item() == pytest.approx((x[1] - x[0] + router.places[2]).item(), abs=1e-12)


def test_a_counted_table_keeps_what_static_keeps(reduced, batch):
    counted = {"router": "table", "guidance": "counted"}
    fixed, static = reduced(FixedBudget, **counted), reduced(Static)
    texts = batch([9, 4, 7])
    texts.saliency = torch.linspace(0.1, 3, 20).double().sin().abs()
    for encoder in (fixed, static):
        encoder.reducer.before_training(iter([texts]), encoder.backbone.words)
    table = fixed.reducer.word_router.table
    torch.testing.assert_close(table.exp(), static.reducer.importance)
    fixed.reducer.after_training(fixed.backbone.words)
    assert fixed.reducer.word_router.table is table
    for budget in (0.3, 0.5, 0.8):
        kept = []
        for encoder in (static, fixed):
            with encoder.reducer.at_budget(budget), torch.no_grad():
                kept.append(encoder(texts).trace.events[0].decision.keep)
        assert kept[0].equal(kept[1])
    # It learns nothing: in training it is read as well, and there is no loss of it.
    fixed.train()
    hard = fixed.reducer.before_embedding(texts, fixed.backbone.words)
    assert hard.keep.equal(fixed.eval().reducer.before_embedding(texts, None).keep)
    assert fixed.reducer.loss(None, texts, None) == {}
    # With a threshold, a word is processed if its saliency is above its text's mean.
    open_ended = reduced(LeapOfThought, **counted)
    open_ended.reducer.word_router.table = table
    keep = open_ended.reducer.before_embedding(texts, fixed.backbone.words).keep
    above = static.reducer.importance[texts.input_ids] > 1
    assert keep.equal(above | texts.layout.is_first)


def test_narrow_words_are_padded_behind():
    """The word (3, 0) becomes (3, 0, 0), whose norm begins with sqrt(2): gelu gives 1.303.

    Padded in front it would begin with -1 / sqrt(2), of which gelu gives -0.170.
    """
    router = WordRouter(3, 1, 0.0)
    with torch.no_grad():
        router.inner.weight.copy_(torch.tensor([[1.0, 0.0, 0.0]]))
        router.outer.weight.copy_(torch.tensor([[0.0], [1.0]]))
        router.inner.bias.zero_()
    assert router.of_words(torch.tensor([[3.0, 0.0]]))[0].tolist() == pytest.approx(
        [0, 1.303], abs=1e-3
    )


def test_a_token_is_kept_if_its_word_and_place_exceed_the_threshold(table, batch):
    encoder, texts = table(), batch([5])
    router = encoder.reducer.word_router
    with torch.no_grad():
        router.table.zero_()
        router.table[:5] = torch.tensor([-9.0, 1.0, -1.0, -1.0, 1.0])
        router.places.zero_()
        router.places[2:5] = torch.tensor([2.0, 0.5, -3.0])
    texts.input_ids[:] = torch.arange(5)
    decision = encoder.reducer.before_embedding(texts, encoder.backbone.words)
    # [CLS] stays; 1 > 0; -1 + 2 > 0; -1 + 0.5 and 1 - 3 are not.
    assert isinstance(decision, Leap)
    assert decision.keep.tolist() == [True, True, True, False, False]


def test_places_behind_the_last_share_its_bias(batch):
    router = WordRouter(WIDTH, 4, 2.0)
    with torch.no_grad():
        router.places[-1] = 7
    bias = router.bias(batch([PLACES + 3]).layout)
    assert bias[-4:].tolist() == [7, 7, 7, 7] and bias[-5] == 0


def test_training_and_a_new_model_have_no_table(table, reduced, batch):
    encoder, texts = table(), batch([9])
    tokens = texts.layout.lengths.double()
    assert encoder.reducer.overhead_flops(-1, tokens) == 0
    written = encoder.reducer.before_embedding(texts, encoder.backbone.words)
    encoder.reducer.word_router.table.zero_()
    trained = encoder.train().reducer.before_embedding(texts, encoder.backbone.words)
    assert trained.keep.equal(written.keep)
    # 2 x (32 x 32 + 32 x 2) multiply-adds for each of 9 tokens
    fresh = reduced(LeapOfThought, router="table").reducer
    assert fresh.overhead_flops(-1, tokens).item() == 9 * 2 * (32 * 32 + 32 * 2)
    assert fresh.overhead_flops(0, tokens) == 0
    once = reduced(LeapOfThought, layers=2, router="table", decision_every=2).reducer
    assert not once.routers


@pytest.mark.parametrize("routing", ["leap", "drop"])
@pytest.mark.slow
def test_packed_reference_and_the_exported_graph_agree(table, batch, routing):
    encoder, texts = table(routing=routing, layers=2), batch([9, 4, 12])
    with torch.no_grad():
        packed, reference = (encoder(texts, mode) for mode in ("packed", "reference"))
    assert 3 < packed.layout.total < 25
    torch.testing.assert_close(packed.logits, reference.logits, rtol=0, atol=1e-12)
    session = open_session(export(encoder.float()).model.SerializeToString(), "onnx-fp32", 1)
    ids = [part.tolist() for part in texts.input_ids.split(texts.layout.sizes)]
    found = session(feed(session.inputs, ids, [[0] * len(row) for row in ids], [0] * 3))
    assert found == pytest.approx(packed.logits.numpy(), abs=1e-4)


def test_a_fixed_budget_keeps_its_share_of_the_best_words(table, batch):
    encoder, texts = table(FixedBudget, keep_ratio=0.5), batch([8, 3])
    decision = encoder.reducer.before_embedding(texts, encoder.backbone.words)
    assert decision.sizes == (4, 2)
    scores = encoder.reducer.word_router.looked_up(texts)[1:8, 1]
    assert set(decision.keep[1:8].nonzero()[:, 0].tolist()) == set(scores.topk(3).indices.tolist())


def test_a_dropped_token_is_the_same_token(table, batch):
    texts = batch([9, 4])
    leap, drop = (
        table(routing=routing).reducer.before_embedding(texts, torch.zeros(VOCABULARY, WIDTH))
        for routing in ("leap", "drop")
    )
    assert isinstance(drop, Drop) and leap.keep.equal(drop.keep)


def test_the_guidance_reaches_words_and_places(reduced, batch):
    encoder, texts = reduced(LeapOfThought, router="table").train(), batch([9, 4])
    outputs = encoder(texts)
    (loss,) = encoder.reducer.loss(outputs, texts, outputs.trace).values()
    loss.backward()
    router = encoder.reducer.word_router
    assert router.places.grad[1:9].abs().min() > 0 and router.places.grad[9:].abs().max() == 0
    assert router.inner.weight.grad.abs().max() > 0
    assert encoder.backbone.words.grad.abs().max() > 0


def test_detach_router_leaves_the_words_alone(reduced, batch):
    encoder = reduced(LeapOfThought, router="table", detach_router=True).train()
    texts = batch([9, 4])
    outputs = encoder(texts)
    (loss,) = encoder.reducer.loss(outputs, texts, outputs.trace).values()
    loss.backward()
    assert encoder.backbone.words.grad is None

"""Decisions before the embedding: what is embedded, and that both modes and all points agree."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scripted import MODES
from tiny_models import KINDS, random_model
from torch import Tensor

from lotbench.batch import Batch
from lotbench.conformance.tiny import pooled_backbone
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.measure.flops import fvcore_flops, reduced_flops
from lotbench.reducer import Decision, Drop, Leap, Params, TokenReducer, Tokens

LAYERS = 2


class Early(TokenReducer):
    """Decides what it is given, before the embedding or before the layers."""

    def __init__(self, decide: Callable[[], Decision], early: bool = True) -> None:
        super().__init__(Params(), LAYERS, 32)
        self.decide, self.early, self.asked = decide, early, 0

    def before_embedding(self, batch: Batch, words: Tensor) -> Decision | None:
        return self.decide() if self.early else None

    def before_layer(self, layer: int, tokens: Tokens) -> Decision | None:
        self.asked += 1
        first = layer == 0 or isinstance(self.decide(), Leap)
        return self.decide() if first and not self.early else None


def embedded(encoder: ReducedEncoder, batch: Batch, mode: Any = "packed") -> tuple[Any, int]:
    """The outputs of a pass, and the number of tokens that it embeds."""
    rows: list[int] = []
    words = encoder.backbone.model.get_input_embeddings()
    hook = words.register_forward_hook(lambda *given: rows.append(len(given[2])))
    with torch.no_grad():
        outputs = encoder(batch, mode)
    hook.remove()
    return outputs, sum(rows)


@pytest.fixture(scope="module")
def pooled() -> Backbone:
    """A tiny encoder of sentence vectors that pools all tokens, in float64."""
    return pooled_backbone(LAYERS).double().eval()


KEEP = torch.tensor([1, 0, 1, 0, 0, 1, 1, 0]) > 0
READ = {
    "a drop": (lambda: Drop(KEEP), False, False),
    "a leap": (lambda: Leap(KEEP), False, True),
    "a leap that knows its sizes": (lambda: Leap(KEEP, sizes=(2, 2)), False, True),
    "a drop that restores": (lambda: Drop(KEEP, restore=True), True, True),
    "a leap with keys": (lambda: Leap(KEEP, keys=~KEEP), True, True),
}


@pytest.mark.parametrize("vectors", [False, True], ids=["logits", "vectors"])
@pytest.mark.parametrize("case", list(READ))
def test_an_early_decision_equals_one_before_the_layers(
    make_backbone, pooled, make_batch, case, vectors, mode
):
    decide, by_itself, by_a_mean = READ[case]
    backbone = pooled if vectors else make_backbone(LAYERS)
    batch = make_batch([5, 3])
    early, late = (ReducedEncoder(backbone, Early(decide, early=own)) for own in (True, False))
    found, rows = embedded(early, batch, mode)
    wanted, _ = embedded(late, batch, mode)
    torch.testing.assert_close(found.logits, wanted.logits, rtol=0, atol=1e-12)
    for counted in ("queries", "keys", "feed_forward"):
        assert getattr(found.trace, counted)[1].equal(getattr(wanted.trace, counted)[1])
    read = by_a_mean if vectors else by_itself
    assert found.trace.embedded.tolist() == ([5, 3] if read else [2, 2])
    if mode == "packed":
        assert rows == (8 if read else 4)


def test_both_modes_show_the_same_tokens(make_backbone, pooled, make_batch):
    for backbone in (make_backbone(LAYERS), pooled):
        for decide, *_ in READ.values():
            encoder, batch = ReducedEncoder(backbone, Early(decide)), make_batch([5, 3])
            one, other = (embedded(encoder, batch, mode)[0] for mode in MODES)
            assert torch.stack(one.trace.shown).equal(torch.stack(other.trace.shown))
            assert one.rows.equal(other.rows)
            torch.testing.assert_close(one.hidden, other.hidden, rtol=0, atol=1e-12)


@given(st.data())
@pytest.mark.slow
def test_what_is_not_embedded_changes_nothing(make_backbone, make_batch, data):
    lengths = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    batch = make_batch(lengths)
    keep = torch.tensor(
        data.draw(st.lists(st.booleans(), min_size=sum(lengths), max_size=sum(lengths)))
    )
    keep |= batch.layout.is_first
    encoder = ReducedEncoder(make_backbone(LAYERS), Early(lambda: Drop(keep)))
    found, rows = embedded(encoder, batch)
    assert rows == int(keep.sum())
    wanted, _ = embedded(encoder, batch, "reference")
    torch.testing.assert_close(found.logits, wanted.logits, rtol=0, atol=1e-12)
    batch.input_ids[~keep] = 7
    torch.testing.assert_close(embedded(encoder, batch)[0].logits, found.logits, rtol=0, atol=0)


@pytest.mark.parametrize("kind", list(KINDS))
def test_rows_of_the_embedding_equal_those_of_all(kind, make_batch):
    backbone, batch = Backbone(random_model(kind)), make_batch([7, 1, 12])
    at = torch.tensor([0, 3, 6, 7, 8, 19])
    with torch.no_grad():
        whole = backbone.embed(batch.input_ids, batch.token_type_ids, batch.layout)
        some = backbone.embed(batch.input_ids, batch.token_type_ids, batch.layout, at)
    assert some.equal(whole[at])  # to the last digit
    assert backbone.words.shape[0] == 100


def test_what_is_embedded_is_counted(make_batch):
    """ELECTRA's projection of narrow embeddings is paid for the tokens that are embedded."""
    backbone = Backbone(random_model("electra, narrow embeddings", LAYERS)).eval()
    encoder = ReducedEncoder(backbone, Early(lambda: Drop(torch.tensor([1, 0, 1, 0, 0]) > 0)))
    batch = make_batch([5])
    outputs, rows = embedded(encoder, batch)
    assert rows == 2
    counted = reduced_flops(outputs.trace, backbone, encoder.reducer)
    assert counted.item() == fvcore_flops(encoder, batch)


def test_a_leap_over_all_layers_is_decided_once(pooled, make_batch):
    encoder = ReducedEncoder(pooled, Early(lambda: Leap(KEEP)))
    outputs, _ = embedded(encoder, make_batch([5, 3]))
    assert [(event.layer, event.point) for event in outputs.trace.events] == [
        (-1, "before_embedding")
    ]
    assert encoder.reducer.asked == 0
    assert outputs.rows.tolist() == list(range(8))  # what leapt is in the mean


def test_protected_tokens_are_embedded(make_backbone, make_batch):
    batch = make_batch([[5, 6, 9, 7, 8]])
    keep = torch.tensor([1, 0, 0, 0, 0]) > 0
    encoder = ReducedEncoder(make_backbone(LAYERS), Early(lambda: Drop(keep)), protect=9)
    outputs, rows = embedded(encoder, batch)
    assert rows == 3 and outputs.rows.tolist() == [0, 1, 2]


def test_training_embeds_every_token_so_that_dropout_draws_alike(make_backbone, make_batch):
    encoder = ReducedEncoder(
        make_backbone(LAYERS, hidden_dropout_prob=0.5), Early(lambda: Drop(KEEP))
    )
    late = ReducedEncoder(encoder.backbone, Early(lambda: Drop(KEEP), early=False))
    answers = []
    for each in (encoder, late):
        torch.manual_seed(3)
        outputs, rows = embedded(each.train(), make_batch([5, 3]))
        assert rows == 8
        answers.append(outputs.logits)
    assert answers[0].equal(answers[1])
    # What is counted is what a trained model embeds.
    assert embedded(encoder, make_batch([5, 3]))[0].trace.embedded.tolist() == [2, 2]


def test_a_soft_leap_reaches_the_layers(make_backbone, make_batch):
    weight = torch.full((8,), 0.5, dtype=torch.float64, requires_grad=True)
    whole = torch.ones(8, dtype=torch.bool)
    answers = []
    for early in (True, False):
        method = Early(lambda: Leap(whole, weight=weight), early)
        answers.append(
            ReducedEncoder(make_backbone(LAYERS), method)(make_batch([5, 3]), "reference")
        )
    torch.testing.assert_close(answers[0].logits, answers[1].logits, rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(answers[0].logits.sum(), weight)
    assert gradient.abs().min() > 0


class DropsLater(Early):
    """Also drops the last token of what a layer computes."""

    def after_attention(self, layer: int, tokens: Tokens, received: Any) -> Drop:
        last = torch.isin(tokens.layout.rows, tokens.layout.cu_seqlens[1:] - 1)
        return Drop(~last | tokens.layout.is_first)


@pytest.mark.parametrize("vectors", [False, True], ids=["logits", "vectors"])
@pytest.mark.parametrize("case", ["a leap", "a leap with keys"])
def test_a_leap_over_all_layers_holds_after_a_drop(
    make_backbone, pooled, make_batch, case, vectors
):
    backbone = pooled if vectors else make_backbone(LAYERS)
    encoder = ReducedEncoder(backbone, DropsLater(READ[case][0]))
    one, other = (embedded(encoder, make_batch([5, 3]), mode)[0] for mode in MODES)
    torch.testing.assert_close(one.logits, other.logits, rtol=0, atol=1e-12)
    for counted in ("queries", "keys", "feed_forward"):
        assert torch.stack(getattr(one.trace, counted)).equal(
            torch.stack(getattr(other.trace, counted))
        )
    # Rows 2 and 6 are dropped in layer 0, and [CLS] alone is left to compute.
    assert [own.tolist() for own in one.trace.queries] == [[2, 2], [1, 1]]


FAULTS = {
    "a weight as key": (lambda: Drop(KEEP, as_key=True), "as_key is given"),
    "a place at the output": (lambda: Drop(KEEP, at_output=True), "at_output is given"),
    "a context": (lambda: Leap(KEEP, context=torch.zeros(2, 32)), "no token has a state yet"),
    "a wrong shape": (lambda: Leap(KEEP[:5]), r"\(T,\) = \(8,\)"),
    "nothing left": (lambda: Drop(torch.zeros(8) > 0), "drops every token of text 0"),
}


@pytest.mark.parametrize("case", list(FAULTS))
def test_a_faulty_early_decision_is_named(make_backbone, make_batch, case):
    decide, message = FAULTS[case]
    with pytest.raises(ValueError, match=f"before_embedding: .*{message}"):
        ReducedEncoder(make_backbone(LAYERS), Early(decide))(make_batch([5, 3]))

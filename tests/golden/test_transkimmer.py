"""Samples, skim loss, threshold and start of Transkimmer, against hand-computed numbers."""

import math

import pytest
import torch

from baselines import transkimmer
from baselines.transkimmer import Transkimmer
from lotbench.reducer import Drop, Event, Leap, Tokens, Trace


@pytest.fixture
def no_noise(monkeypatch):
    """Takes the noise out of the Gumbel-softmax."""
    monkeypatch.setattr(transkimmer.F, "gumbel_softmax", lambda logits: logits.softmax(-1))


def margins(*values: float) -> torch.Tensor:
    """Logits (skim, keep) whose differences are these."""
    return torch.tensor([[0.0, value] for value in values], requires_grad=True)


def test_a_sample_is_hard_and_its_gradient_is_soft(no_noise):
    logits = margins(-9.0, math.log(3), -math.log(4))
    first = torch.tensor([True, False, False])
    decision = transkimmer.skim(logits, first)
    assert decision.keep.tolist() == [True, True, False]
    assert decision.weight.tolist() == [1.0, 1.0, 0.0]
    decision.weight.sum().backward()
    # P(keep) = 3/4 and 1/5; the derivative by the margin is 3/4 * 1/4 and 1/5 * 4/5; [CLS]: none.
    assert logits.grad[:, 1].tolist() == pytest.approx([0, 3 / 16, 4 / 25])


def test_a_skimmed_token_stays_skimmed_and_learns_what_it_would_be_worth(no_noise):
    logits = margins(0.0, 2.0, 2.0)
    before = torch.tensor([1.0, 0.0, 1.0], requires_grad=True)
    decision = transkimmer.skim(logits, torch.tensor([True, False, False]), before)
    assert decision.weight.tolist() == [1.0, 0.0, 1.0]
    assert decision.keep.tolist() == [True, False, True]
    decision.weight.sum().backward()
    assert before.grad.tolist() == [1.0, 1.0, 1.0]  # the token would be kept here
    assert logits.grad[1].tolist() == [0.0, 0.0]  # but it is no longer asked


def test_the_loss_is_the_mean_kept_share_of_texts_and_layers(reduced, batch):
    reducer = reduced(Transkimmer, layers=2, skim_weight=0.4).reducer.train()
    reducer.start_stage(reducer.stages()[0])
    texts = batch([4, 2])
    kept = [[1, 1, 0, 1, 1, 1], [1, 0, 0, 0, 1, 0]]
    events = []
    for layer, mask in enumerate(kept):
        weight = torch.tensor(mask, dtype=torch.float32)
        decision = Leap(weight > 0.5, weight)
        events.append(Event(layer, "before_layer", decision, texts.layout, texts.layout.rows))
    # Layer 0: (3/4 + 2/2) / 2 = 7/8.  Layer 1: (1/4 + 1/2) / 2 = 3/8.  Mean 5/8, times 0.4.
    assert reducer.loss(None, texts, Trace(events=events))["skim"].item() == pytest.approx(0.25)
    reducer.start_stage(reducer.stages()[1])
    assert reducer.loss(None, texts, Trace()) == {}


def test_evaluation_keeps_what_is_above_the_threshold_and_restores_the_rest(reduced, batch):
    reducer = reduced(Transkimmer, layers=1).reducer
    logits = margins(-9.0, math.log(3), 0.0, math.log(4)).double()
    reducer.predictors[0] = torch.nn.Identity()
    texts = batch([4])
    tokens = Tokens(logits, texts.layout, texts.layout.rows, texts)
    # P(keep) = 3/4, 1/2 and 4/5.  The logits of the third are equal, so it is not kept.
    decision = reducer.before_layer(0, tokens)
    assert isinstance(decision, Drop) and decision.restore and decision.weight is None
    assert decision.keep.tolist() == [True, True, False, True]
    reducer.threshold = 0.78
    assert reducer.before_layer(0, tokens).keep.tolist() == [True, False, False, True]


def test_it_starts_by_keeping_everything(reduced, batch):
    encoder = reduced(Transkimmer, layers=3)
    with torch.no_grad():
        trace = encoder(batch([7, 4])).trace
    assert [count.tolist() for count in trace.queries] == [[7, 4]] * 3
    for event in trace.decisions():
        margin = encoder.reducer.predictors[event.layer](torch.randn(9, 32).double())
        assert (margin[:, 1] - margin[:, 0]).sub(10).abs().max() < 2


def test_a_pass_of_the_skim_stage_equals_the_removal_of_what_it_skims(reduced, batch):
    encoder = reduced(Transkimmer, layers=3)
    reducer, texts = encoder.reducer, batch([9, 6])
    with torch.no_grad():
        for predictor in reducer.predictors:
            predictor.layers[-1].bias.copy_(torch.tensor([0.0, 1.0]))
        torch.manual_seed(0)
        reducer.training, reducer.stage = True, reducer.stages()[0]
        soft = encoder(texts, "reference")
        kept = [event.decision.keep for event in soft.trace.decisions()]
        shown = [torch.ones(15, dtype=torch.bool), *kept]
        assert [int(mask.sum()) for mask in kept] == [11, 9, 6]

        class Replay(Transkimmer):
            def before_layer(self, layer, tokens):
                return Drop(kept[layer][shown[layer]], restore=True)

        hard = encoder(texts, reducer=Replay(reducer.params, 3, 32))
    torch.testing.assert_close(soft.logits, hard.logits, rtol=0, atol=1e-10)
    torch.testing.assert_close(soft.hidden, hard.hidden, rtol=0, atol=1e-10)

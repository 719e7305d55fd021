"""Shares, soft weights, losses and selection of AdapLeR, against hand-computed numbers."""

import math
from dataclasses import replace

import pytest
import torch
from parts import tokens_of, trace_of

from baselines import adapler
from baselines.adapler import AdapLeR
from lotbench.ragged import Ragged
from lotbench.reducer import Step


class Given(torch.nn.Module):
    """A predictor whose shares are the states."""

    def forward(self, hidden):
        return hidden.log()


@pytest.fixture
def given(reduced):
    """A method of two layers that is told the shares, in evaluation mode."""
    method = reduced(AdapLeR, layers=2, gamma=0.5, phi=0.1).reducer
    method.predictors = torch.nn.ModuleList([Given(), Given()])
    return method


def test_shares_sum_to_one_without_cls():
    logits = torch.tensor([9.0, 0.0, math.log(3), 5.0, 0.0, 9.0])
    share = adapler.contribution(logits, Ragged.from_lengths([3, 2, 1]))
    assert share[[1, 2, 4]].tolist() == pytest.approx([0.25, 0.75, 1.0])
    assert share[[0, 3]].tolist() == [0.0, 0.0]


def test_the_soft_weight_falls_steeply_below_the_threshold():
    share = torch.tensor([0.0, 0.1, 0.2, 0.6, 1.0]).double()
    edit = adapler.log_edit(share, torch.tensor(0.2).double(), 10.0)
    # Below 0.2: 10 (x - 0.2) / 0.2 - 0.01.  Above: (x - 1) 0.01 / 0.8.  Both are -0.01 at 0.2.
    assert edit.tolist() == pytest.approx([-10.01, -5.01, -0.01, -0.005, 0.0], abs=1e-6)
    # 1e5 (0 - 0.2) / 0.2 is cut at -1e4; just above the threshold nothing is left of the edit.
    hard = adapler.log_edit(share[[0, 2]] + torch.tensor([0.0, 0.001]), torch.tensor(0.2), 1e5)
    assert hard.tolist() == pytest.approx([-1e4, 0.0], abs=1e-5)


def test_the_sharpness_grows_evenly_in_log(given):
    found = []
    for progress in (0.0, 0.5, 1.0):
        step = Step(given.stages()[0], progress, torch.Generator())
        assert given.training_step(None, None, step) is None
        found.append(given.sharpness)
    assert found == pytest.approx([10, 1e3, 1e5])


def test_selection_compares_with_the_mean_share(given, batch):
    with torch.no_grad():
        given.eta[0] = 0.6
    tokens = tokens_of(batch([5, 1]), torch.tensor([9.0, 0.1, 0.2, 0.3, 0.4, 1.0]).double())
    # The mean of four shares is 1/4: 0.6 / 4 = 0.15.  [CLS] stays, also alone.
    decision = given.before_layer(0, tokens)
    assert decision.weight is None and not decision.restore
    assert decision.keep.tolist() == [True, False, True, True, True, True]
    given.threshold_scale = 1.4  # 0.21; with [CLS] the mean would be 1/5, and this 0.168
    assert given.before_layer(0, tokens).keep.tolist() == [True, False, False, True, True, True]


@pytest.fixture
def softened(given, batch):
    """The method in its soft stage, its tokens, and its decisions before two layers."""
    given.train().start_stage(given.stages()[0])
    assert given.in_soft_stage
    with torch.no_grad():
        given.eta.copy_(torch.tensor([0.4, 0.8]))
    states = torch.tensor([9.0, 0.1, 0.9], dtype=torch.float64, requires_grad=True)
    tokens = tokens_of(batch([3]), states)
    first = given.before_layer(0, tokens)
    second = given.before_layer(1, replace(tokens, previous=first))
    return given, tokens, [first, second]


# Layer 0: delta 0.4 / 2 = 0.2.  Edits 10 (0.1 - 0.2) / 0.2 - 0.01 and (0.9 - 1) 0.01 / 0.8.
EDITS = [-5.01, -0.00125]
W = [math.exp(edit) for edit in EDITS]
# Layer 1: shares 0.1 w and 0.9 v, divided by their sum; n = w + v, or 1 if that is less.
SHARES = [0.1 * W[0] / (0.1 * W[0] + 0.9 * W[1]), 0.9 * W[1] / (0.1 * W[0] + 0.9 * W[1])]
DELTA = 0.8 / sum(W)
LATER = [10 * (SHARES[0] - DELTA) / DELTA - 0.01, (SHARES[1] - 1) * 0.01 / (1 - DELTA)]


def test_soft_weights_are_multiplied_and_shares_are_of_what_is_left(softened):
    _, _, decisions = softened
    assert all(d.keep.all() and d.as_key for d in decisions)
    assert sum(W) > 1
    assert decisions[0].weight.tolist() == pytest.approx([1, *W], rel=1e-5)
    assert decisions[1].aux["share"].tolist()[1:] == pytest.approx(SHARES, rel=1e-5)
    total = [math.exp(a + b) for a, b in zip(EDITS, LATER, strict=True)]
    assert decisions[1].weight.tolist() == pytest.approx([1, *total], rel=1e-4)


def test_the_price_of_tokens_teaches_the_thresholds_alone(softened):
    method, tokens, decisions = softened
    tokens.batch.saliency = torch.tensor([5.0, 1.0, 9.0])
    terms = method.loss(None, tokens.batch, trace_of(tokens, decisions))
    # 0.1 times the lengths, with [CLS]: 1 + w + v, and 1 + the products.
    later = sum(math.exp(a + b) for a, b in zip(EDITS, LATER, strict=True))
    assert terms["length"].item() == pytest.approx(0.1 * (2 + sum(W) + later), rel=1e-4)
    terms["length"].backward()
    assert tokens.hidden.grad is None and (method.eta.grad < 0).all()


def test_the_divergence_teaches_the_predictors_alone(softened):
    method, tokens, decisions = softened
    tokens.batch.saliency = torch.tensor([5.0, 1.0, 1.0])
    terms = method.loss(None, tokens.batch, trace_of(tokens, decisions))
    # Layer 0: shares 0.1 and 0.9 against 1/2 and 1/2.  Layer 1: the wanted shares are of what is
    # left, too, so the factors w and v are in both.
    first = 0.5 * math.log(0.5 / 0.1) + 0.5 * math.log(0.5 / 0.9)
    wanted = [own / sum(W) for own in W]
    second = sum(p * math.log(p / q) for p, q in zip(wanted, SHARES, strict=True))
    total = 0.5 * (2 * first + 1 * second)  # gamma, and L - l
    assert terms["divergence"].item() == pytest.approx(total, rel=1e-5)
    terms["divergence"].backward()
    assert method.eta.grad is None and (tokens.hidden.grad[1:] != 0).all()


def test_the_divergence_is_a_mean_over_texts_without_cls():
    # (1/4, 3/4) against (1/2, 1/2): ln(1/2) / 4 + ln(3/2) 3 / 4.  A text of [CLS] alone: 0.
    layout = Ragged.from_lengths([3, 1])
    wanted = torch.tensor([7.0, 1.0, 3.0, 2.0])
    share = torch.tensor([0.0, 0.5, 0.5, 1.0])
    one = math.log(0.5) / 4 + math.log(1.5) * 3 / 4
    assert adapler.divergence(wanted, share, layout).item() == pytest.approx(one / 2)


def test_thresholds_are_clipped_and_the_hard_stage_freezes_them(given):
    with torch.no_grad():
        given.eta.copy_(torch.tensor([-0.2, 1.3]))
        given.after_step()
    assert given.eta.tolist() == pytest.approx([0.01, 1.0])
    soft, hard = given.stages()
    assert (soft.soft, hard.soft) == (True, False)
    assert soft.learning_rates["eta"] == 1e-2 and hard.frozen == ("eta",)

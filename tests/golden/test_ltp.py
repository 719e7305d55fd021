"""Thresholds, soft masks, regulariser and selection of LTP, against hand-computed numbers."""

import math

import pytest
import torch
from parts import tokens_of, trace_of

from baselines import ltp
from baselines.ltp import LearnedTokenPruning
from lotbench.ragged import Ragged
from lotbench.reducer import Received


def test_thresholds_start_rising_linearly_from_zero():
    assert ltp.initial_thresholds(0.01, 4).tolist() == pytest.approx([0, 0.0025, 0.005, 0.0075])


def test_soft_mask_is_a_sigmoid_of_the_distance_to_the_threshold():
    score = torch.tensor([0.0, 0.3, 0.25, 0.15])
    mask = ltp.soft_mask(score, torch.tensor(0.25), 0.2, Ragged.from_lengths([4]))
    # (0.3 - 0.25) * 4 / 0.2 = 1;  0;  -0.1 * 4 / 0.2 = -2; and 1 for [CLS] though its score is 0
    wanted = [1, 1 / (1 + math.exp(-1)), 0.5, 1 / (1 + math.exp(2))]
    assert mask.tolist() == pytest.approx(wanted, rel=1e-5)


def test_the_default_temperature_is_the_published_one_at_128_tokens():
    score = torch.zeros(128)
    score[1], score[2] = 0.011, 0.0085
    temperature = LearnedTokenPruning.Params().temperature
    mask = ltp.soft_mask(score, torch.tensor(0.01), temperature, Ragged.from_lengths([128]))
    # 0.001 / 1e-3 = 1 and -0.0015 / 1e-3 = -1.5
    wanted = [1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1.5))]
    assert mask[1:3].tolist() == pytest.approx(wanted, rel=1e-4)


def test_the_mask_is_equally_soft_at_every_length():
    # Scores of 1.5 and 0.5 mean scores against a threshold of one: 0.5 / 0.25 = 2, at n = 2 and 8.
    layout = Ragged.from_lengths([2, 8])
    n = torch.tensor([2.0] * 2 + [8.0] * 8)
    score = torch.tensor([0, 1.5, 0, 1.5, 0.5, 1, 1, 1, 1, 1]) / n
    short = ltp.soft_mask(score, torch.tensor(1 / 2), 0.25, layout)
    long = ltp.soft_mask(score, torch.tensor(1 / 8), 0.25, layout)
    assert float(short[1]) == float(long[3]) == pytest.approx(1 / (1 + math.exp(-2)))
    assert float(long[4]) == pytest.approx(1 / (1 + math.exp(2)))


def test_mean_mask_leaves_cls_out_and_weighs_texts_equally():
    # (0.5 + 1) / 2 = 0.75 and 0.25; mean 0.5
    mask = torch.tensor([1.0, 0.5, 1.0, 1.0, 0.25])
    assert float(ltp.mean_mask(mask, Ragged.from_lengths([3, 2]))) == pytest.approx(0.5)


def test_selection_is_strict_and_scales(reduced, batch):
    reducer = reduced(LearnedTokenPruning, layers=2).reducer
    with torch.no_grad():
        reducer.thresholds[1] = 0.25
    received = Received(torch.tensor([0.0, 0.25, 0.375, 0.125]).double(), torch.zeros(4))
    tokens = tokens_of(batch([4]))
    # A score equal to the threshold is below the mark; [CLS] stays at score 0.
    assert reducer.after_attention(1, tokens, received).keep.tolist() == [True, False, True, False]
    reducer.threshold_scale = 0.4  # 0.1
    assert reducer.after_attention(1, tokens, received).keep.all()


def test_the_soft_stage_multiplies_the_output_and_prices_the_mask(reduced, batch):
    reducer = reduced(LearnedTokenPruning, layers=2, lambda_=0.1, temperature=0.3).reducer.train()
    reducer.start_stage(reducer.stages()[0])
    assert reducer.in_soft_stage
    tokens = tokens_of(batch([3]))
    with torch.no_grad():
        reducer.thresholds.copy_(torch.tensor([0.2, 0.5]))
    received = Received(torch.tensor([0.2, 0.2, 0.2]), torch.zeros(3))
    decisions = [reducer.after_attention(layer, tokens, received) for layer in range(2)]
    assert all(decision.keep.all() and decision.at_output for decision in decisions)
    # Layer 0: (0.2 - 0.2) * 3 / T = 0 -> 0.5 each.  Layer 1: -0.3 * 3 / 0.3 = -3 -> 0.04742587.
    # The sum over the layers is 0.54742587, times 0.1.
    trace = trace_of(tokens, decisions, "after_attention")
    assert reducer.loss(None, None, trace)["mask"].item() == pytest.approx(0.054742587)


def test_tokens_leave_before_the_feed_forward_of_the_same_layer(reduced, batch):
    encoder = reduced(LearnedTokenPruning, layers=2)
    with torch.no_grad():
        encoder.reducer.thresholds.copy_(torch.tensor([10.0, 0.0]))
        trace = encoder(batch([5, 3])).trace
    # A threshold of 10 leaves [CLS] alone: 5 and 3 tokens attend, 1 and 1 go on.
    assert [count.tolist() for count in trace.keys] == [[5, 3], [1, 1]]
    assert [count.tolist() for count in trace.feed_forward] == [[1, 1], [1, 1]]


def test_the_hard_stage_freezes_the_thresholds(reduced):
    soft, hard = reduced(LearnedTokenPruning, threshold_learning_rate=0.5).reducer.stages()
    assert (soft.soft, hard.soft) == (True, False)
    assert soft.learning_rates == {"thresholds": 0.5}
    assert hard.frozen == ("thresholds",)

"""Significance, soft extract, mass and retention of PoWER-BERT, against hand-computed numbers."""

import math

import pytest
import torch
from parts import tokens_of

from baselines import power_bert
from baselines.power_bert import SEARCH, PowerBert
from lotbench.errors import InputError
from lotbench.ragged import Ragged
from lotbench.reducer import Received, Stage, Step


def step(name: str) -> Step:
    return Step(Stage(name), 0.0, torch.Generator())


def test_significance_excludes_attention_to_itself():
    # One text of 4 tokens; significance = 4 * mean - own:
    #   token 1: 1.2 - 0.9 = 0.3    token 2: 1.0 - 0.1 = 0.9    token 3: 0.8 - 0.3 = 0.5
    # By the plain mean token 1 would come first.  [CLS] comes first whatever it receives.
    mean = torch.tensor([0.25, 0.30, 0.25, 0.20])
    own = torch.tensor([0.90, 0.90, 0.10, 0.30])
    score = power_bert.significance(Received(mean, own), Ragged.from_lengths([4]))
    assert score.tolist() == pytest.approx([math.inf, 0.3, 0.9, 0.5])


def test_soft_extract_multiplies_by_the_weight_of_the_rank():
    weights = torch.tensor([0.5, 0.25, 0.125])
    factor = power_bert.soft_extract(weights, torch.tensor([-1, 2, 0, 1]))
    assert factor.tolist() == [1.0, 0.125, 0.5, 0.25]


def test_mass_penalty_weighs_deeper_layers_more():
    # 1 * (1 + 0.5) + 2 * (0.25 + 0.25) = 2.5
    assert power_bert.mass_penalty(torch.tensor([[1.0, 0.5], [0.25, 0.25]])) == 2.5


def test_retention_rounds_up_counts_cls_and_never_rises():
    # 1 + ceil(1.5) = 3;  1 + ceil(2.2) = 4, cut to 3;  1 + ceil(1) = 2;  1 + 0 = 1
    mass = torch.tensor([1.5, 2.2, 1.0, 0.0])
    assert power_bert.retention(mass).tolist() == [3, 3, 2, 1]


def test_a_rounding_error_does_not_raise_the_retention():
    assert power_bert.retention(torch.tensor([3.00001])).tolist() == [4]


def test_a_search_becomes_a_retention(reduced, batch):
    reducer = reduced(PowerBert, layers=2, max_length=6).reducer.train()
    search, retrain = reducer.stages()
    assert (search.name, search.soft, retrain.soft) == (SEARCH, True, False)
    reducer.start_stage(search)
    with torch.no_grad():
        reducer.weights[0] = torch.tensor([1.5, 1.0, 0.5, 1.0, 1.0])
        reducer.weights[1] = torch.tensor([0.9, -0.2, 0.0, 1.0, 1.0])
    # The longest text has 4 tokens, so three ranks count: 1 + 1 + 0.5 (r is clipped to 1) is 2.5,
    # with [CLS] 4 tokens; 0.9 + 0 + 0 is 0.9, with [CLS] 2 tokens.
    assert reducer.training_step(None, batch([4, 2]), step(SEARCH)) is None
    with torch.no_grad():
        reducer.after_step()
    assert float(reducer.weights.detach().max()) == 1.0
    reducer.start_stage(retrain)
    assert reducer.retention.tolist() == [4, 2]


def test_a_text_longer_than_the_ranks_is_refused(reduced, batch):
    reducer = reduced(PowerBert, layers=2, max_length=6).reducer
    with pytest.raises(InputError, match="max_length: 6, but a text has 7 tokens; raise it"):
        reducer.training_step(None, batch([4, 7]), step(SEARCH))


def test_the_search_scales_tokens_and_removes_none(reduced, batch):
    reducer = reduced(PowerBert, layers=2, max_length=6).reducer.train()
    reducer.start_stage(reducer.stages()[0])
    with torch.no_grad():
        reducer.weights[1] = torch.tensor([0.5, 0.25, 0.0, 1.0, 1.0])
    received = Received(torch.tensor([0.4, 0.1, 0.3, 0.2]), torch.zeros(4))
    decision = reducer.after_attention(1, tokens_of(batch([4])), received)
    assert decision.keep.all()
    assert decision.weight.tolist() == [1.0, 0.0, 0.5, 0.25]
    assert decision.at_output is False


def test_tokens_unit_keeps_that_many_of_any_text(reduced, batch):
    reducer = reduced(PowerBert, layers=2, retention=[3, 3]).reducer
    mean = torch.tensor([0.1, 0.1, 0.2, 0.3, 0.3, 0.5, 0.5])
    decision = reducer.after_attention(
        0, tokens_of(batch([5, 2])), Received(mean, torch.zeros_like(mean))
    )
    # The text of 5 keeps [CLS] and tokens 3 and 4; the text of 2 is shorter than 3.
    assert decision.keep.tolist() == [True, False, False, True, True, True, True]


def test_share_unit_keeps_a_share_of_each_text(reduced, batch):
    reducer = reduced(PowerBert, layers=2, unit="share", retention=[0.5, 0.5]).reducer
    mean = torch.tensor([0.1, 0.1, 0.2, 0.3, 0.3, 0.5, 0.4, 0.1, 0.0])
    tokens = tokens_of(batch([5, 4]))
    received = Received(mean, torch.zeros_like(mean))
    keep = reducer.after_attention(0, tokens, received).keep
    # ceil(0.5 * 5) = 3 tokens, ceil(0.5 * 4) = 2 tokens
    assert keep.tolist() == [True, False, False, True, True, True, True, False, False]
    reducer.retention_scale = 0.5
    # ceil(0.25 * 5) = 2, ceil(0.25 * 4) = 1
    keep = reducer.after_attention(0, tokens, received).keep
    assert keep.tolist() == [True, False, False, True, False, True, False, False, False]


def test_share_unit_spreads_a_short_text_over_the_ranks(reduced):
    reducer = reduced(PowerBert, layers=2, unit="share", max_length=6).reducer
    reducer.longest.fill_(5)
    # A text of 3 has ranks 1 and 2 of a longest text's 1..4: places 0 * 4 // 2 and 1 * 4 // 2.
    place = reducer._place(torch.tensor([0, 1, 2]), Ragged.from_lengths([3]))
    assert place.tolist() == [-1, 0, 2]


def test_lambda_is_written_as_in_the_paper():
    params = PowerBert.Params(**{"lambda": 0.5})
    assert params.lambda_ == 0.5
    assert params.model_dump(by_alias=True)["lambda"] == 0.5

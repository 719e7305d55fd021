"""Policy loss, reward, imitation and distillation of TR-BERT, against hand-computed numbers."""

import math

import pytest
import torch

from baselines import tr_bert
from baselines.tr_bert import POLICY, TrBert
from lotbench.ragged import Ragged
from lotbench.reducer import Drop, Event, Step, Trace


def event(keep: list[bool], logits: list[float], lengths: list[int], layer: int = 1) -> Event:
    layout = Ragged.from_lengths(lengths)
    decision = Drop(torch.tensor(keep), aux={"logits": torch.tensor(logits)})
    return Event(layer, "before_layer", decision, layout, torch.arange(layout.total))


def test_surprise_is_the_mean_negative_log_probability_without_cls():
    # P(keep) = 0.8 kept, 0.25 dropped, 0.5 kept: -(ln 0.8 + ln 0.75 + ln 0.5) / 3
    logits = [-9.0, math.log(4), -math.log(3), 0.0]
    surprise = tr_bert.action_surprise(event([True, True, False, True], logits, [4]))
    wanted = -(math.log(0.8) + math.log(0.75) + math.log(0.5)) / 3
    assert float(surprise) == pytest.approx(wanted, rel=1e-5)


def test_a_text_of_cls_alone_has_no_surprise():
    assert float(tr_bert.action_surprise(event([True], [-3.0], [1]))) == 0.0


def test_kept_share_is_the_mean_over_reductions_against_the_whole_text():
    # 3 of 4, then 1 of these: (3/4 + 1/4) / 2 = 1/2.  2 of 2, then 1: (1 + 1/2) / 2 = 3/4.
    first = event([True, True, True, False, True, True], [0.0] * 6, [4, 2])
    second = event([True, False, False, True, False], [0.0] * 5, [3, 2], layer=2)
    share = tr_bert.kept_share(Trace(events=[first, second]), Ragged.from_lengths([4, 2]))
    assert share.tolist() == [0.5, 0.75]


def test_reinforce_rewards_what_beats_the_mean_of_the_samples():
    # Two samples of two texts, copy after copy.  Text A: rewards -1, -3, advantages 1, -1.
    # Text B: rewards -2, -2, no advantage.  (1 * 2 - 1 * 4) / 4 = -0.5
    reward = torch.tensor([-1.0, -2.0, -3.0, -2.0])
    surprise = torch.tensor([2.0, 7.0, 4.0, 9.0], requires_grad=True)
    loss = tr_bert.reinforce(reward, surprise, 2)
    assert loss.item() == pytest.approx(-0.5)
    loss.backward()
    # Descent lowers the surprise of the better sample and raises that of the worse.
    assert surprise.grad.tolist() == [0.25, 0.0, -0.25, 0.0]


def test_imitation_keeps_as_many_by_saliency_as_the_policy_expects():
    # Text A: 1 + 0.5 + 0.5 + 0.2 = 2.2 -> 2: [CLS] and the most salient.
    # Text B: 1 + 0.5 = 1.5 -> 2, rounding halves up.
    probability = torch.tensor([0.0, 0.5, 0.5, 0.2, 0.0, 0.5])
    saliency = torch.tensor([0.0, 0.1, 0.3, 0.7, 0.0, 0.0])
    keep = tr_bert.imitate(saliency, probability, Ragged.from_lengths([4, 2]))
    assert keep.tolist() == [True, False, False, True, True, True]


@pytest.mark.parametrize(
    ("layers", "wanted"), [(12, [1, 6]), (6, [1, 3]), (3, [1]), (2, [1]), (1, [0])]
)
def test_reductions_are_before_layer_1_and_the_middle_layer(layers, wanted):
    assert TrBert(TrBert.Params(), layers, 16).reduction_layers == wanted


def test_evaluation_keeps_what_reaches_the_threshold(reduced, batch):
    encoder = reduced(TrBert, layers=4)
    with torch.no_grad():
        for policy in encoder.reducer.policies:
            policy.outer.weight.zero_()
            policy.outer.bias.zero_()  # P(keep) = 0.5 everywhere
        assert [q.tolist() for q in encoder(batch([5, 3])).trace.queries] == [[5, 3]] * 4
        encoder.reducer.threshold = 0.51
        queries = encoder(batch([5, 3])).trace.queries
    assert [q.tolist() for q in queries] == [[5, 3], [1, 1], [1, 1], [1, 1]]


def test_the_policy_stage_teaches_the_policies_alone(reduced, batch):
    encoder = reduced(TrBert, samples=3).train()
    step = Step(encoder.reducer.stages()[0], 0.9, torch.Generator().manual_seed(0))
    terms = encoder.reducer.training_step(encoder, batch([9, 6]), step)
    assert step.stage.name == POLICY and set(terms) == {"policy"}
    sum(terms.values()).backward()
    assert all(p.grad is not None and p.grad.any() for p in encoder.reducer.policies.parameters())
    assert all(p.grad is None for p in encoder.backbone.parameters())
    assert encoder.training


def test_the_joint_stage_teaches_everything(reduced, batch):
    encoder = reduced(TrBert, samples=3).train()
    step = Step(encoder.reducer.stages()[1], 0.0, torch.Generator().manual_seed(0), 1.0)
    terms = encoder.reducer.training_step(encoder, batch([9, 6]), step)
    assert set(terms) == {"policy", "task", "distillation"}
    sum(terms.values()).backward()
    assert all(p.grad is not None and p.grad.any() for p in encoder.reducer.policies.parameters())
    assert all(layer.query.weight.grad.any() for layer in encoder.backbone.layers)


def test_imitation_ends_at_half_of_the_policy_stage(reduced, batch, monkeypatch):
    encoder = reduced(TrBert, samples=2).train()
    calls = []
    original = tr_bert.imitate
    monkeypatch.setattr(tr_bert, "imitate", lambda *args: calls.append(args) or original(*args))
    policy, joint = encoder.reducer.stages()
    counts = []
    for stage, progress in ((policy, 0.49), (policy, 0.5), (joint, 0.0)):
        step = Step(stage, progress, torch.Generator().manual_seed(0))
        encoder.reducer.training_step(encoder, batch([9, 6]), step)
        counts.append(len(calls))
    assert counts == [2, 2, 2]  # the two reductions of the first step, none afterwards


def test_samples_share_one_dense_prefix(reduced, batch):
    encoder = reduced(TrBert)
    texts = batch([9, 6, 4])
    many = texts.repeat(3)
    assert many.layout.sizes == (9, 6, 4) * 3
    with torch.no_grad():
        shared = encoder(many, prefix=encoder.prefix(texts, 1).repeat(3))
        whole = encoder(many)
    torch.testing.assert_close(shared.logits, whole.logits, rtol=0, atol=1e-12)
    assert len(whole.trace.queries) - len(shared.trace.queries) == 1

"""Budgets drawn in training: their spread, their curve, and what they leave as it was."""

import math

import numpy as np
import pytest
import torch
from splits import split_of

from baselines.dense import Dense
from baselines.length_drop import LengthDrop
from baselines.power_bert import PowerBert
from baselines.random_drop import RandomDrop
from baselines.tr_bert import TrBert
from baselines.truncated import AnyDepth
from lotbench.config.sections import TeacherConfig, TrainConfig
from lotbench.conformance.texts import with_artefacts
from lotbench.conformance.tiny import WIDTH, tiny_backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.reducer import TokenReducer
from lotbench.store.rows import Training
from lotbench.trial.budgets import BudgetSampler, rising, sampler
from lotbench.trial.training import train

rng = np.random.default_rng(0)
IDS = [rng.integers(4, 60, size).tolist() for size in rng.integers(20, 60, 80)]
SPLIT = split_of(IDS, np.array([int(row[-1] > 30) for row in IDS]))


def tiny(cls: type[TokenReducer], **params) -> ReducedEncoder:
    torch.manual_seed(0)
    return ReducedEncoder(tiny_backbone(2), cls(cls.Params(**params), 2, WIDTH))


def trained(
    encoder: ReducedEncoder, budgets: str = "sampled", largest: float = 8.0, epochs: float = 1
) -> Training:
    config = TrainConfig(
        **{"epochs": epochs, "batch_size": 4, "learning_rate": 1e-3, "precision": "fp32"},
        budgets=budgets,
    )
    split = with_artefacts(SPLIT, encoder.reducer.needs | {"teacher_logits"})
    return train(encoder, split, config, seed=0, largest=largest)


def test_the_curve_is_the_nearest_that_never_falls():
    # 3 and 2 become 2.5 each; then 4 and 0 are 2 on average, below 2.5: (3 + 2 + 4 + 0) / 4.
    assert rising([1, 3, 2]) == [1, 2.5, 2.5]
    assert rising([1, 3, 2, 4, 0]) == [1, 2.25, 2.25, 2.25, 2.25]


def test_a_speed_is_found_between_the_neighbouring_steps():
    sampling = BudgetSampler(tiny(RandomDrop), 8.0, 0.0)
    sampling.ends = {0.0: 3.0, 1.0: 0.0}  # a larger share is slower
    assert sampling._place(1.5) == 0.5
    sampling.recent.append((0.5, 1.0))
    assert sampling._place(0.5) == 0.75 and sampling._place(2.0) == 0.25
    assert sampling._place(9.0) == 0.0 and sampling._place(-1.0) == 1.0


@pytest.mark.slow
def test_speed_ups_are_spread_evenly_in_log():
    encoder = tiny(RandomDrop)
    budgets = trained(encoder, epochs=3).budgets
    # Of 60 steps two are at the ends, and of the rest every fourth computes every token.
    assert budgets is not None and budgets.steps == 58 - 14
    assert budgets.largest == 8.0 and len(budgets.speedups) == 5
    # Even quartiles of a range of log 8; rounding to whole tokens and batches take some.
    for found, share in zip(budgets.speedups[1:4], (0.25, 0.5, 0.75), strict=True):
        assert math.log(found) == pytest.approx(share * math.log(8), abs=0.2)
    assert encoder.reducer.budget == 0.5  # the trained one


def test_one_training_sees_every_depth():
    encoder, depths = tiny(AnyDepth, depth=1), set()
    encoder.register_forward_hook(lambda *_: depths.add(encoder.reducer.depth))
    trained(encoder, largest=2.0)
    assert depths == {1, 2} and encoder.reducer.budget == 1


def test_only_hard_steps_move_the_budget(monkeypatch):
    scales: dict[str, set[float]] = {}
    original = PowerBert.after_attention

    def noted(self, *given):
        scales.setdefault(self.stage.name, set()).add(self.retention_scale)
        return original(self, *given)

    monkeypatch.setattr(PowerBert, "after_attention", noted)
    encoder = tiny(PowerBert, max_length=64)
    trained(encoder)
    assert scales["configuration search"] == {1.0} and encoder.reducer.budget == 1.0
    # The two ends, two that compute every token again, and six that differ.
    assert len(scales["retrain"]) == 8 and {1e-3, 1e3} < scales["retrain"]


@pytest.mark.parametrize("cls", [TrBert, LengthDrop])
def test_a_budget_that_moves_nothing_in_training_changes_nothing(cls):
    fixed, sampled = tiny(cls), tiny(cls)
    assert trained(fixed, "fixed", epochs=0.2).budgets is None
    budgets = trained(sampled, epochs=0.2).budgets
    assert budgets is not None and budgets.content() == {"largest": 8.0, "steps": 0, "speedups": []}
    for one, other in zip(fixed.parameters(), sampled.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_has_no_budget_or_one_for_each_layer_is_not_moved():
    asked = TrainConfig(budgets="sampled")
    assert sampler(tiny(Dense), asked, 8.0, 0) is None
    assert sampler(tiny(RandomDrop, keep_ratio=[1.0, 0.5]), asked, 8.0, 0) is None
    assert sampler(tiny(RandomDrop), TrainConfig(), 8.0, 0) is None
    assert sampler(tiny(RandomDrop), TeacherConfig.like(asked, None), 8.0, 0) is None

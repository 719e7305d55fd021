"""Budgets found for FLOPs speed-ups: with known curves, and with a small model of every method."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from splits import split_of

from baselines.ltp import LearnedTokenPruning
from lotbench import registry
from lotbench.conformance.tiny import CLASSES, WIDTH, tiny_backbone
from lotbench.data.task import Task
from lotbench.data.tokens import Split
from lotbench.engine.encoder import ReducedEncoder
from lotbench.kinds.classification import CLASSIFICATION
from lotbench.reducer import Params, TokenReducer
from lotbench.store.rows import Unreached
from lotbench.trial.evaluate import evaluate, score, scorer
from lotbench.trial.targets import TRIES, Budgets, find_budgets

TARGETS = [1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0]


class Searched:
    """A method without tokens, whose speed-up is a function of its budget; counts the calls."""

    def __init__(self, start: float, ends: tuple[float, float], curve: Callable[[float], float]):
        class Dial(TokenReducer):
            name, budget_name, budget_range = "dial", "dial", ends
            dial = start

        self.reducer, self.curve = Dial(Params(), 2, 8), curve
        self.tried: list[float] = []

    def speedup(self) -> float:
        self.tried.append(self.reducer.budget)
        return self.curve(self.reducer.budget)

    def find(self, targets: list[float]) -> Budgets:
        return find_budgets(self.reducer, targets, self.speedup)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


CURVES = {
    # Rises as the share of the tokens falls, up to 20 times.
    "share": (0.5, (0, 1), lambda share: 1 / (0.05 + 0.95 * share)),
    # Moves only where nearly all probabilities lie, between 0.9998 and 0.99995.
    "steep threshold": (
        0.5,
        (0, 1),
        lambda threshold: 1 + 19 * sigmoid((math.log(threshold / (1 - threshold)) - 9) / 0.2),
    ),
    "scale": (1.0, (1e-3, 1e3), lambda scale: 1 + 20 * scale / (5 + scale)),
}


@pytest.mark.parametrize("name", CURVES)
def test_the_budget_of_every_target_is_within_two_hundredths(name):
    start, ends, curve = CURVES[name]
    search = Searched(start, ends, curve)
    found, unreached, _ = search.find(TARGETS)
    assert list(found) == TARGETS and unreached == {}
    for target, budget in found.items():
        assert abs(math.log(curve(budget) / target)) <= 0.02
        assert ends[0] <= budget <= ends[1]
    # No budget is tried twice, and a target profits from what the others have shown.
    assert len(set(search.tried)) == len(search.tried) <= 2 + 6 * len(TARGETS)
    assert search.reducer.budget == start


def test_a_target_beyond_both_ends_has_the_nearest_speed_up():
    # From 3 (whole texts) to 6 (a single token).
    search = Searched(0.5, (0, 1), lambda share: 6 - 3 * share)
    found, unreached, fastest = search.find([1.5, 2.0, 4.0, 8.0])
    assert list(found) == [4.0] and found[4.0] == pytest.approx(2 / 3, abs=0.02)
    assert unreached == {
        1.5: pytest.approx(3, rel=1e-5),
        2.0: pytest.approx(3, rel=1e-5),
        8.0: pytest.approx(6, rel=1e-5),
    }
    # The end of the range, where 6x is; 4x is slower.
    assert fastest is not None and fastest < 1e-6


def test_the_end_is_left_out_if_no_faster_target_is_asked_for_or_one_has_it():
    for targets in ([4.0, 5.0], [4.0, 6.0], [4.0, 6.0, 8.0], [1.5, 4.0]):
        search = Searched(0.5, (0, 1), lambda share: 6 - 3 * share)
        assert search.find(targets).fastest is None


def test_a_budget_of_whole_tokens_stays_whole():
    # 100 tokens over k: 66, 50, 33, 8 and 6 tokens are near the first five targets, 4% off
    # at most.  Between 3 tokens (33.3) and 2 (50), no number is within 15% of 40.
    search = Searched(64, (1, 512), lambda k: 100 / min(k, 100))
    found, unreached, _ = search.find([1.5, 2.0, 3.0, 12.0, 16.0, 40.0])
    assert found == {1.5: 66, 2.0: 50, 3.0: 33, 12.0: 8, 16.0: 6}
    assert unreached == {40.0: pytest.approx(100 / 3)}
    assert all(type(budget) is int for budget in [*search.tried, *found.values()])
    assert search.reducer.budget == 64


def test_a_jump_over_a_target_is_said_after_a_bounded_search():
    search = Searched(0.5, (0, 1), lambda share: 2.0 if share > 0.3 else 10.0)
    found, unreached, _ = search.find([5.0])
    assert (found, unreached) == ({}, {5.0: 10.0})
    assert len(search.tried) <= 2 + TRIES


def test_two_targets_do_not_share_a_budget():
    search = Searched(64, (1, 512), lambda k: 100 / min(k, 100))
    found, unreached, _ = search.find([16.0, 16.5])
    assert found == {16.0: 6}
    assert unreached == {16.5: pytest.approx(100 / 6)}


def test_the_budget_is_restored_if_a_count_fails():
    def broken(share: float) -> float:
        raise FloatingPointError

    search = Searched(0.5, (0, 1), broken)
    with pytest.raises(FloatingPointError):
        search.find([2.0])
    assert search.reducer.budget == 0.5


def drawn(texts: int) -> Split:
    rng = np.random.default_rng(texts)
    ids = [rng.integers(4, 200, size).tolist() for size in rng.integers(20, 60, texts)]
    split = split_of(ids, np.arange(texts) % CLASSES)
    split.text_seed += 1000 * texts
    return split


@pytest.fixture(scope="module")
def task() -> Task:
    train, selection, validation = map(drawn, (4, 24, 12))
    return Task("tiny", CLASSES, CLASSIFICATION, ("accuracy",), train, selection, validation, "")


def tiny(method: type[TokenReducer]) -> ReducedEncoder:
    return ReducedEncoder(tiny_backbone(4), method(method.Params(), 4, WIDTH))


SEARCHABLE = [name for name in registry.names() if registry.get(name).budget_range]


@pytest.mark.parametrize("name", SEARCHABLE)
def test_every_method_reaches_twice_the_speed_or_says_how_near_it_comes(name, task):
    encoder = tiny(registry.get(name))
    before = encoder.reducer.budget
    evaluations, unreached = score(encoder, task, [], [2.0, 1000.0])
    assert encoder.reducer.budget == before
    assert unreached
    # Not even one token a text is a thousand times faster.
    assert unreached[-1].target == 1000.0
    nearest = unreached[-1].nearest
    *others, validation, selection = evaluations
    # The end of the method, without a target.
    assert "target" not in validation.content()
    assert selection.flops_speedup == pytest.approx(nearest, rel=0.1)
    rows = {row.split: row for row in others}
    if nearest < 2:
        assert rows == {}
        assert unreached[0].content() == {"target": 2.0, "nearest": nearest}
        return
    assert set(rows) == {"validation", "selection"}
    assert {row.target for row in rows.values()} == {2.0}
    assert rows["selection"].flops_speedup == pytest.approx(2, rel=0.1)
    assert rows["selection"].budget == rows["validation"].budget
    assert {row.budget.name for row in rows.values()} == {encoder.reducer.budget_name}


def test_a_search_is_given_scores_on_some_texts_of_selection(task):
    encoder = ReducedEncoder(tiny_backbone(4), TokenReducer(Params(), 4, WIDTH))
    rows = [0, 5, 9, 14, 18, 23]  # six of the 24 texts
    wanted = evaluate(encoder, replace(task, selection=task.selection.at(rows)), "selection")
    assert scorer(encoder, task, 6)() == (wanted.metrics["accuracy"], wanted.flops)
    assert wanted.examples == 6
    whole = evaluate(encoder, task, "selection")
    assert scorer(encoder, task, 100)() == (whole.metrics["accuracy"], whole.flops)


def test_all_our_methods_but_those_without_a_budget_are_searchable():
    ours = {"lot", "lot-fixed", "power-bert", "ltp", "tr-bert", "transkimmer", "adapler"}
    ours |= {"length-drop", "tome"}
    assert ours | {"random-drop", "first-k"} <= {*SEARCHABLE}


@pytest.mark.parametrize(
    ("thresholds", "reached"),
    [
        ([-0.01, -0.01, -0.01, -0.01], False),  # keep every token at every scale
        ([0.0, 0.0, 0.0, 0.0], False),
        ([-0.01, 0.0, 0.005, 0.01], True),
        ([0.0, 0.01, -0.01, 0.0], True),
    ],
)
def test_thresholds_of_ltp_at_or_below_zero_do_not_break_the_search(thresholds, reached, task):
    encoder = tiny(LearnedTokenPruning)
    with torch.no_grad():
        encoder.reducer.thresholds.copy_(torch.tensor(thresholds))
    evaluations, unreached = score(encoder, task, [], [1.3])
    if reached:
        assert unreached == []
        assert evaluations[1].flops_speedup == pytest.approx(1.3, rel=0.1)
    else:
        assert unreached == [Unreached(target=1.3, nearest=1.0)]
        assert [row.flops_speedup for row in evaluations] == [1.0, 1.0]

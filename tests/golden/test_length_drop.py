"""Schedules, budget, sandwich and search of length-drop, against hand-computed numbers."""

import math
from itertools import pairwise

import pytest
import torch
from parts import tokens_of

from baselines import length_drop
from baselines.length_drop import LengthDrop
from lotbench.reducer import Received, Stage, Step

FULL = (1_000_000, 1_000_000)


def kept(encoder, batch) -> list[list[int]]:
    with torch.no_grad():
        return [own.tolist() for own in encoder(batch).trace.feed_forward]


def test_schedules_of_one_ratio_drop_the_same_in_each_layer():
    # 0.8, 0.8^2, 0.8^3; 0.9, 0.9^2, 0.9^3; nothing.
    assert length_drop.uniform_schedules(0.2, 3, 3) == [
        (800_000, 640_000, 512_000),
        (900_000, 810_000, 729_000),
        (1_000_000, 1_000_000, 1_000_000),
    ]


def test_the_budget_is_the_mean_share_between_the_schedules():
    # Means 0.3, 0.6 and 1.  0.45 is half of the way from the first to the second schedule:
    # 0.4 + (0.8 - 0.4) / 2 and 0.2 + (0.4 - 0.2) / 2.  0.7 is a quarter of the way to the last.
    table = torch.tensor([(400_000, 200_000), (800_000, 400_000), FULL])
    wanted = {0.0: (0.4, 0.2), 0.3: (0.4, 0.2), 0.45: (0.6, 0.3), 0.7: (0.85, 0.55), 1.0: (1, 1)}
    for ratio, shares in wanted.items():
        found = [float(length_drop.share_at(table, layer, ratio)) for layer in (0, 1)]
        assert found == pytest.approx(shares)


def test_a_layer_keeps_its_share_by_attention_received(batch):
    # ceil(0.5 * 5) = 3: [CLS], 0.3 and 0.4, though [CLS] receives least.  ceil(0.5 * 2) = 1.
    texts = batch([5, 2])
    mean = torch.tensor([0.0, 0.4, 0.1, 0.2, 0.3, 0.1, 0.9])
    keep = length_drop.most_attended(tokens_of(texts), Received(mean, torch.zeros(7)), 0.5).keep
    assert keep.tolist() == [True, True, False, False, True, True, False]


def test_shares_are_of_the_whole_text_and_exact(reduced, batch):
    # ceil(0.8 * 10) = 8, ceil(0.64 * 10) = 7, ceil(0.512 * 10) = 6; ceil(0.8 * 5) is 4, not 5.
    encoder = reduced(LengthDrop, layers=3).float()
    encoder.reducer.length_ratio = 0.0
    assert kept(encoder, batch([10, 5])) == [[8, 4], [7, 4], [6, 3]]
    encoder.reducer.length_ratio = 1.0
    assert kept(encoder, batch([10, 5])) == [[10, 5]] * 3


def test_a_step_runs_the_full_the_smallest_and_two_random_schedules(reduced, batch):
    encoder = reduced(LengthDrop, layers=3, drop_ratio=0.5).train()
    lengths = []
    encoder.register_forward_hook(
        lambda _, args, out: lengths.append([int(own) for own in out.trace.feed_forward])
    )
    step = Step(Stage("only"), 0.0, torch.Generator().manual_seed(0), 1.0)
    terms = encoder.reducer.training_step(encoder, batch([40]), step)
    assert set(terms) == {"task", "distillation", "sandwich"}
    full, smallest, *random = lengths
    assert (full, smallest) == ([40] * 3, [20, 10, 5])
    assert len(random) == 2 and random[0] != random[1]
    for own in random:
        # Each layer drops at most half, up to rounding.
        assert all(b <= a <= 2 * b + 1 for a, b in zip([40, *own], own, strict=False))


def test_the_sandwich_learns_from_the_full_pass_alone(batch):
    # Student (3/4, 1/4), full (1/2, 1/2): (ln 2/3 + ln 2) / 2.
    student = torch.tensor([[math.log(3), 0.0]])
    full = torch.zeros(1, 2)
    found = length_drop.divergence(student, full, batch([3]))
    assert float(found) == pytest.approx(math.log(4 / 3) / 2)
    # Of sentence vectors, at right angles: 1 - 0.
    texts = batch([3])
    texts.labels = torch.zeros(1, 2)
    one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    assert float(length_drop.divergence(one, other, texts)) == pytest.approx(1)


def test_the_front_rises_in_flops_score_and_mean_share():
    small, better, worse, shorter = (4, 2), (6, 5), (7, 5), (10**6, 0)
    found = {
        FULL: (100.0, 0.8),
        worse: (60.0, 0.7),  # costs more than `better` and scores less
        small: (10.0, 0.5),
        better: (50.0, 0.9),
        shorter: (70.0, 0.95),
    }
    assert length_drop.front(found) == [small, better, shorter, FULL]
    found[8, 2] = (65.0, 0.92)  # its mean share is below that of `better`
    assert length_drop.front(found) == [small, better, shorter, FULL]


def test_a_mutation_stays_between_its_neighbours_and_above_the_smallest():
    generator, seen = torch.Generator().manual_seed(0), set()
    for _ in range(200):
        made = length_drop.mutated((80, 50, 20), (40, 30, 10), generator)
        assert 1_000_000 >= made[0] >= made[1] >= made[2]
        assert made[0] >= 50 and made[1] >= 30 and made[2] >= 10
        seen.add(tuple(a == b for a, b in zip(made, (80, 50, 20), strict=True)))
    assert len(seen) == 8  # any layers may change


def test_the_search_fills_the_table_and_is_saved(reduced):
    encoder = reduced(LengthDrop, layers=2, drop_ratio=0.5, search_evaluations=12)
    method, tried = encoder.reducer, []

    def score() -> tuple[float, float]:
        """More tokens in the second layer are better; the first only costs."""
        first, second = (float(length_drop.share_at(method.table, i, 0.0)) for i in (0, 1))
        tried.append((first, second))
        return second, 10 * first + second

    method.search(score, torch.Generator().manual_seed(0))
    assert len(set(tried)) == len(tried) == 12 and method.length_ratio == 0.5
    assert tried[0] == (0.5, 0.25) and tried[3] == (1.0, 1.0)
    rows = method.table.tolist()
    assert rows[0] == [500_000, 250_000] and rows[-1] == [1_000_000, 1_000_000]
    # A front, with more schedules than the four of one ratio that the search begins with.
    assert len(rows) > 4 and rows == sorted(rows, key=lambda row: 10 * row[0] + row[1])
    assert all(one[1] < other[1] for one, other in pairwise(rows))
    again = reduced(LengthDrop, layers=2).reducer
    again.load_state_dict(method.state_dict())
    assert torch.equal(again.table, method.table)


def test_without_evaluations_there_is_no_search(reduced):
    method = reduced(LengthDrop, layers=2, search_evaluations=0).reducer
    method.search(lambda: pytest.fail("scored"), torch.Generator())
    assert len(method.table) == 0

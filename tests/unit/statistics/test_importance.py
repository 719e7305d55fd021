"""The share of the variance that a searched parameter explains, by hand and against chance."""

import numpy as np
import pytest
from simulated import Rows, add_search

from lotbench.statistics.importance import Importance, importance
from lotbench.statistics.search import SearchTrials


@pytest.fixture(autouse=True)
def _few_trials_are_enough(monkeypatch):
    """Examples by hand are small."""
    monkeypatch.setattr("lotbench.statistics.importance.LEAST", 3)


def searched(values: list, areas, space: dict, done: int | None = None) -> SearchTrials:
    """A search of trials with these values of one parameter and areas; the last ones failed."""
    rows = Rows({"selection": 0.9})
    add_search(rows, "ltp", [0.0] * len(values), space={"k": space})
    for place, (row, value) in enumerate(zip(rows.trials.values(), values, strict=True)):
        row["params"] = {"k": value}
        row["status"] = "done" if done is None or place < done else "failed"
    runs = rows.study().searched_runs
    return SearchTrials("LTP", "LTP", {"k": space}, runs, np.array(areas, float)[:, None], [])


def explained(values: list, areas, space: dict) -> Importance:
    found = importance(searched(values, areas, space), "k")
    assert found is not None
    return found


def test_groups_by_hand():
    # Around their mean 3 the areas have 9 + 1 + 1 + 9 = 20, their groups 4 * 2^2 = 16.  Of 3 free
    # values, 2 remain: 1 - (1 - 16/20) * 3/2.
    found = explained(["a", "b", "a", "b"], [0, 4, 2, 6], {"choice": ["a", "b"]})
    assert found.share == pytest.approx(0.7)
    # In 2 of the 6 ways to share the areas among the groups, these differ as much.
    assert found.p == pytest.approx(1 / 3, abs=0.03)
    assert found.by_chance


def test_numbers_by_their_place_straight_and_quadratic():
    places = np.linspace(0, 1, 9)
    bent = (places - 0.4) ** 2
    values = [float(10 ** (4 * place - 5)) for place in places]
    logarithmic = explained(values, bent, {"loguniform": [1e-5, 1e-1]})
    assert logarithmic.share == pytest.approx(1)
    assert not logarithmic.by_chance
    assert explained(values, bent, {"uniform": [0, 0.1]}).share < 0.9
    whole = explained([0, 1, 2, 3, 4], [4, 1, 0, 1, 4], {"randint": [0, 4]})
    assert whole.share == pytest.approx(1)


def test_chance_gives_about_nothing():
    generator = np.random.default_rng(0)
    found = [
        explained([*generator.random(12)], generator.random(12), {"uniform": [0, 1]})
        for _ in range(60)
    ]
    assert np.mean([own.share for own in found]) < 0.12
    assert np.mean([own.by_chance for own in found]) == pytest.approx(0.95, abs=0.05)


def test_failed_trials_and_values_outside_the_space_are_left_out():
    space = {"uniform": [0, 1]}
    values, areas = [0, 0.25, 0.5, 0.75, 1], [0, 1, 2, 3, 4]
    more = searched([*values, None, 7, 0.5], [*areas, 60, 70, 0], space, done=7)
    assert importance(more, "k") == explained(values, areas, space)


@pytest.mark.parametrize(
    ("values", "areas", "space"),
    [
        ([0, 1, 0.5], [1, 2, 3], {"uniform": [0, 1]}),
        ([0.5] * 6, range(6), {"uniform": [0, 1]}),
        ([0, 0.2, 0.4, 0.6, 1], [2] * 5, {"uniform": [0, 1]}),
        (["a", "b", "c"], [1, 2, 3], {"choice": ["a", "b", "c"]}),
        ([None, None], [1, 2], {"uniform": [0, 1]}),
    ],
    ids=["few", "one value", "one area", "a group each", "no number"],
)
def test_too_few_trials_say_nothing(values, areas, space):
    assert importance(searched(values, areas, space), "k") is None


def test_too_few_trials_tell_nothing(monkeypatch):
    monkeypatch.undo()
    for trials, known in ((7, False), (8, True)):
        values = [i / 7 for i in range(trials)]
        found = importance(searched(values, values, {"uniform": [0, 1]}), "k")
        assert (found is not None) == known

"""What a search bought: expected best, bands, orders and flips, by hand."""

from fractions import Fraction
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
import pytest
from simulated import Rows, add_search, hits, mark

from lotbench.statistics.runs import runs_of
from lotbench.statistics.search import SearchTrials, at_most, orders, reversals, searches
from lotbench.statistics.store_view import StoreView
from lotbench.store.rows import Searched
from lotbench.trial.objective import objective

TEACHER = {"selection": 0.9, "validation": 0.9}
STORE = Path(__file__).parents[3] / "results" / "reference" / "ablation_lot"


def found(*searches: tuple, texts: int = 200) -> dict[str, SearchTrials]:
    """By name, searches of these methods and areas."""
    rows = Rows(TEACHER)
    for method, areas, *more in searches:
        add_search(rows, method, areas, texts, **(more[0] if more else {}))
    return {own.name: own for own in rows.study().searches["toy"]}


def expected(own: SearchTrials) -> list[float]:
    return [float(own.expected_best(n)[0]) for n in range(1, own.trials + 1)]


def test_the_expected_best_by_hand():
    # The best of two of four is the second smallest once, the third twice, the largest thrice.
    own = found(("ltp", [8, 1, 4, 2]))["ltp"]
    assert own.areas[:, 0] == pytest.approx([8, 1, 4, 2])
    assert expected(own) == pytest.approx([15 / 4, 34 / 6, 28 / 4, 8])
    # In the resample of texts number 5, with the areas that the trials have there.
    small = np.sort(own.areas[:, 5])
    assert own.expected_best(2)[5] == pytest.approx(np.dot([0, 1, 2, 3], small) / 6)


def test_the_band_by_hand():
    # The best of two is at most the smallest, second, ... with probability 0, 1/6, 3/6 and 1.
    own = found(("ltp", [8, 1, 4, 2]))["ltp"]
    assert [own.band(n) for n in (1, 2, 3, 4)] == [
        pytest.approx(ends) for ends in [(1, 8), (2, 8), (4, 8), (8, 8)]
    ]
    # Of a hundred, the third has 3% at or below it, and the 98th is the first with 97.5%.
    many = SearchTrials("a", "a", {}, [], np.arange(1.0, 101)[:, None], [])
    assert many.band(1) == (3, 98)


def test_the_formula_is_the_mean_over_all_choices():
    values = np.array([0, 3, 3, 7, 11])
    for n in range(1, 6):
        each = [max(own) for own in combinations(values, n)]
        share = [Fraction(sum(own <= value for own in each), comb(5, n)) for value in (0, 3, 7, 11)]
        assert at_most(5)[n - 1][[0, 2, 3, 4]] == pytest.approx([float(own) for own in share])
        own = SearchTrials("a", "a", {}, [], values[:, None].astype(float), [])
        assert own.expected_best(n)[0] == pytest.approx(np.mean(each))


def test_a_failed_trial_costs_a_trial_and_brings_nothing():
    rows = Rows(TEACHER)
    add_search(rows, "ltp", [6, 4, 9])
    rows.trials["ltp-2-10"]["status"] = "failed"
    (own,) = rows.study().searches["toy"]
    assert (own.trials, own.failed, own.best.trial.trial_id) == (3, 1, "ltp-0-10")
    assert expected(own) == pytest.approx([10 / 3, (4 + 2 * 6) / 3, 6])
    assert own.default is not None and own.default.value == pytest.approx(6)


def test_settings_without_a_space_count_as_one_trial_with_the_area_of_all():
    rows = Rows(TEACHER)
    for index, (speed, right) in enumerate([(2.0, 176), (4.0, 168)]):
        own = mark(0, {}, key=f"t{index}")
        right, speeds = hits(right), (speed, speed)
        rows.add("truncated", right, right, None, speeds, 10, f"{index}", search=own)
    add_search(rows, "ltp", [6, 4, 9])
    fixed = {own.name: own for own in rows.study().searches["toy"]}["truncated"]
    # Height 8 up to 2x, and 4 up to 4x.
    assert expected(fixed) == pytest.approx([8 + 4])
    assert (fixed.trials, fixed.default, fixed.exhausted) == (1, None, True)
    assert fixed.expected_best(3)[0] == pytest.approx(12)


@pytest.mark.parametrize(
    ("space", "trials", "exhausted"),
    [
        ({"k": {"uniform": [0, 1]}}, 9, False),
        ({"k": {"choice": ["a", "b", "c"]}}, 3, True),
        ({"k": {"choice": ["a", "b", "c"]}}, 2, False),
        ({"k": {"choice": [1, 2]}, "n": {"randint": [2, 4]}}, 6, True),
        ({"k": {"choice": [1, 2]}, "n": {"randint": [2, 4]}}, 5, False),
    ],
)
def test_a_space_without_untried_settings_is_exhausted(space, trials, exhausted):
    own = SearchTrials("a", "a", space, [], np.zeros((trials, 1)), [])
    assert own.exhausted is exhausted


def test_the_order_flips_where_it_does_by_hand():
    # The best of n of the second: 4, 6, 8 and 10.
    two = found(("ltp", [6, 6, 6, 6]), ("tr-bert", [2, 10, 2, 2]), texts=5000)
    assert expected(two["tr-bert"]) == pytest.approx([4, 6, 8, 10])
    own = orders([*two.values()])
    assert [each.first for each in own] == [["ltp"], ["ltp", "tr-bert"], ["tr-bert"], ["tr-bert"]]
    assert reversals(own) == [(3, "tr-bert", "ltp")]


def test_a_difference_within_its_interval_over_texts_is_a_tie():
    # One text of 200 is half a point.
    close = found(("ltp", [6, 6]), ("tr-bert", [5.5, 5.5]))
    assert [each.ahead for each in orders([*close.values()])] == [frozenset()] * 2
    same = found(("ltp", [6, 6]), ("tr-bert", [6, 6]))
    assert [each.ranks for each in orders([*same.values()])] == [{"ltp": 1, "tr-bert": 1}] * 2


def test_orders_end_with_the_shortest_search_that_could_go_on():
    choice = {"space": {"k": {"choice": [1, 2]}}}
    own = [*found(("ltp", [1] * 5), ("tr-bert", [2] * 4), ("mine", [9] * 2, choice)).values()]
    assert len(orders(own)) == 4
    assert orders(own)[3].first == ["mine"]


def test_searches_of_one_method_are_told_apart_by_what_is_fixed():
    rows = Rows(TEACHER)
    for fixed in (0.1, 0.2):
        name = f"{fixed}"
        rows.params[name] = {"lambda": fixed}
        own = mark(0, key=f"s{fixed}")
        rows.add("ltp", hits(170), hits(170), 2.0, (2.0, 2.0), 10, name, search=own)
    names = [own.name for own in rows.study().searches["toy"]]
    assert names == ["ltp lambda=0.1", "ltp lambda=0.2"]


def test_the_newest_trial_of_a_place_counts_and_confirmations_are_apart():
    rows = Rows(TEACHER)
    add_search(rows, "ltp", [6, 4])
    rows.add("ltp", hits(178), hits(178), 2.0, (2.0, 2.0), 10, "new", search=mark(1, key="ltp"))
    rows.trials["ltp-new-10"]["created"] = "2026"
    for seed, part in ((0, "confirmation"), (1, "superseded")):
        own = mark(1, key="ltp", part=part, chosen="ltp-new-10")
        rows.add("ltp", hits(100), hits(100), 2.0, (2.0, 2.0), seed, "c", search=own, seconds=7.0)
    study = rows.study()
    (own,) = study.searches["toy"]
    assert own.areas[:, 0] == pytest.approx([6, 9])
    assert [trial.seed for trial in own.confirmations] == [0]
    assert own.confirmation_seconds == 7
    assert [run.seed for run in study.runs] == [0]


def test_the_area_of_the_sample_is_the_objective_of_the_search():
    runs = [run for run in StoreView(STORE).runs if run.trial.task == "bbc_news"][:4]
    rows = []
    for place, run in enumerate(runs):
        own = Searched.model_validate(mark(place, key="t", end=16.0))
        rows.append(run.trial.model_copy(update={"search": own}))
    (own,) = searches(runs_of(rows), [])
    for row, areas in zip(rows, own.areas, strict=True):
        assert areas[0] == pytest.approx(objective(row, 16.0))
        assert areas[1:].std() > 0

"""Points, fronts and references against hand-computed numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import contender, evaluation, failed, timing, trial, write

from lotbench.report.pareto import front, points, scored
from lotbench.report.reference import references
from lotbench.store.frame import frame


def test_front_by_hand():
    # (3, .80) is beaten by (4, .80), (2, .85) by (2, .90); the ends are on the front.
    speedup = [1, 2, 2, 3, 4, 8]
    score = [0.91, 0.90, 0.85, 0.80, 0.80, 0.50]
    assert front(speedup, score).tolist() == [True, True, False, False, True, True]


def test_front_skips_missing_points_and_keeps_one_of_equals():
    assert front([1, np.nan, 9], [0.9, 0.9, np.nan]).tolist() == [True, False, False]
    assert front([2, 2], [0.9, 0.9]).sum() == 1
    assert front([], []).tolist() == []


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_front_has_the_nondominated_points(pairs):
    mask = front([a for a, _ in pairs], [b for _, b in pairs])
    for pair, kept in zip(pairs, mask, strict=True):
        beaten = any(o[0] >= pair[0] and o[1] >= pair[1] and o != pair for o in pairs)
        assert not (kept and beaten)
    assert {p for p, kept in zip(pairs, mask, strict=True) if kept} == {
        p for p in pairs if not any(o[0] >= p[0] and o[1] >= p[1] and o != p for o in pairs)
    }


@pytest.fixture
def store(tmp_path):
    """Dense at 90.0 on average, lot on two seeds with two budgets, ltp with two lambdas."""
    write(tmp_path, trial("d0", "dense", [evaluation(0.895, 1.0)]))
    write(tmp_path, trial("d1", "dense", [evaluation(0.905, 1.0)], seed=1))
    for seed, shift in ((0, -0.005), (1, 0.005)):
        curve = [
            evaluation(0.89 + shift, 2.0 - 10 * shift, {"threshold": 0.3}),
            evaluation(0.87 + shift, 4.0, {"threshold": 0.7}),
        ]
        write(tmp_path, trial(f"l{seed}", "lot", curve, seed=seed, params={"top_p": 0.3}))
    for name, lam, score, speedup in (("t0", 0.1, 0.896, 1.5), ("t1", 2.0, 0.70, 3.0)):
        row = trial(name, "ltp", [evaluation(score, speedup)], params={"lambda": lam})
        write(tmp_path, row)
    write(tmp_path, failed("bad"))
    slow = [contender("ltp", 1.2, "t0"), contender("ltp", 2.2, "t1", flagged=True)]
    write(tmp_path, timing("p", "2025", slow))
    return tmp_path


def test_points_are_means_over_seeds(store):
    rows = points(frame(store)).set_index(["method", "point", "name"])
    assert len(rows) == 5
    lot = rows.loc[("lot", "threshold=0.3", "")]
    assert lot["score"] == pytest.approx(0.89)
    # Speed-ups 2.05 and 1.95.
    assert (lot["flops_speedup"], lot["flops_speedup.low"]) == pytest.approx((2.0, 1.95))
    assert lot["seeds"] == 2
    ltp = rows.loc[("ltp", "", "lambda=2")]
    assert (ltp["real.cpu-1t-b32-fp32"], ltp["real.cpu-1t-b32-fp32.high"]) == pytest.approx(
        (2.2, 2.3)
    )
    assert bool(ltp["real.cpu-1t-b32-fp32.flagged"])


def test_points_take_the_newest_of_two_trials_with_equal_setting_and_seed(tmp_path):
    write(tmp_path, trial("new", "lot", [evaluation(0.9, 2.0)], created="2025-02"))
    write(tmp_path, trial("old", "lot", [evaluation(0.1, 2.0)], created="2025-01"))
    (row,) = points(frame(tmp_path)).to_dict("records")
    assert (row["score"], row["seeds"]) == (0.9, 1)


def test_a_point_of_an_older_trial_that_the_newest_lacks_is_left_out(tmp_path):
    for name, created, targets in (("old", None, (2, 4)), ("new", "2025", (2,))):
        rows = [evaluation(0.9, target, target=target) for target in targets]
        write(tmp_path, trial(name, "lot", rows, created=created))
    assert points(frame(tmp_path))["point"].tolist() == ["target=2"]


def test_a_time_limit_makes_no_other_setting(tmp_path):
    for seed, train in ((0, {"epochs": 1}), (1, {"epochs": 1, "max_minutes": 9})):
        rows = [evaluation(0.9, 2.0)]
        write(tmp_path, trial(f"s{seed}", "lot", rows, seed=seed, config={"train": train}))
    (row,) = points(frame(tmp_path)).to_dict("records")
    assert row["seeds"] == 2


def test_settings_that_differ_outside_the_method_get_different_names(tmp_path):
    for name, epochs in (("a", 1), ("b", 2)):
        rows = [evaluation(0.9, 2.0)]
        write(tmp_path, trial(name, "lot", rows, config={"train": {"epochs": epochs}}))
    names = list(points(frame(tmp_path))["name"])
    assert len(set(names)) == 2
    assert all(name.startswith("#") for name in names)


def test_only_the_validation_split_counts(tmp_path):
    both = [evaluation(0.9, 2.0), evaluation(0.95, 2.0, split="selection")]
    write(tmp_path, trial("a", "lot", both))
    assert list(points(frame(tmp_path))["score"]) == [0.9]


def test_the_reference_is_dense_unless_the_teacher_is_better_on_selection(store, tmp_path_factory):
    found = references(scored(frame(store)))["toy"]
    assert (found.name, found.score) == ("dense", pytest.approx(0.90))
    bare = tmp_path_factory.mktemp("bare")
    write(bare, trial("a", "lot", [evaluation(0.9, 2.0)]))
    found = references(scored(frame(bare)))["toy"]
    assert (found.name, found.score) == ("teacher", 0.89)
    # Dense has 88.0 on selection, the teacher 90.0; on validation it is the other way round.
    both = [evaluation(0.92, 1.0), evaluation(0.88, 1.0, split="selection")]
    metrics = {"validation": {"accuracy": 0.89}, "selection": {"accuracy": 0.90}}
    write(bare, trial("d", "dense", both, teacher={"metrics": metrics}))
    found = references(scored(frame(bare)))["toy"]
    assert (found.name, found.score) == ("teacher", 0.89)


def test_the_reference_is_the_dense_setting_that_is_better_on_selection(tmp_path):
    for name, epochs, selection in (("a", 1, 0.90), ("b", 2, 0.95)):
        both = [evaluation(0.9, 1.0), evaluation(selection, 1.0, split="selection")]
        write(tmp_path, trial(name, "dense", both, config={"train": {"epochs": epochs}}))
    assert references(scored(frame(tmp_path)))["toy"].selection == {0: 0.95}


def test_points_of_a_target_are_one_point_whatever_budget_each_seed_needed(tmp_path):
    for seed, threshold, speedup in ((0, 0.41, 3.9), (1, 0.47, 4.1)):
        own = [evaluation(0.9, speedup, {"threshold": threshold}, target=4.0)]
        own.append(evaluation(0.8, 8.0, {"threshold": 0.9}))
        write(tmp_path, trial(f"a{seed}", "lot", own, seed=seed))
    rows = points(frame(tmp_path)).set_index("point")
    assert list(rows.index) == ["target=4", "threshold=0.9"]
    own = rows.loc["target=4"]
    assert (own["seeds"], own["flops_speedup"]) == (2, pytest.approx(4.0))
    assert (own["flops_speedup.low"], own["flops_speedup.high"]) == (3.9, 4.1)


def test_a_point_is_compared_with_dense_of_its_own_seed(tmp_path):
    # Dense 89.0 and 91.0, mean 90.0.  One method on seed 0 alone, one on seed 1 alone.
    for seed, dense in ((0, 0.89), (1, 0.91)):
        write(tmp_path, trial(f"d{seed}", "dense", [evaluation(dense, 1.0)], seed=seed))
    write(tmp_path, trial("a", "lot", [evaluation(0.885, 2.0)], seed=0))  # 0.5 below, not 1.5
    write(tmp_path, trial("b", "ltp", [evaluation(0.895, 3.0)], seed=1))  # 1.5 below, not 0.5
    rows = points(frame(tmp_path)).set_index("method")
    assert rows["reference"].to_dict() == pytest.approx({"dense": 0.90, "lot": 0.89, "ltp": 0.91})
    assert rows["gain"].to_dict() == pytest.approx({"dense": 0.0, "lot": -0.5, "ltp": -1.5})


def test_real_stands_beside_the_flops_of_the_timed_texts(tmp_path):
    for name, speedup in (("a", 2.0), ("b", 4.0)):
        row = trial(name, "lot", [evaluation(0.9, speedup)], params={"top_p": speedup})
        write(tmp_path, row)
    rows = [contender("lot", 1.5, "a", flops_speedup=1.6), contender("lot", 3.0, "b")]
    write(tmp_path, timing("p", "2025", rows))
    flops = points(frame(tmp_path)).set_index("name")["real.cpu-1t-b32-fp32.flops"]
    # A pass that did not count them has those of the whole split.
    assert flops.to_dict() == {"top_p=2": 1.6, "top_p=4": 4.0}


def test_a_store_of_failures_gives_empty_tables(tmp_path):
    write(tmp_path, failed("bad"))
    assert len(points(frame(tmp_path))) == 0


def test_the_seeds_that_were_timed_are_counted(tmp_path):
    for seed in (0, 1):
        write(tmp_path, trial(f"a{seed}", "lot", [evaluation(0.9, 2.0)], seed=seed))
        write(tmp_path, trial(f"b{seed}", "ltp", [evaluation(0.9, 2.0)], seed=seed))
    rows = [contender("a0", 1.8, "a0"), contender("b0", 1.7, "b0"), contender("b1", 1.7, "b1")]
    write(tmp_path, timing("p", "2025-01-01", rows))
    found = points(frame(tmp_path)).set_index("method")["real.cpu-1t-b32-fp32.seeds"]
    assert found.to_dict() == {"lot": 1, "ltp": 2}

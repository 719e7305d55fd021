"""Scored models, fronts, references and times against hand-computed numbers."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import contender, evaluation, failed, in_backend, over_backends, timing, trial, write

from lotbench.budget import Budget
from lotbench.statistics.scored import Scored, front
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import Where

WHERE = Where("cpu", 1, 32)


def models(folder) -> dict[tuple[str, Budget | None, str], Scored]:
    """The scored models of a store by method, target or budget, and name of the setting."""
    return {(own.method, own.at, own.name): own for own in StoreView(folder).validated("toy")}


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
        params = {"lambda": lam}
        more = {"params": params, "config": {"params": params}}
        write(tmp_path, trial(name, "ltp", [evaluation(score, speedup)], **more))
    write(tmp_path, failed("bad"))
    slow = [contender("ltp", 1.2, "t0"), contender("ltp", 2.2, "t1", flagged=True)]
    write(tmp_path, timing("p", "2025", slow))
    return tmp_path


def test_scores_and_speedups_are_means_over_seeds(store):
    found = models(store)
    assert len(found) == 5
    lot = found["LoT (ours)", Budget("threshold", 0.3), ""]
    assert lot.score.value == pytest.approx(0.89)
    # Speed-ups 2.05 and 1.95.
    assert tuple(lot.flops) == pytest.approx((2.0, 1.95, 2.05))
    assert (lot.seeds, lot.keep_ratio) == (2, pytest.approx((1 + (1 / 2.05 + 1 / 1.95) / 2) / 2))
    ltp = found["LTP", None, "lambda=2"].timed[WHERE]
    assert tuple(ltp.same) == pytest.approx((2.2, 2.1, 2.3))
    assert ltp.flagged


def test_the_newest_of_two_trials_with_equal_setting_and_seed_counts(tmp_path):
    write(tmp_path, trial("new", "lot", [evaluation(0.9, 2.0)], created="2025-02"))
    write(tmp_path, trial("old", "lot", [evaluation(0.1, 2.0)], created="2025-01"))
    (own,) = models(tmp_path).values()
    assert (own.score.value, own.seeds) == (0.9, 1)


def test_a_model_of_an_older_trial_that_the_newest_lacks_is_left_out(tmp_path):
    for name, created, targets in (("old", "2024", (2, 4)), ("new", "2025", (2,))):
        rows = [evaluation(0.9, target, target=target) for target in targets]
        write(tmp_path, trial(name, "lot", rows, created=created))
    (own,) = models(tmp_path).values()
    assert (own.at, own.target) == (Budget("target", 2.0), 2.0)


def test_a_time_limit_makes_no_other_setting(tmp_path):
    for seed, train in ((0, {"epochs": 1}), (1, {"epochs": 1, "max_minutes": 9})):
        rows = [evaluation(0.9, 2.0)]
        write(tmp_path, trial(f"s{seed}", "lot", rows, seed=seed, config={"train": train}))
    (own,) = models(tmp_path).values()
    assert own.seeds == 2


@pytest.mark.parametrize(
    "configs",
    [
        [{"train": {"epochs": 1}}, {"train": {"epochs": 2}}],  # outside the method
        [{"params": {f"a_long_parameter_{i}": value for i in range(9)}} for value in (1, 2)],
    ],
)
def test_settings_get_different_short_names(tmp_path, configs):
    for name, config in zip("ab", configs, strict=True):
        write(tmp_path, trial(name, "mine", [evaluation(0.9, 2.0)], config=config))
    names = {own.name for own in models(tmp_path).values()}
    assert len(names) == 2 and max(map(len, names)) <= 70
    assert "params" in configs[0] or all(name.startswith("#") for name in names)


def test_only_the_validation_split_counts(tmp_path):
    both = [evaluation(0.9, 2.0), evaluation(0.95, 2.0, split="selection")]
    write(tmp_path, trial("a", "lot", both))
    assert [own.score.value for own in models(tmp_path).values()] == [0.9]


def test_the_reference_is_dense_unless_the_teacher_is_better_on_selection(store, tmp_path_factory):
    found = StoreView(store).references["toy"]
    assert (found.name, found.score) == ("dense", pytest.approx(0.90))
    bare = tmp_path_factory.mktemp("bare")
    write(bare, trial("a", "lot", [evaluation(0.9, 2.0)]))
    found = StoreView(bare).references["toy"]
    assert (found.name, found.score) == ("teacher", 0.89)
    # Dense has 88.0 on selection, the teacher 90.0; on validation it is the other way round.
    both = [evaluation(0.92, 1.0), evaluation(0.88, 1.0, split="selection")]
    metrics = {"validation": {"accuracy": 0.89}, "selection": {"accuracy": 0.90}}
    write(bare, trial("d", "dense", both, teacher={"metrics": metrics}))
    found = StoreView(bare).references["toy"]
    assert (found.name, found.score) == ("teacher", 0.89)


def test_the_reference_is_the_dense_setting_that_is_better_on_selection(tmp_path):
    for name, epochs, selection in (("a", 1, 0.90), ("b", 2, 0.95)):
        both = [evaluation(0.9, 1.0), evaluation(selection, 1.0, split="selection")]
        write(tmp_path, trial(name, "dense", both, config={"train": {"epochs": epochs}}))
    assert StoreView(tmp_path).references["toy"].drawn.by_seed("selection") == {0: 0.95}


def test_a_target_is_one_model_whatever_budget_each_seed_needed(tmp_path):
    for seed, threshold, speedup in ((0, 0.41, 3.9), (1, 0.47, 4.1)):
        own = [evaluation(0.9, speedup, {"threshold": threshold}, target=4.0)]
        own.append(evaluation(0.8, 8.0, {"threshold": 0.9}))
        write(tmp_path, trial(f"a{seed}", "lot", own, seed=seed))
    found = {own.at: own for own in models(tmp_path).values()}
    assert list(found) == [Budget("target", 4), Budget("threshold", 0.9)]
    own = found[Budget("target", 4)]
    assert (own.seeds, tuple(own.flops)) == (2, pytest.approx((4.0, 3.9, 4.1)))


def test_a_model_is_compared_with_dense_of_its_own_seed(tmp_path):
    # Dense 89.0 and 91.0, mean 90.0.  One method on seed 0 alone, one on seed 1 alone.
    for seed, dense in ((0, 0.89), (1, 0.91)):
        write(tmp_path, trial(f"d{seed}", "dense", [evaluation(dense, 1.0)], seed=seed))
    write(tmp_path, trial("a", "lot", [evaluation(0.885, 2.0)], seed=0))  # 0.5 below, not 1.5
    write(tmp_path, trial("b", "ltp", [evaluation(0.895, 3.0)], seed=1))  # 1.5 below, not 0.5
    gains = {own.method: own.gain.value for own in models(tmp_path).values()}
    assert gains == pytest.approx({"dense": 0.0, "LoT (ours)": -0.5, "LTP": -1.5})


def test_real_has_the_flops_of_the_timed_texts(tmp_path):
    for name, speedup in (("a", 2.0), ("b", 4.0)):
        own = [evaluation(0.9, speedup, {"k": speedup})]
        write(tmp_path, trial(name, "lot", own, config={"params": {"top_p": speedup}}))
    rows = [
        contender("lot", 1.5, "a", budget={"k": 2.0}, flops_speedup=1.6),
        contender("lot", 3.0, "b", budget={"k": 4.0}),
    ]
    write(tmp_path, timing("p", "2025", rows))
    flops = {own.at: own.timed[WHERE].flops.value for own in models(tmp_path).values()}
    # A pass that did not count them has those of the whole split.
    assert flops == {Budget("k", 2): 1.6, Budget("k", 4): 4.0}


def test_a_store_of_failures_has_no_models(tmp_path):
    write(tmp_path, failed("bad"))
    assert models(tmp_path) == {}


def test_the_seeds_that_were_timed_are_counted(tmp_path):
    for seed in (0, 1):
        write(tmp_path, trial(f"a{seed}", "lot", [evaluation(0.9, 2.0)], seed=seed))
        write(tmp_path, trial(f"b{seed}", "ltp", [evaluation(0.9, 2.0)], seed=seed))
    rows = [contender("a0", 1.8, "a0"), contender("b0", 1.7, "b0"), contender("b1", 1.7, "b1")]
    write(tmp_path, timing("p", "2025-01-01", rows))
    seeds = {own.method: own.timed[WHERE].seeds for own in models(tmp_path).values()}
    assert seeds == {"LoT (ours)": 1, "LTP": 2}


def test_dense_of_each_seed_has_the_time_of_its_own_seed(tmp_path):
    for seed, speed in ((0, 1.0), (1, 0.5)):
        write(tmp_path, trial(f"d{seed}", "dense", [evaluation(0.9, 1.0)], seed=seed))
        record = timing(f"p{seed}", f"2025-01-0{seed + 1}", [contender("dense", speed)], seed=seed)
        write(tmp_path, record)
    (own,) = models(tmp_path).values()
    assert tuple(own.timed[WHERE].same) == pytest.approx((0.75, 0.4, 1.1))


def test_the_newest_pass_that_timed_a_model_wins(tmp_path):
    write(tmp_path, trial("a", "lot", [evaluation(0.9, 2.0), evaluation(0.8, 4.0, {"k": 3})]))
    # The names sort against the time, so that order by file name would fail.
    old = [contender("lot", 1.5, "a"), contender("lot", 2.5, "a", budget={"k": 3})]
    write(tmp_path, timing("z", "2025-01-01", old))
    new = [contender("lot", 1.7, "a", flagged=True, noisy=True)]
    write(tmp_path, timing("b", "2025-01-02", new))
    found = {own.at: own.timed[WHERE] for own in models(tmp_path).values()}
    assert [own.same.value for own in found.values()] == [1.7, 2.5]
    assert [(own.flagged, own.noisy) for own in found.values()] == [(True, True), (False, False)]


def test_a_timing_setting_has_times_of_one_machine(tmp_path, caplog):
    write(tmp_path, trial("a", "lot", [evaluation(0.9, 2.0)]))
    write(tmp_path, trial("b", "ltp", [evaluation(0.9, 2.0)]))
    old = [contender("a", 1.8, "a"), contender("b", 1.5, "b")]
    write(tmp_path, timing("old", "2025-01-01", old, device_name="Slide rule"))
    write(tmp_path, timing("new", "2025-01-02", [contender("a", 1.7, "a")]))
    found = {own.method: own.timed for own in models(tmp_path).values()}
    assert re.search("timing old skipped: .* another machine", caplog.text)
    assert found["LoT (ours)"][WHERE].same.value == 1.7
    assert found["LTP"] == {}


def test_the_best_backend_is_the_fastest_that_holds_the_score(tmp_path):
    budget = {"k": 1}
    write(tmp_path, trial("a", "lot", [evaluation(0.9, 2.0, budget)]))
    write(tmp_path, trial("d", "dense", [evaluation(0.9, 1.0)]))
    own = {"trial_id": "a", "budget": budget}
    rows = [
        in_backend("dense", "torch-fp32", 1.0, 0.25, 0.0, 0.8, flops_speedup=1.0),
        in_backend("dense", "openvino-bf16", 1.0, 1.0, -0.004, 0.2),
        in_backend("a k=1", "torch-fp32", 1.6, 0.4, 0.0, 0.5, flops_speedup=1.9, **own),
        in_backend("a k=1", "openvino-bf16", 2.0, 2.0, -0.005, 0.1, **own),
        in_backend("a k=1", "onnx-int8", 3.0, 4.0, -0.006, 0.05, **own),  # 0.6 points lost
    ]
    write(tmp_path, over_backends("t", "2025-01-01", rows))
    found = {own.method: own for own in models(tmp_path).values()}
    lot = found["LoT (ours)"].timed[WHERE]
    assert lot.backend == "openvino-bf16"
    assert (lot.best.value, lot.best.low, lot.same.value) == (2.0, 1.8, 2.0)
    assert lot.flops.value == 1.9  # counted by torch, on the same texts
    assert (lot.flagged, lot.noisy) == (False, True)
    int8 = found["LoT (ours)"].backends[WHERE, "onnx-int8"]
    assert (int8.same.value, int8.best.value) == (3.0, 4.0)
    dense = found["dense"].timed[WHERE]
    assert (dense.backend, dense.best.value) == ("openvino-bf16", 1.0)


def test_rows_of_different_depth_are_read_as_far_as_all_go(tmp_path):
    for seed, ratios in ((0, [1.0, 0.5]), (1, [0.5])):
        rows = [evaluation(0.9, 2.0, keep_ratio=ratios)]
        write(tmp_path, trial(f"s{seed}", "lot", rows, seed=seed))
    (own,) = models(tmp_path).values()
    assert own.keep_ratios == (0.75,)

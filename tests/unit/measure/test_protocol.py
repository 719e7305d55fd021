"""Ratios, intervals and comparisons of the wall-clock protocol."""

import random
from types import SimpleNamespace

import numpy as np
import pytest

from lotbench.backends import TORCH
from lotbench.measure.protocol import (
    AGAIN,
    BASELINES,
    DENSE_NAME,
    PACKED,
    compare,
    judged,
    median_interval,
    noise_floor,
    percentiles,
    speedup,
)
from lotbench.measure.spec import Entry, key
from lotbench.store.passes import BackendScore, CallSeconds, Interval, NoiseFloor


def test_percentiles_show_the_tail():
    # 1 to 101: the 50th of the 100 steps between them ends at 51, the 90th at 91.
    seconds = [float(number) for number in range(101, 0, -1)]
    assert percentiles(seconds) == CallSeconds(p50=51.0, p90=91.0, p95=96.0, p99=100.0, calls=101)
    # One call in ten is ten times slower: the median does not show it.
    tail = percentiles([1.0] * 9 + [10.0])
    assert tail.p50 == 1.0 and tail.p99 > 9.0


def test_speedup_is_the_median_of_paired_ratios():
    # Ratios per round: 4/2, 9/3, 8/2 = 2, 3, 4.  Ratio of medians would be 8/2 = 4.
    speed = speedup([4.0, 9.0, 8.0], [2.0, 3.0, 2.0])
    assert speed.median == 3.0
    assert 2.0 <= speed.low <= 3.0 <= speed.high <= 4.0


def test_pairing_cancels_what_slows_a_whole_round():
    # Rounds run at 1x, 5x and 2x speed; the contender is always exactly 4 times faster.
    drift = np.array([1.0, 5.0, 2.0, 9.0])
    assert speedup(4 * drift, drift) == Interval(median=4.0, low=4.0, high=4.0)


def test_bootstrap_interval_of_equal_values_has_no_width_and_is_seeded():
    assert median_interval(np.full(20, 1.5)) == Interval(median=1.5, low=1.5, high=1.5)
    values = np.array(random.Random(0).choices(range(100), k=21))
    assert median_interval(values, 1) == median_interval(values, 1)
    # Order statistics 6 and 16 of 21 bound the median with 97% confidence (binomial).
    inner = np.sort(values)
    interval = median_interval(values, 1)
    assert inner[4] <= interval.low <= inner[7]
    assert inner[13] <= interval.high <= inner[16]


def test_noise_floor_is_the_median_deviation_of_dense_from_itself():
    # Ratios 1.02, 0.98, 1.10, 1.00, 0.95: deviations 0.02, 0.02, 0.10, 0, 0.05; median 0.02.
    floor = noise_floor([1.02, 0.98, 1.10, 1.0, 0.95], [1.0] * 5, 0, None)
    assert floor.ratio == pytest.approx(0.02)
    assert floor.low <= 1.0 <= floor.high


@pytest.mark.parametrize(
    ("median", "low", "high", "is_flagged", "is_noisy"),
    [
        (1.015, 1.01, 1.02, True, False),  # within 0.02 of 1
        (0.985, 0.98, 0.99, True, False),
        (1.05, 1.03, 1.07, False, False),
        (2.0, 1.9, 2.05, False, False),  # 0.15 wide, 0.2 allowed
        (2.0, 1.85, 2.1, True, True),  # 0.25 wide
        (1.03, 0.99, 1.07, True, False),  # beyond the floor, but it may be 1
    ],
)
def test_flagged_and_noisy_rows(median, low, high, is_flagged, is_noisy):
    speed, floor = Interval(median=median, low=low, high=high), NoiseFloor(ratio=0.02)
    found, itself = judged(speed, floor, itself=False), judged(speed, floor, itself=True)
    assert (found.flagged, found.noisy) == (is_flagged, is_noisy)
    assert (itself.flagged, itself.noisy) == (False, is_noisy)


NAMES = {"dense": DENSE_NAME, "again": AGAIN, "packed": PACKED}


def group(**samples):
    """Samples in torch-fp32."""
    return {key(NAMES.get(name, name), TORCH): value for name, value in samples.items()}


def model(name, backend=TORCH, change=0.0):
    score = BackendScore(score=0.9 + change, change=change, flips=0)
    scores = dict.fromkeys(("selection", "validation"), score)
    own = None if name in (DENSE_NAME, PACKED) else name
    return Entry(name, own, "folder", backend=backend, scores=scores)


@pytest.mark.parametrize(("wrong", "held"), [(3, True), (4, False)])
def test_exactly_half_a_point_is_held(wrong, held):
    score, before = (502 - wrong) / 600, 502 / 600
    assert BackendScore(score=score, change=score - before, flips=wrong).held is held


def compared(groups, examples=1):
    names = [name for group in groups for own in group[0] for name in [own.split(": ")[1]]]
    others = [model(name) for name in dict.fromkeys(names) if name not in BASELINES]
    return together(groups, [model(DENSE_NAME), model(PACKED)], others, examples)


def together(*given):
    references, groups, contenders = compare(*given, seed=0)
    return SimpleNamespace(**dict(references), groups=groups, contenders=contenders)


def rows(comparison):
    return {row.name: row for row in comparison.contenders}


def test_models_are_compared_with_the_fastest_dense():
    # Packed dense is 1.25 times faster than padded, so it is the reference: lot is 2x, not 2.5x.
    samples = group(dense=[5.0] * 4, again=[5.0] * 4, packed=[4.0] * 4, lot=[2.0] * 4)
    comparison = compared([[samples]], examples=8)
    found = rows(comparison)
    assert comparison.fastest == {TORCH: PACKED} and comparison.best == TORCH
    assert found["lot"].speedup.median == 2.0
    assert found["lot"].speedup_padded.median == 2.5
    assert found["lot"].seconds_per_example == 0.25
    assert found["lot"].samples == [2.0] * 4
    assert found[DENSE_NAME].speedup.median == 0.8
    assert found[PACKED].flagged is False  # exactly 1, but against itself
    assert AGAIN not in found
    assert comparison.noise_floor.ratio == 0.0
    assert comparison.noise_floor.samples == [5.0] * 4


@pytest.mark.parametrize(
    ("padded", "packed", "fastest", "best"),
    [(0.0, -0.02, DENSE_NAME, TORCH), (-0.02, -0.02, PACKED, None), (-0.02, 0.0, PACKED, TORCH)],
)
def test_a_dense_model_that_loses_its_score_is_no_reference(padded, packed, fastest, best):
    own = group(dense=[5.0] * 4, again=[5.0] * 4, packed=[4.0] * 4)
    dense = [model(DENSE_NAME, change=padded), model(PACKED, change=packed)]
    comparison = together([[own]], dense, [], 1)
    assert comparison.fastest == {TORCH: fastest} and comparison.best == best


INT8, BF16 = "onnx-int8", "openvino-bf16"


@pytest.mark.parametrize(
    ("lost", "best", "speeds"),
    [
        # int8 dense (2 s) is the fastest: lot is 2 / 1.5 in torch, and 2 / 0.5 = 4x in int8.
        (0.005, INT8, {TORCH: 2 / 1.5, INT8: 4.0, BF16: 2.0}),
        # It loses 0.6 points, so bf16 (3 s) stands for dense.
        (0.006, BF16, {TORCH: 2.0, INT8: 6.0, BF16: 3.0}),
    ],
)
def test_same_is_dense_of_the_same_backend_and_best_that_of_any(lost, best, speeds):
    dense = {TORCH: (6.0, 8.0), INT8: (2.5, 2.0), BF16: (3.0, 4.0)}  # padded and packed
    lot = {TORCH: 1.5, INT8: 0.5, BF16: 1.0}
    samples = {key(AGAIN, TORCH): [6.0] * 3}
    for backend, seconds in dense.items():
        pair = zip((DENSE_NAME, PACKED), seconds, strict=True)
        samples |= {key(name, backend): [each] * 3 for name, each in pair}
        samples[key("lot", backend)] = [lot[backend]] * 3
    changes = {TORCH: 0.0, INT8: -lost, BF16: -0.001}
    both = [model(name, b, changes[b]) for b in dense for name in (DENSE_NAME, PACKED)]
    comparison = together([[samples]], both, [model("lot", b) for b in dense], 1)
    assert comparison.fastest == {TORCH: DENSE_NAME, INT8: PACKED, BF16: DENSE_NAME}
    assert comparison.best == best
    found = {(row.name, row.backend): row for row in comparison.contenders}
    same = {backend: found["lot", backend].speedup.median for backend in dense}
    assert same == {TORCH: 4.0, INT8: 4.0, BF16: 3.0}
    for backend, speed in speeds.items():
        own = found["lot", backend].speedup_best
        assert (own.median, own.low, own.high) == pytest.approx((speed, speed, speed))
        assert own.flagged is own.noisy is False
    # Padded dense in torch is slower than the best, which is 1x and not flagged.
    assert found[DENSE_NAME, TORCH].speedup_best.median == pytest.approx(speeds[TORCH] / 4)
    itself = found[comparison.fastest[best], best].speedup_best
    assert (itself.median, itself.flagged) == (1.0, False)


def test_the_interval_of_best_is_over_processes():
    # lot is 2x, 3x and 4x faster than int8 dense in three processes, always 2x than its own dense.
    runs = [
        {
            key(DENSE_NAME, TORCH): [2 * lot],
            key(AGAIN, TORCH): [2 * lot],
            key(DENSE_NAME, INT8): [12.0],
            key("lot", TORCH): [lot],
        }
        for lot in (6.0, 4.0, 3.0)
    ]
    dense = [model(DENSE_NAME, TORCH, change=-0.1), model(DENSE_NAME, INT8)]
    (own,) = [
        row for row in together([runs], dense, [model("lot")], 1).contenders if row.group == 0
    ]
    assert (own.speedup.low, own.speedup.median, own.speedup.high) == (2.0, 2.0, 2.0)
    best = own.speedup_best
    assert (best.low, best.median, best.high, best.noisy) == (2.0, 3.0, 4.0, True)


def test_without_a_dense_model_that_holds_its_score_there_is_no_best():
    samples = {key(name, INT8): [1.0] for name in (DENSE_NAME, AGAIN, "lot")}
    lost = [model(DENSE_NAME, INT8, change=-0.02)]
    comparison = together([[samples]], lost, [model("lot", INT8)], 1)
    assert comparison.best is None
    assert [row.speedup_best for row in comparison.contenders] == [None, None]


def test_the_comparison_flags_what_noise_explains():
    # Dense against itself deviates by 0.1, 0.1, 0.1; "same" is 1.05x, "fast" 2x.
    dense = {"dense": [1.1] * 3, "again": [1.0] * 3, "packed": [2.0] * 3}
    comparison = compared([[group(**dense, same=[1.1 / 1.05] * 3, fast=[0.55] * 3)]])
    found = rows(comparison)
    assert comparison.fastest == {TORCH: DENSE_NAME}
    assert comparison.noise_floor.ratio == pytest.approx(0.1)
    assert found["same"].flagged and not found["fast"].flagged
    assert not found["same"].noisy


def test_groups_pair_with_their_own_baselines():
    # The second group ran on a machine half as fast; both contenders are 2x faster than dense.
    first = group(dense=[2.0, 2.0], again=[2.0, 2.0], packed=[2.5, 2.5], a=[1.0, 1.0])
    second = group(dense=[4.0] * 3, again=[4.0] * 3, packed=[5.0] * 3, b=[2.0] * 3)
    comparison = compared([[first], [second]])
    found = rows(comparison)
    assert found["a"].speedup.median == found["b"].speedup.median == 2.0
    assert (found["a"].group, found["b"].group) == (0, 1)
    assert found[DENSE_NAME].samples == [2.0, 2.0, 4.0, 4.0, 4.0]
    assert [group.rounds for group in comparison.groups] == [[2], [3]]


def test_samples_of_processes_are_joined_and_widen_the_interval():
    # Steady in every process, but 2x, 3x and 4x faster than dense from one process to the next:
    # a resample of three processes may be all of the first or all of the last.
    runs = [
        group(dense=[12.0] * n, again=[12.0] * n, packed=[24.0] * n, a=[12.0 / speed] * n)
        for n, speed in ((2, 2), (2, 3), (3, 4))
    ]
    comparison = compared([runs])
    found = rows(comparison)
    assert found["a"].samples == [6.0, 6.0, 4.0, 4.0, 3.0, 3.0, 3.0]
    assert found["a"].speedup == Interval(median=3.0, low=2.0, high=4.0)
    assert [group.rounds for group in comparison.groups] == [[2, 2, 3]]
    assert found["a"].noisy


def test_groups_of_one_process_count_as_one_process():
    # Two processes, one twice as slow in the padded dense model, each with two groups.
    def run(dense, name):
        return group(dense=[dense] * 2, again=[dense] * 2, packed=[1.0] * 2, **{name: [1.0] * 2})

    comparison = compared([[run(4.0, "a"), run(8.0, "a")], [run(4.0, "b"), run(8.0, "b")]])
    found = rows(comparison)
    assert found[DENSE_NAME].samples == [4.0] * 4 + [8.0] * 4
    # Of two processes a resample is twice the first in one of four cases; of four, 1 in 16.
    assert (found[DENSE_NAME].speedup.low, found[DENSE_NAME].speedup.high) == (1 / 8, 1 / 4)
    assert [group.rounds for group in comparison.groups] == [[2, 2]] * 2


def test_a_process_weighs_the_same_whatever_its_rounds():
    # One process at 1x for 99 rounds, one at 2x for one: a resample is both of the first (1 in 4),
    # both of the second (1 in 4) or one of each.
    interval = median_interval(np.array([1.0] * 99 + [2.0]), runs=(99, 1))
    assert interval == Interval(median=1.0, low=1.0, high=2.0)
    assert median_interval(np.array([1.0] * 99 + [2.0])).high == 1.0

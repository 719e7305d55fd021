"""How long a pass takes, with numbers by hand."""

import pytest

from lotbench.config.sections import MeasureConfig
from lotbench.measure import cost
from lotbench.measure.cost import Work, pass_seconds
from lotbench.measure.spec import DeviceSetting

# Dense takes 10 ms in float32; the two points of one model take 0.5 + 0.25 of dense.
WORK = Work([2.0, 4.0], 1, 1000, 1e9)
SETTING = DeviceSetting("cpu", 1)
CONFIG = MeasureConfig(batch_sizes=[1, 32], examples=64, rounds=20)


@pytest.fixture(autouse=True)
def constants(monkeypatch):
    monkeypatch.setattr(cost, "dense_rate", lambda _: 1e11)
    for name in ("EXPORT", "LOAD", "START"):
        monkeypatch.setattr(cost, name, 0.0)
    monkeypatch.setattr(cost, "REACHED", 1.0)
    monkeypatch.setattr(cost.machine, "fast_bf16", lambda: True)
    monkeypatch.setattr(cost, "SPEED", {"fp32": 1.0, "bf16": 0.5, "int8": 0.25})


def test_one_backend_has_no_screening():
    found = pass_seconds(WORK, CONFIG, ["torch-fp32"], [SETTING])
    # The points and dense, padded, packed and again, are 3.75 of dense; five processes warm up.
    assert found["scores"] == pytest.approx(3.75 * 0.01 * 1000)
    # At batch 1 there is an untimed call for every four; at batch 32 there are two calls, no turns.
    passes = 20 * 1.25 + 20 + 2 * 5 * cost.WARM_UP
    assert found["rounds"] == pytest.approx(3.75 * 0.01 * 64 * passes)
    assert found["exports"] == found["screening"] == 0


def test_of_several_backends_each_is_screened_and_the_fastest_timed(monkeypatch):
    monkeypatch.setattr(cost, "EXPORT", 7.0)
    names = ["torch-fp32", "torch-bf16", "compile-fp32", "onnx-int8"]
    found = pass_seconds(WORK, CONFIG, names, [SETTING])
    # Eight texts at batch 1 and 32 at batch 32, three times; 2.75 of dense in three backends.
    assert found["screening"] == pytest.approx(40 * 3 * 2.75 * 0.01 * (1 + 0.5 + 0.25))
    # Models run in their fastest backend, dense in all of them.
    contenders = 0.25 * 0.75 * cost.LEFT + cost.DENSE_LEFT * (1 + 0.5 + 0.25) / 3
    assert found["scores"] == pytest.approx(contenders * 0.01 * 1000)
    assert found["exports"] == 3 * 7
    twice = pass_seconds(WORK, CONFIG, names, [SETTING, DeviceSetting("cpu", 2)])
    assert twice["rounds"] == 2 * found["rounds"] and twice["scores"] == found["scores"]


def test_where_bf16_is_slow_dense_takes_longer_in_it(monkeypatch):
    monkeypatch.setattr(cost.machine, "fast_bf16", lambda: False)
    monkeypatch.setattr(cost, "SLOW_BF16", 3.0)
    found = pass_seconds(WORK, CONFIG, ["torch-fp32", "torch-bf16"], [SETTING])
    assert found["scores"] == pytest.approx((0.75 * cost.LEFT + cost.DENSE_LEFT * 2) * 0.01 * 1000)


def test_time_falls_less_than_flops(monkeypatch):
    monkeypatch.setattr(cost, "REACHED", 0.5)
    found = pass_seconds(Work([4.0, 16.0], 1, 1000, 1e9), CONFIG, ["torch-fp32"], [SETTING])
    # The points take 1/2 + 1/4 of dense, as those of 2x and 4x above.
    assert found["scores"] == pytest.approx(3.75 * 0.01 * 1000)

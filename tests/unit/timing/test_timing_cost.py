"""How long a pass takes, with numbers by hand."""

import pytest

from lotbench.config.sections import MeasureConfig
from lotbench.measure.spec import DeviceSetting
from lotbench.timing.cost import dense_rate, pass_texts

CONFIG = MeasureConfig(batch_sizes=[1, 32], examples=64, rounds=20)


def test_the_texts_of_a_pass():
    # Models at 2x and 4x and dense three times are 3.75 of dense; five processes warm up twice.
    rounds = 64 * 2 * (20 + 5 * 2)
    assert pass_texts(CONFIG, ["torch-fp32"], [2.0, 4.0], 1000) == pytest.approx(3.75 * rounds)
    # Dense of another backend, and two passes; scores that the rows do not have.
    names = ["torch-fp32", "onnx-int8"]
    contenders = 0.75 + 2 * 4
    found = pass_texts(CONFIG, names, [2.0, 4.0], 1000, passes=2)
    assert found == pytest.approx(contenders * (rounds + 1000))


def test_dense_is_timed_on_a_batch(tmp_path, make_backbone):
    make_backbone().model.config.save_pretrained(tmp_path)
    assert dense_rate(str(tmp_path), None, DeviceSetting("cpu", 1)) > 1e6

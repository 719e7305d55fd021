"""The record of a pass and how long it takes, with numbers by hand."""

import pytest
from simulated import SETTINGS

from lotbench.audit.passes import pass_complaints
from lotbench.backends import TORCH
from lotbench.config.sections import MeasureConfig
from lotbench.measure.protocol import AGAIN, DENSE_NAME, PACKED
from lotbench.measure.spec import (
    DeviceSetting,
    Entry,
    Example,
    GroupTimes,
    Passes,
    PassSpec,
    WorkerResult,
    key,
)
from lotbench.store.passes import BackendScore, Picked, TimingPass
from lotbench.timing.cost import dense_rate, pass_texts
from lotbench.timing.merge import merge

SCORES = dict.fromkeys(("selection", "validation"), BackendScore(score=0.5, change=0.0, flips=0))
# Seconds of two calls of the encoder, and of what comes before each.  The encoder of packed dense
# is the faster one, but its call is not.
SECONDS = {DENSE_NAME: (4.0, 1.0), AGAIN: (4.0, 1.0), PACKED: (3.5, 2.0), "lot": (0.5, 0.75)}


def times(first: float) -> Passes:
    return {
        key(name, TORCH): [[encoder + first * before] * 2] * 3
        for name, (encoder, before) in SECONDS.items()
    }


@pytest.fixture
def record() -> TimingPass:
    dense = [Entry(name, None, "dense", scores=SCORES) for name in (DENSE_NAME, PACKED)]
    lot = Entry("lot", "a", "lot", scores=SCORES)
    examples = [Example([2], [0])] * 4
    setting, picked = DeviceSetting("cpu", 1), Picked(examples=4, run=2)
    spec = PassSpec(
        *("toy", setting, dense, [lot], examples, picked, "dense", 8, (2,)),
        **{**SETTINGS, "backends": [TORCH]},
    )
    process = GroupTimes(times(0.0), times(1.0), {}, {})
    return merge(spec, [WorkerResult(None, {2: [process]}, {})] * 2, 2)


def test_call_and_encoder_are_each_compared_with_dense_timed_in_the_same_way(record):
    assert record.fastest == {TORCH: PACKED} and record.call.fastest == {TORCH: DENSE_NAME}
    lot = record.contenders[-1]
    # A pass is two calls of 0.5 s over four texts; with tokenisation 1.25 s each.
    assert (lot.seconds_per_example, lot.call.seconds_per_example) == (0.25, 0.625)
    assert (lot.samples, lot.call.samples) == ([1.0] * 6, [2.5] * 6)
    # 3.5 / 0.5, and 5 / 1.25 s.
    assert lot.speedup.median == lot.speedup_best.median == 7.0
    assert lot.call.speedup.median == lot.call.speedup_best.median == 4.0
    assert (lot.call_seconds.p95, lot.call.call_seconds.p95) == (0.5, 1.25)
    assert lot.call_seconds.calls == lot.call.call_seconds.calls == 12
    assert all(own.call for own in record.contenders)
    assert lot.call_or_encoder is lot.call and record.call_or_encoder is record.call


def test_the_times_of_calls_are_validated_as_those_of_encoders(record):
    assert TimingPass.model_validate_json(record.model_dump_json(exclude_unset=True)) == record
    assert not [*pass_complaints(record, {})]
    content = record.content()
    content["contenders"][-1]["call"]["samples"] = [2.0] * 6
    changed = dict(pass_complaints(TimingPass.model_validate(content), {}))
    assert set(changed) == {
        f"contenders.2.call.{name}"
        for name in (
            *("seconds_per_example", "speedup.median", "speedup_padded.median"),
            "speedup_best.median",
        )
    }


def test_calls_are_timed_in_the_whole_pass_or_not_at_all(record):
    def found(whole: bool, of_all: bool, protocol: int) -> dict[str, str]:
        content = record.content() | {"protocol": protocol}
        if not whole:
            del content["call"]
        for own in content["contenders"][len(content["contenders"]) * of_all :]:
            del own["call"]
        return dict(pass_complaints(TimingPass.model_validate(content), {}))

    assert [*found(False, True, 2)] == [*found(True, False, 2)] == ["call"]
    assert [*found(False, False, 3)] == ["call"]
    assert not found(False, False, 2) and not found(True, True, 3)
    content = record.content()
    del content["contenders"][-1]["call"]
    assert [*dict(pass_complaints(TimingPass.model_validate(content), {}))] == ["call"]


def test_the_references_are_the_fastest_that_hold_their_score(record):
    def found(fastest: str, lost: tuple[str, ...]) -> list[tuple[str, str]]:
        content = record.content()
        content["call"]["fastest"] = {TORCH: fastest}
        for own in content["contenders"]:
            own["scores"]["selection"]["change"] = -0.02 * (own["name"] in lost)
        faults = pass_complaints(TimingPass.model_validate(content), {})
        return [fault for fault in faults if fault[0] in ("call.fastest", "call.best")]

    assert not found(DENSE_NAME, ())
    # A call of packed dense takes 5.5 s, of padded 5 s: within the slack of 10%.
    assert not found(PACKED, ())
    assert not found(PACKED, (DENSE_NAME,))
    lost = f"{DENSE_NAME} in {TORCH} does not hold its score on selection"
    assert ("call.fastest", lost) in found(DENSE_NAME, (DENSE_NAME,))
    for own in record.contenders:
        if own.name == PACKED:
            own.call.samples[:] = [14.0] * 6
    ratio = f"{DENSE_NAME} in {TORCH} is 1.4 times faster"
    assert found(PACKED, ()) == [("call.fastest", ratio), ("call.best", ratio)]


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

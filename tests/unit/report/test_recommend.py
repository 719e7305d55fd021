"""Recommendations with choices worked by hand."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stores import in_backend, over_backends, predicted, trial, with_call, write

from lotbench.errors import InputError
from lotbench.report import advice
from lotbench.report.recommend import Limits, default_where, recommend
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import TimedModel, _processes, call_seconds, is_tie, times_slower
from lotbench.store.passes import TimingPass

ROOT = Path(__file__).parents[3]
POINT = Limits(drop=1.0, p95=None, batch=1, threads=1, device="cpu")


LABELS = {"labels": {split: "1" * 200 for split in ("selection", "validation")}}


def named(choice) -> tuple[str, str]:
    """The trial and the backend of a choice."""
    return choice.row.run.trial.trial_id, choice.backend


def calls(p95: float) -> dict:
    return {"p50": p95 / 2, "p90": p95, "p95": p95, "p99": p95, "calls": 100}


def timed(name, backend, seconds, change=0.0, p95=None, **more) -> dict:
    """A contender with four equal rounds of 100 texts."""
    more = {"samples": [100 * seconds] * 4, **more}
    if p95 is not None:
        more["call_seconds"] = calls(p95)
    budget = {"scale": 1.0} if name == "l" else {"scale": 2.0} if name == "m" else {}
    return in_backend(
        name, backend, 2.0, 1.5, change, seconds, trial_id=name, budget=budget, **more
    )


@pytest.fixture
def store(tmp_path):
    """Dense has 180 of 200 texts; l loses 2 of them (1 point) on selection, m 3 (1.5 points)."""
    write(
        tmp_path,
        trial("d", "dense", predicted({"selection": 180, "validation": 180}, 1), data=LABELS),
    )
    own = predicted({"selection": 178, "validation": 176}, 2, budget={"scale": 1.0})
    write(tmp_path, trial("l", "ltp", own, data=LABELS, model="models/l"))
    own = predicted({"selection": 177, "validation": 180}, 4, budget={"scale": 2.0})
    write(tmp_path, trial("m", "tr-bert", own, data=LABELS))
    (tmp_path / "models" / "l").mkdir(parents=True)
    rows = [
        timed("d", "torch-fp32", 0.020, p95=0.030),
        timed("d", "onnx-int8", 0.008, p95=0.012),
        timed("l", "torch-fp32", 0.010, p95=0.015),
        timed("l", "onnx-fp32", 0.005, p95=0.009),
        timed("l", "onnx-int8", 0.004, change=-0.001, p95=0.005),
        timed("m", "onnx-int8", 0.002, p95=0.003),
    ]
    write(tmp_path, over_backends("p", "2025", rows, batch_size=1, examples=100))
    return tmp_path


def test_the_fastest_within_the_drop_is_chosen_on_selection(store):
    (found,) = recommend(StoreView(store), POINT)
    # m is too bad on selection (better on validation), and int8 costs l a tenth of a point.
    assert named(found.choice) == ("l", "onnx-fp32")
    assert named(found.runner_up) == ("d", "onnx-int8")
    assert named(found.passed_over) == ("l", "onnx-int8")
    assert found.choice.margins["selection"].value == pytest.approx(-1.0)
    assert found.choice.margins["validation"].value == pytest.approx(-2.0)
    assert found.choice.score.value == pytest.approx(0.88)
    assert found.choice.score.low < 0.88 < found.choice.score.high
    text = advice.as_text(found, StoreView(store), POINT)
    assert text.startswith("toy: LTP at scale=1.0 in onnx-fp32 (l)\n")
    # Only dense keeps to a point on both splits.
    past = "past the limit there; the fastest that keeps to it on both splits: dense in onnx-int8"
    assert past in text
    assert advice.as_json(found, StoreView(store), POINT)["holding"]["trial_id"] == "d"
    assert "onnx-int8 (d): slower, 1.6" in text
    command = f"lotbench export {store}/models/l exported --backend onnx-fp32 --budget 1.0"
    assert text.splitlines()[-1].split(None, 1) == ["next", command]


def test_with_calls_the_choice_is_by_the_call(store):
    # The encoder of l is the faster one, and its call the slower one.
    rows = [
        with_call(timed("d", "onnx-int8", 0.008, p95=0.012), 1.0, 0.009, p95=0.013),
        with_call(timed("l", "onnx-fp32", 0.005, p95=0.009), 0.9, 0.010, p95=0.014),
    ]
    write(store, over_backends("q", "2026", rows, batch_size=2, examples=100))
    limits = Limits(1.0, advice.seconds("13ms"), 2, 1, "cpu")
    (found,) = recommend(StoreView(store), limits)
    assert named(found.choice)[0] == "d"
    assert (found.choice.p95, found.runner_up) == (0.013, None)
    text = advice.as_text(found, StoreView(store), limits)
    assert "18.0 ms" in text and "a call from text to answer, 16 ms of it in the encoder" in text
    own = advice.as_json(found, StoreView(store), limits)["model"]
    assert (own["timed"], own["call_seconds"]["value"]) == ("call", pytest.approx(0.018))


def test_a_looser_drop_chooses_a_faster_model(store):
    (found,) = recommend(StoreView(store), Limits(1.5, None, 1, 1, "cpu"))
    assert named(found.choice)[0] == "m"
    # The store does not have its model.
    assert "has no models" in advice.as_text(found, StoreView(store), POINT)


def test_a_limit_of_time_excludes_what_is_good_enough(store):
    limits = Limits(1.0, advice.seconds("4ms"), 1, 1, "cpu")
    (found,) = recommend(StoreView(store), limits)
    # l in onnx-fp32 is within a point and needs 9 ms; m is fast enough and half a point past.
    assert found.choice is None and found.nearest is not None
    assert named(found.nearest) == ("l", "onnx-fp32")
    text = advice.as_text(found, StoreView(store), limits)
    assert "no model keeps to a drop of 1 and a 95th percentile of 4 ms; the nearest is LTP" in text
    assert "95% of its calls within 9 ms, allowed are 4 ms" in text


def test_nothing_is_good_enough(store):
    (store / "trials" / "d.json").unlink()
    limits = Limits(0.0, None, 1, 1, "cpu")
    teacher = {"metrics": {split: {"accuracy": 0.9} for split in ("selection", "validation")}}
    for name, method, right in (("l", "ltp", 178), ("m", "tr-bert", 177)):
        budget = {"scale": 1.0 if name == "l" else 2.0}
        own = predicted({"selection": right, "validation": right}, 2, budget=budget)
        write(store, trial(name, method, own, data=LABELS, teacher=teacher))
    (found,) = recommend(StoreView(store), limits)
    assert (found.reference, found.choice) == ("teacher", None)
    # The best score, and of equal ones the faster backend.
    assert named(found.nearest) == ("l", "onnx-fp32")
    assert found.nearest.excess(limits)[0] == pytest.approx(1.0)


def passes(one: list[float], other: list[float], floor: float = 0.0):
    rows = [
        timed("l", "torch-fp32", float(np.median(one)) / 100, samples=one, group=0),
        timed("m", "torch-fp32", float(np.median(other)) / 100, samples=other, group=0),
    ]
    return in_a_pass(rows, noise_floor={"ratio": floor}, groups=[{"rounds": [2, 2]}])


def in_a_pass(rows: list[dict], **more) -> list[TimedModel]:
    record = over_backends("p", "2025", rows, batch_size=1, examples=100) | more
    timed = TimingPass.model_validate(record)
    return [TimedModel(timed, contender) for contender in timed.contenders]


def test_models_of_a_group_are_compared_round_by_round():
    # The machine slows down by half, and one model is always 10% slower than the other.
    fast = [1.0, 1.5, 1.0, 1.5]
    slow, quick = passes([1.1 * each for each in fast], fast)
    ratio = times_slower(slow, quick)
    assert tuple(ratio) == pytest.approx((1.1, 1.1, 1.1))
    assert not is_tie(ratio, slow, quick)
    low, high = call_seconds(quick)[1:]
    assert (low, high) == pytest.approx((0.010, 0.015))
    # A noise floor of 20% hides 10%.
    slow, quick = passes([1.1 * each for each in fast], fast, floor=0.2)
    assert is_tie(times_slower(slow, quick), slow, quick)


def test_calls_are_compared_with_calls():
    """One encoder is twice as fast as the other, and its call 10% slower."""
    rows = [
        with_call(timed("l", "torch-fp32", 0.010, group=0), 1.0, 0.022),
        with_call(timed("m", "torch-fp32", 0.020, group=0), 1.0, 0.020),
    ]
    call = {"fastest": {}, "best": None, "noise_floor": {"ratio": 0.05}}
    whole = {"noise_floor": {"ratio": 0.2}, "groups": [{"rounds": [2, 2]}]}
    slow, quick = in_a_pass(rows, **whole, call=call)
    ratio = times_slower(slow, quick)
    assert tuple(ratio) == pytest.approx((1.1, 1.1, 1.1))
    assert not is_tie(ratio, slow, quick)


def test_a_process_that_times_two_groups_is_one_process():
    rows = [timed("dense", "torch-fp32", 0.01, samples=[1.0] * 18)]
    (model,) = in_a_pass(rows, groups=[{"rounds": [4, 6]}, {"rounds": [5, 3]}])
    assert _processes(model) == [9, 9]


def test_a_task_that_was_not_timed_does_not_hide_the_others(store, caplog):
    rows = predicted({"selection": 180, "validation": 180}, 1)
    write(store, trial("o", "dense", rows, task="other", data=LABELS))
    (found,) = recommend(StoreView(store), POINT)
    assert found.task == "toy"
    assert "other: nothing is timed on cpu" in caplog.text


def test_a_difference_within_its_interval_is_a_tie(store):
    rows = [
        timed("d", "torch-fp32", 0.0101, samples=[1.0, 1.1, 0.9, 1.04], group=0),
        timed("l", "torch-fp32", 0.0100, samples=[1.1, 1.0, 1.0, 0.9], group=0),
    ]
    write(store, over_backends("q", "2026", rows, batch_size=4, examples=100))
    limits = Limits(1.0, None, 4, 1, "cpu")
    (found,) = recommend(StoreView(store), limits)
    assert (named(found.choice)[0], named(found.runner_up)[0]) == ("l", "d")
    text = advice.as_text(found, StoreView(store), limits)
    assert "a tie, it takes" in text
    assert "its score on selection is +1.0 points from the choice's" in text
    assert advice.as_json(found, StoreView(store), limits)["tie"] is True


def test_a_lucky_seed_is_not_chosen(store):
    """m loses 1.5 points with one seed and none with another: 0.75 in the mean."""
    rows = predicted({"selection": 180, "validation": 180}, 4, budget={"scale": 2.0})
    write(store, trial("m1", "tr-bert", rows, seed=1, data=LABELS))
    lucky = timed("m", "onnx-int8", 0.001, p95=0.003) | {"trial_id": "m1"}
    seconds = (("d", 0.008), ("l", 0.004), ("m", 0.002))
    again = [lucky, *(timed(name, "onnx-int8", own, p95=0.01) for name, own in seconds)]
    write(store, over_backends("q", "2026", again, batch_size=1, examples=100))
    (strict,) = recommend(StoreView(store), Limits(0.5, None, 1, 1, "cpu"))
    assert named(strict.choice)[0] == "d"
    (loose,) = recommend(StoreView(store), POINT)
    assert named(loose.choice)[0] == "m1"
    assert loose.choice.margins["selection"].value == pytest.approx(-0.75)
    # The other seed of the choice is no runner-up.
    assert named(loose.runner_up)[0] == "l"
    assert "mean of 2 seeds (chosen by this)" in advice.as_text(loose, StoreView(store), POINT)


def test_the_default_setting_is_one_that_was_timed(store):
    assert default_where(StoreView(store)) == ("cpu", 1, 1)
    (store / "timings" / "p.json").unlink()
    for name, batch in (("q", 8), ("r", 32)):
        rows = [timed("l", "onnx-fp32", 0.005, p95=0.009)]
        where = {"batch_size": batch, "threads": batch // 4}
        write(store, over_backends(name, "2026", rows, examples=100, **where))
    assert default_where(StoreView(store)) == ("cpu", 2, 8)
    assert default_where(StoreView(store), threads=8) == ("cpu", 8, 32)
    # And so the message says what is timed.
    assert default_where(StoreView(store), "cuda") == ("cuda", 1, 1)


def test_what_is_not_timed_is_told(store):
    with pytest.raises(InputError, match=r"batch 8 .*timed are cpu-1t-b1\. .*batch_sizes=\[8\]"):
        recommend(StoreView(store), Limits(1.0, None, 8, 1, "cpu"))
    with pytest.raises(InputError, match=r"nothing is timed on cuda.*devices=\[cuda\]"):
        recommend(StoreView(store), Limits(1.0, None, 1, 1, "cuda"))
    with pytest.raises(InputError, match="a time with its unit is needed"):
        advice.seconds("20")


def command(store, *options: str) -> subprocess.CompletedProcess[str]:
    """The command line, where torch and ray cannot be imported."""
    code = (
        "import sys; sys.modules['torch'] = sys.modules['ray'] = None\n"
        "from lotbench.cli import main; main()"
    )
    words = [sys.executable, "-c", code, "recommend", str(store), *options]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_the_command_without_torch_and_ray(store):
    done = command(store, "--max-drop", "1", "--p95", "0.02s", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert found["meets"] is True
    assert (found["model"]["trial_id"], found["model"]["backend"]) == ("l", "onnx-fp32")
    assert found["model"]["selection_margin"]["value"] == pytest.approx(-1.0)
    assert found["model"]["call_seconds"]["value"] == pytest.approx(0.005)
    assert found["runner_up_times_slower"]["value"] == pytest.approx(1.6)
    assert (found["tie"], found["why_not"]) == (False, None)
    assert found["next"].startswith("lotbench export ")
    none = command(store, "--max-drop", "1", "--p95", "1ms")
    assert none.returncode == 1
    assert "the nearest is" in none.stdout
    assert command(store, "--max-drop", "1", "--batch", "3").returncode == 2

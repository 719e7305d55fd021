"""The frame of a store has what was written, with the newest comparable times."""

from __future__ import annotations

import re

import numpy as np
import pytest
from stores import contender, evaluation, failed, in_backend, over_backends, timing, trial, write

from lotbench.errors import InputError
from lotbench.report.pareto import settings_of
from lotbench.store.frame import frame, noise_floors
from lotbench.store.store import Store


def test_frame_has_one_row_per_trial_and_evaluation(tmp_path):
    params = {"top_p": 0.3, "thresholds": [0.3, 0.5], "router": {"width": 32}}
    curve = [evaluation(0.9, 2.0, {"threshold": 0.3}), evaluation(0.8, 4.0, {"threshold": 0.5})]
    write(tmp_path, trial("a", "lot", curve, params=params))
    write(tmp_path, failed("b"))
    write(tmp_path, trial("c", "lot", []))
    table = frame(tmp_path)
    assert list(table["trial_id"]) == ["a", "a", "b", "c"]
    assert list(table["status"]) == ["done", "done", "failed", "done"]
    first, second, broken, _ = table.to_dict("records")
    assert first["sweep"] == tmp_path.name
    assert (first["param.top_p"], first["param.router.width"]) == (0.3, 32)
    assert first["param.thresholds"] == "[0.3, 0.5]"
    assert (second["budget"], second["budget.threshold"]) == ("threshold=0.5", 0.5)
    assert (second["score"], second["score_name"]) == (0.8, "accuracy")
    assert second["metric.accuracy"] == 0.8
    assert second["teacher_score"] == 0.89
    # Layers keep 1 and 1/4 of the tokens: (1 + 1/4) / 2.
    assert (second["keep_ratio"], second["keep_ratio.1"]) == (0.625, 0.25)
    assert (second["flops"], second["dense_flops"], second["flops_speedup"]) == (150, 600, 4)
    assert (second["train_seconds"], second["steps"], second["cpu"]) == (2.5, 10, "Abacus 9000")
    assert broken["error"] == "NonFiniteLoss: task loss is nan (step 37)"
    assert broken["score"] != broken["score"]


def test_trials_that_differ_only_in_their_seed_share_a_setting(tmp_path):
    for name, seed, lam in (("a", 0, 0.1), ("b", 1, 0.1), ("c", 0, 0.2)):
        rows = [evaluation(0.9, 2.0)]
        write(tmp_path, trial(name, "ltp", rows, seed=seed, params={"lambda": lam}))
    a, b, c = frame(tmp_path)["setting"]
    assert a == b != c


def test_dense_of_each_seed_has_the_time_of_its_own_seed(tmp_path):
    for seed, speed in ((0, 1.0), (1, 0.5)):
        write(tmp_path, trial(f"d{seed}", "dense", [evaluation(0.9, 1.0)], seed=seed))
        record = timing(f"p{seed}", f"2025-01-0{seed + 1}", [contender("dense", speed)], seed=seed)
        write(tmp_path, record)
    assert list(frame(tmp_path)["real.cpu-1t-b32-fp32"]) == [1.0, 0.5]


def test_the_newest_pass_that_timed_a_model_wins(tmp_path):
    write(tmp_path, trial("a", "lot", [evaluation(0.9, 2.0), evaluation(0.8, 4.0, {"k": 3})]))
    write(tmp_path, trial("d", "dense", [evaluation(0.9, 1.0)]))
    # The names sort against the time, so that order by file name would fail.
    old = [contender("lot", 1.5, "a"), contender("lot", 2.5, "a", budget={"k": 3})]
    old[1].pop("noisy")  # as in passes that were timed before it was recorded
    write(tmp_path, timing("z", "2025-01-01", old))
    new = [contender("lot", 1.7, "a", flagged=True, noisy=True), contender("dense", 0.9)]
    write(tmp_path, timing("b", "2025-01-02", new))
    write(tmp_path, timing("c", "2025-01-02", [], batch_size=1))
    table = frame(tmp_path)
    assert settings_of(table) == ["cpu-1t-b32-fp32"]
    assert list(table["real.cpu-1t-b32-fp32"]) == [1.7, 2.5, 0.9]
    assert list(table["real.cpu-1t-b32-fp32.padded"]) == [3.4, 5.0, 1.8]
    assert list(table["real.cpu-1t-b32-fp32.low"]) == pytest.approx([1.6, 2.4, 0.8])
    assert list(table["real.cpu-1t-b32-fp32.flagged"]) == [True, False, False]
    noisy = table["real.cpu-1t-b32-fp32.noisy"]
    assert list(noisy.fillna(False)) == [True, False, False]
    assert list(noisy.isna()) == [False, True, False]


def test_a_column_has_timings_of_one_machine(tmp_path, caplog):
    write(tmp_path, trial("a", "lot", [evaluation(0.9, 2.0)]))
    write(tmp_path, trial("b", "ltp", [evaluation(0.9, 2.0)]))
    old = [contender("a", 1.8, "a"), contender("b", 1.5, "b")]
    write(tmp_path, timing("old", "2025-01-01", old, device_name="Slide rule"))
    write(tmp_path, timing("new", "2025-01-02", [contender("a", 1.7, "a")]))
    table = frame(tmp_path).set_index("trial_id")
    assert re.search("timing old skipped: .* another machine", caplog.text)
    assert table.loc["a", "real.cpu-1t-b32-fp32"] == 1.7
    assert np.isnan(table.loc["b", "real.cpu-1t-b32-fp32"])


def test_the_newest_noise_floor_counts(tmp_path):
    write(tmp_path, timing("new", "2025-01-02", []))
    old = timing("old", "2025-01-01", []) | {"noise_floor": {"ratio": 0.5}}
    write(tmp_path, old)
    assert noise_floors(tmp_path) == {("toy", "cpu-1t-b32-fp32"): 0.01}


def test_an_undefined_score_is_missing_and_the_column_stays_numeric(tmp_path):
    write(tmp_path, trial("a", "lot", [evaluation(None, 2.0)]))
    table = frame(tmp_path)
    assert table["score"].dtype == float
    assert table["score"].isna().all()


def test_layer_columns_are_in_the_order_of_layers(tmp_path):
    write(tmp_path, trial("a", "lot", [evaluation(0.9, 2.0, keep_ratio=[1.0] * 12)]))
    layers = [name for name in frame(tmp_path) if name.startswith("keep_ratio.")]
    assert layers == [f"keep_ratio.{layer}" for layer in range(12)]


def test_no_store_and_an_empty_store(tmp_path):
    with pytest.raises(InputError, match="no results here"):
        frame(tmp_path)
    assert Store(tmp_path).trials() == []
    (tmp_path / "trials").mkdir()
    assert len(frame(tmp_path)) == 0


def test_the_frame_has_each_backend_and_the_best_that_holds_the_score(tmp_path):
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
    write(tmp_path, timing("old", "2024-01-01", [contender("a k=1", 1.7, "a", budget=budget)]))
    table = frame(tmp_path).set_index("method")
    assert settings_of(table) == ["cpu-1t-b32", "cpu-1t-b32-fp32"]
    assert list(table["real.cpu-1t-b32"].loc[["lot", "dense"]]) == [2.0, 1.0]
    lot = table.loc["lot"]
    assert lot["real.cpu-1t-b32.backend"] == "openvino-bf16"
    assert (lot["real.cpu-1t-b32.same"], lot["real.cpu-1t-b32.low"]) == (2.0, 1.8)
    assert (lot["real.cpu-1t-b32.score"], lot["real.cpu-1t-b32.seconds"]) == (0.895, 0.1)
    assert lot["real.cpu-1t-b32.flops"] == 1.9  # counted by torch, on the same texts
    assert (lot["real.cpu-1t-b32.flagged"], lot["real.cpu-1t-b32.noisy"]) == (False, True)
    assert (lot["real.cpu-1t-b32-onnx-int8"], lot["real.cpu-1t-b32-onnx-int8.best"]) == (3.0, 4.0)
    assert lot["real.cpu-1t-b32-onnx-int8.score"] == 0.894
    assert lot["real.cpu-1t-b32-fp32"] == 1.7  # the older pass

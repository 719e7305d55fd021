"""The store survives kills, damage and concurrency, and its frame has what was written."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from stores import (
    contender,
    evaluation,
    failed,
    in_backend,
    map_record,
    over_backends,
    timing,
    trial,
    write,
)

from lotbench.errors import InputError
from lotbench.report.pareto import settings_of
from lotbench.store.files import as_json, write_json
from lotbench.store.frame import frame, noise_floors
from lotbench.store.records import Evaluation, Map, TimingPass, Trial, schema
from lotbench.store.store import Store

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def test_a_row_comes_back_as_written(tmp_path):
    row = trial("a", "lot", [evaluation(0.9, 2.0)])
    path = write(tmp_path, row)
    assert path == tmp_path / "trials" / "a.json"
    assert Store(tmp_path).trials() == [Trial.model_validate(row)]
    assert json.loads(path.read_text()) == row
    assert os.listdir(path.parent) == ["a.json"]


def test_a_row_replaces_an_older_one_of_the_same_trial(tmp_path):
    write(tmp_path, failed("a"))
    assert Store(tmp_path).done() == {}
    write(tmp_path, trial("a", "ltp", []))
    write(tmp_path, failed("b"))
    assert Store(tmp_path).done().keys() == {"a"}


def test_a_nan_is_refused_and_leaves_nothing_behind(tmp_path):
    write(tmp_path, trial("a", "lot", []))
    with pytest.raises(ValueError, match="JSON compliant"):
        write(tmp_path, trial("a", "lot", [evaluation(float("nan"), 2.0)]))
    assert os.listdir(tmp_path / "trials") == ["a.json"]
    assert Store(tmp_path).trials() == [Trial.model_validate(trial("a", "lot", []))]


def test_half_written_temporary_files_are_ignored(tmp_path):
    write(tmp_path, trial("a", "lot", []))
    (tmp_path / "trials" / ".b.json.0123.tmp").write_text('{"trial_id": "b", "sta')
    assert [trial.trial_id for trial in Store(tmp_path).trials()] == ["a"]


def damaged(**change) -> bytes:
    return json.dumps(trial("bad", "lot", []) | change).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"trial_id": "bad", "sta', "Unterminated"),
        (b"", "Expecting value"),
        (b"\xff\xfe\x00", "decode"),
        (b"[1, 2]", "not a JSON object"),
        (b'{"trial_id": "bad"}', "no status, task, method, seed, params"),
        (json.dumps(trial("other", "lot", [])).encode(), "its trial_id is 'other'"),
        (
            damaged(evaluations=[{"budget": {}}]),
            r"no evaluations\.0\.split, evaluations\.0\.metrics",
        ),
        (damaged(params=None), "params is None, not an object"),
        (damaged(evaluations=3), "evaluations is 3, not a list"),
        (damaged(training=[1]), r"training is \[1\], not an object"),
        (damaged(evaluations=[evaluation("high", 2.0)]), "accuracy is 'high', not a number"),
        (damaged(machine={"cpu": ["x"]}), r"machine\.cpu is \['x'\], not a text"),
        (damaged(seed=True), "seed is True, not a whole number"),
        (damaged(metric=None), "metric is None, not a text"),
        (damaged(metric="x"), "metric is 'x', not one of accuracy, f1, matthews, p"),
        (damaged(params={"x": float("nan")}), "NaN is not a JSON number"),
        (damaged(params={"x": "N"}).replace(b'"N"', b"1e400"), "1e400 is too large for a number"),
        (damaged(method="\ud800"), "surrogates not allowed"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (damaged(task=json.loads("[" * 600 + "]" * 600)), r"task is \[\[.*, not a text"),
        (damaged(params={"x": json.loads("[" * 600 + "]" * 600)}), "nested too deeply"),
        (damaged(evaluations=[evaluation(10**400, 2.0)]), r"metrics\.accuracy: .* beyond 1e300"),
        (damaged(evaluations=[evaluation(0.5, 2.0) | {"flops_speedup": 0}]), "not above zero"),
        (damaged(evaluations=[evaluation(0.5, 2.0, {"k": [1]})]), r"budget.* is \[1\]"),
        (damaged(seed=10**400), "seed is 1000.*, not less than"),
        (damaged(task="../../x"), r"task is '\.\./\.\./x', not a name"),
        (damaged(model="models/\0"), "model is .*, not a folder of the store"),
        (damaged(model="../../etc"), "model is .*, not a folder of the store"),
        (damaged(config={"params": [1]}), "config.params is not an object"),
        (damaged(data={"labels": {"validation": "01!"}}), "labels.validation has a character"),
        (
            damaged(evaluations=[evaluation(0.5, 2.0, predictions="0$")]),
            r"evaluations\.0\.predictions has a character",
        ),
        (
            damaged(
                evaluations=[evaluation(0.5, 2.0, predictions="01")],
                data={"labels": {"validation": "010"}},
            ),
            r"evaluations\.0\.predictions has 2 texts, not 3",
        ),
    ],
)
def test_a_damaged_file_is_named_and_skipped(tmp_path, caplog, content, reason):
    write(tmp_path, trial("a", "lot", [evaluation(0.9, 2.0)]))
    (tmp_path / "trials" / "bad.json").write_bytes(content)
    assert [trial.trial_id for trial in Store(tmp_path).trials()] == ["a"]
    (note,) = caplog.messages
    assert re.search(rf"bad\.json: skipped, .*{reason}", note)
    assert list(frame(tmp_path)["trial_id"]) == ["a"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"noise_floor": [0.1]}, r"noise_floor is \[0\.1\], not an object"),
        ({"noise_floor": {"low": 1}}, r"no noise_floor\.ratio"),
        ({"machine": "Slide rule"}, "machine is 'Slide rule', not an object"),
        ({"contenders": [contender("a", 1.0, 7)]}, r"contenders\.0\.trial_id is 7, not a text"),
        ({"engine": "1"}, "engine is '1', not a whole number"),
        (
            {"contenders": [contender("a", 1.0) | {"speedup": {"median": 0, "low": 0, "high": 1}}]},
            r"contenders\.0\.speedup\.median: a ratio is not above zero",
        ),
    ],
)
def test_a_damaged_pass_is_named_and_skipped(tmp_path, caplog, change, reason):
    write(tmp_path, trial("a", "lot", [evaluation(0.9, 2.0)]))
    write_json(tmp_path / "timings" / "bad.json", timing("bad", "2025-01-01", []) | change)
    assert noise_floors(tmp_path) == {}
    (note,) = caplog.messages
    assert re.search(rf"bad\.json: skipped, {reason}", note)
    assert len(frame(tmp_path)) == 1


def _write_for_ever(folder, worker):
    turn = 0
    while True:
        # Large enough that a write takes many system calls.
        rows = [evaluation(0.5, 2.0) for _ in range(300)]
        write(folder, trial("shared", f"{worker}-{turn}", rows))
        write(folder, trial(f"own-{worker}", "lot", rows))
        turn += 1


@pytest.mark.slow
def test_killed_and_concurrent_writers_never_leave_half_a_row(tmp_path, caplog):
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_write_for_ever, args=(tmp_path, number)) for number in range(3)
    ]
    for worker in workers:
        worker.start()
    names, reads, end = set(), 0, time.monotonic() + 30
    try:
        while (len(names) < 4 or reads < 50) and time.monotonic() < end:
            trials = Store(tmp_path).trials()
            assert not caplog.records  # each damaged file has one
            assert all(len(trial.evaluations) == 300 for trial in trials)
            names, reads = {trial.trial_id for trial in trials}, reads + 1
    finally:
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
            worker.join()
    assert names == {"shared", "own-0", "own-1", "own-2"}
    assert Store(tmp_path).done().keys() == names


@pytest.mark.parametrize("kind", [Trial, TimingPass, Map])
def test_the_reference_results_are_read_and_written_byte_for_byte(kind):
    files = list(REFERENCE.glob(f"*/{kind.FOLDER}/*.json"))
    assert files
    for file in files:
        text = file.read_text()
        assert as_json(kind.model_validate(json.loads(text)).content()) == text, file


def test_rewriting_keeps_unknown_keys_integers_and_absent_keys():
    given = {"note": [1], "median": 1, "low": 0.5, "later": {"b": 2, "a": 1}, "high": 2}
    row = {"name": "a", "speedup": given, "samples": None}
    record = TimingPass.model_validate(timing("p", "2025", [row]))
    assert as_json(record.content()["contenders"]) == as_json([row])
    assert (record.protocol, record.engine) == (1, 1)
    assert not {"protocol", "engine"} & record.content().keys()


def test_the_schema_describes_every_field():
    found = schema()["$defs"]
    assert {"Trial", "Evaluation", "TimingPass", "Contender", "Map", "Cell"} <= found.keys()
    assert found["Evaluation"]["required"] == ["budget", "split", "metrics"]
    assert "shape (layers,)" in found["Evaluation"]["properties"]["keep_ratio"]["description"]
    # A row of the schema is a row of the store.
    named = Evaluation.model_validate(evaluation(0.9, 2.0)).content()
    assert named.keys() <= found["Evaluation"]["properties"].keys()


def test_store_returns_its_trials_models_and_maps(tmp_path):
    store = Store(tmp_path)
    write(tmp_path, trial("a", "lot", [], model="models/a"))
    write(tmp_path, trial("b", "lot", [], model="models/b"))
    write(tmp_path, failed("c"))
    (tmp_path / "models" / "a").mkdir(parents=True)
    assert list(store.done()) == ["a", "b"]
    assert store.trial("c").status == "failed" and store.trial("d") is None
    assert [store.model(each) for each in store.trials()] == [tmp_path / "models" / "a", None, None]
    write(tmp_path, map_record("n", "2025-01", {(1, 32): (1.2,)}))
    write(tmp_path, map_record("m", "2025-02", {(1, 32): (1.2,)}))
    assert [each.map_id for each in store.maps()] == ["n", "m"]
    with (
        store.lock(),
        pytest.raises(InputError, match="another process is using"),
        Store(tmp_path).lock(),
    ):
        pass


def test_a_timing_pass_is_never_overwritten(tmp_path):
    write(tmp_path, timing("p", "2025-01-01", []))
    with pytest.raises(FileExistsError, match="never overwritten"):
        write(tmp_path, timing("p", "2025-01-02", []))
    assert Store(tmp_path).timings()[0].created == "2025-01-01"


def test_setting_label():
    record = TimingPass.model_validate(timing("p", "", []))
    assert record.setting.label == "cpu-1t-b32-fp32"


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


@pytest.mark.parametrize("version", ["protocol", "engine"])
def test_passes_of_two_versions_are_not_compared(tmp_path, version):
    write(tmp_path, timing("old", "2025-01-01", []))
    write(tmp_path, timing("same", "2025-01-02", []) | {version: 1})
    assert [each.pass_id for each in Store(tmp_path).newest_passes()] == ["old", "same"]
    write(tmp_path, timing("next", "2025-01-03", []) | {version: 2})
    assert [each.pass_id for each in Store(tmp_path).newest_passes()] == ["next"]


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


def test_passes_over_other_backends_are_not_comparable(tmp_path):
    write(tmp_path, trial("a", "lot", [evaluation(0.9, 2.0)]))
    one = [in_backend("a", "torch-fp32", 1.0, 1.0, 0.0, 1.0, trial_id="a")]
    two = [*one, in_backend("a", "onnx-fp32", 1.0, 1.0, 0.0, 0.5, trial_id="a")]
    for name, rows in (("a", one), ("b", two)):
        write(tmp_path, over_backends(name, f"2025-01-01{name}", rows))
    assert [own.pass_id for own in Store(tmp_path).newest_passes()] == ["b"]

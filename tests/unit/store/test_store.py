"""The store survives kills, damage and concurrency."""

import json
import multiprocessing
import os
import re
import signal
from pathlib import Path

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
from lotbench.scoring.predictions import decode
from lotbench.store import files
from lotbench.store.files import as_json, write_json
from lotbench.store.maps import Map
from lotbench.store.passes import TimingPass
from lotbench.store.rows import Trial
from lotbench.store.store import Store

REFERENCE = Path(__file__).parents[3] / "results" / "reference"
GOLDEN = Path(__file__).parents[2] / "golden" / "protocol_2"


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
    with pytest.raises(ValueError, match="nan is not within"):
        write(tmp_path, trial("a", "lot", [evaluation(float("nan"), 2.0)]))
    assert os.listdir(tmp_path / "trials") == ["a.json"]
    assert Store(tmp_path).trials() == [Trial.model_validate(trial("a", "lot", []))]


def damaged(**change) -> bytes:
    """A row with a change, of itself or of its one evaluation."""
    row, model = trial("bad", "lot", []), evaluation(0.5, 2.0)
    of_model = {key: change.pop(key) for key in list(change) if key in model}
    models = {"evaluations": [model | of_model]} if of_model else {}
    return json.dumps(row | models | change).encode()


def answered(labels: str | list, predictions: str | list, classes: int | None = None) -> bytes:
    data = {"labels": {"validation": labels}, "classes": classes and list(range(classes))}
    own = evaluation(0.5, 2.0, predictions=predictions)
    return damaged(evaluations=[own], data=data)


def of_means(mrr: str | list, cosine: list, **more) -> dict:
    """A row of ranks and cosines, without labels."""
    metrics = dict.fromkeys(["mrr", "cosine", *more], 0.5)
    own = evaluation(0.5, 2.0, metrics=metrics, predictions=mrr, answers={"cosine": cosine} | more)
    return {"metric": "mrr", "data": {}, "evaluations": [own, own]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"trial_id": "bad", "sta', "Unterminated"),
        (b"", "Expecting value"),
        (b"\xff\xfe\x00", "decode"),
        (b"[1, 2]", "mapping"),
        (b'{"trial_id": "bad"}', "status: "),
        (json.dumps(trial("other", "lot", [])).encode(), "its trial_id is 'other'"),
        (damaged(evaluations=[{"budget": {}}]), r"evaluations\.0\.split: "),
        (damaged(params=None), "params: "),
        (damaged(evaluations=3), "evaluations: .* list"),
        (damaged(training=[1]), "training: "),
        (damaged(metrics={"accuracy": "high"}), r"0\.metrics\.accuracy: "),
        (damaged(machine={"cpu": ["x"]}), r"machine\.cpu: .* string"),
        (damaged(seed=True), "seed: .* integer"),
        (damaged(metric=None), "needs metric and evaluations"),
        (damaged(metric="x"), "metric is 'x', not one of accuracy, f1, matthews, p"),
        (damaged(params={"x": float("nan")}), "not JSON compliant"),
        (damaged(params={"x": "N"}).replace(b'"N"', b"1e400"), "not JSON compliant"),
        (damaged(method="\ud800"), "surrogates not allowed"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (damaged(task=json.loads("[" * 600 + "]" * 600)), "task: .* string"),
        (damaged(params={"x": json.loads("[" * 600 + "]" * 600)}), "nested too deeply"),
        (damaged(metrics={"accuracy": 10**400}), r"metrics\.accuracy: .* is not within"),
        (damaged(flops_speedup=0), "flops_speedup: 0 is not within"),
        (damaged(flops=1e-9), "flops: 1e-09 is not with"),
        (damaged(metrics={"accuracy": 1.5}), r"metrics\.accuracy: 1\.5 is not within"),
        (damaged(keep_ratio=[1.2]), r"keep_ratio\.0: 1\.2"),
        (damaged(budget={"k": [1]}), r"evaluations\.0\.budget\..*: "),
        (damaged(seed=10**400), "seed: .* less than"),
        (damaged(task="../../x"), "task: "),
        *((damaged(model=path), "model: ") for path in ("models/\0", "models/..", "../x", "/etc")),
        (damaged(config={"params": [1]}), "config.params is not an object"),
        (answered("01!", "010"), r"data\.labels\.validation has '!', which is no class"),
        (answered("010", "0$1"), r"evaluations\.0\.predictions has '\$', which is no class"),
        (answered("010", "021", classes=2), r"predictions has '2', which is no class"),
        (answered([0, 1, 0], [0, 3000, 1], classes=40), "predictions has 3000, which is no class"),
        (
            answered([0, 1, -5], [0, 1, 1], classes=40),
            "labels.validation has -5, which is no class",
        ),
        (answered([0, 1, 0.5], [0, 1, 1], classes=40), "validation has 0.5, which is no class"),
        (answered([0, 1, 2**31], [0, 1, 1]), "validation has 2147483648, which is no class"),
        (answered("010", "01"), r"evaluations\.0\.predictions has 2 values, not 3 as the labels"),
        (damaged(**of_means("1b", [0.5, 0.5])), r"predictions has 'b', which is no class"),
        (damaged(**of_means([1, 0.5], [0.5, 0.5])), r"predictions has 0\.5, which is no class"),
        (damaged(**of_means("12", [0.5], spearman=[0.5])), "labels has none of the validation"),
        (damaged(**of_means("12", [0.5], kappa=[0.5])), r"answers\.kappa: not a metric"),
        (
            damaged(metric="mrr", evaluations=[evaluation(0.5, 2.0, metrics={"ndcg": 0.5})]),
            r"evaluations\.0\.answers has no ndcg",
        ),
        (
            damaged(**of_means("12", [0.5]), teacher={"predictions": {"validation": "1"}}),
            r"teacher\.predictions\.validation has 1 values, not 2 as evaluations\.0\.predictions",
        ),
    ],
)
def test_a_damaged_file_is_named_and_skipped(tmp_path, caplog, content, reason):
    write(tmp_path, trial("a", "lot", [evaluation(0.9, 2.0)]))
    (tmp_path / "trials" / "bad.json").write_bytes(content)
    assert [trial.trial_id for trial in Store(tmp_path).trials()] == ["a"]
    (note,) = caplog.messages
    assert re.search(rf"bad\.json: skipped, .*{reason}", note)


@pytest.mark.parametrize(
    ("metric", "data", "floor"),
    [
        ("accuracy", {}, 10),
        ("spearman", {"regression": True}, 10),
        ("spearman", {"kind": "embedding"}, 30),
        ("cosine", {"kind": "embedding"}, 30),
        # The file of a built-in task has no kind.
        ("mrr", {"max_length": 256}, 30),
        ("ndcg", {"kind": "ranking"}, 30),
    ],
)
def test_areas_of_vectors_and_rankings_have_a_deeper_floor(metric, data, floor):
    row = trial("a", "lot", [], metric=metric, config={"data": data})
    assert Trial.model_validate(row).floor == floor


def test_a_mean_has_its_own_number_of_values_and_needs_no_labels(tmp_path):
    # Ranks 0 and 10, with three cosines: a split may have other numbers of queries and texts.
    write(tmp_path, trial("a", "lot", []) | of_means("0a", [0.5, -0.25, 1]))
    (found,) = Store(tmp_path).trials()
    assert decode(found.evaluations[0].predictions).tolist() == [0, 10]
    assert found.evaluations[0].answers == {"cosine": [0.5, -0.25, 1]}


def sped_up(median: float, low: float, high: float) -> dict:
    speedup = {"median": median, "low": low, "high": high}
    return {"contenders": [contender("a", 1.0) | {"speedup": speedup}]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"noise_floor": [0.1]}, "noise_floor: "),
        ({"noise_floor": {"low": 1}}, r"noise_floor\.ratio: "),
        ({"machine": "Slide rule"}, "machine: "),
        ({"contenders": [contender("a", 1.0, 7)]}, r"contenders\.0\.trial_id: .* string"),
        ({"engine": "1"}, "engine: .* integer"),
        (sped_up(0, 0, 1), r"contenders\.0\.speedup\.median: 0 is not within"),
        (sped_up(1e-320, 1e-320, 1), r"speedup\.median: .* is not within"),
        (sped_up(2.0, 1.0, 1e299), r"speedup\.high: .* is not within"),
        (sped_up(3.0, 1.0, 2.0), r"contenders\.0\.speedup: the median 3 is outside the interval"),
        ({"contenders": [contender("a", 1.0, samples=[0.1, 0])]}, r"samples\.1: 0 is not within"),
        ({"contenders": [contender("a", 1.0, time_shares={"rest": 1.2})]}, "time_shares.rest: 1.2"),
        ({"contenders": [contender("a", 1.0, budget={"a": 1, "b": 2})]}, "more than one budget"),
    ],
)
def test_a_damaged_pass_is_named_and_skipped(tmp_path, caplog, change, reason):
    write(tmp_path, trial("a", "lot", [evaluation(0.9, 2.0)]))
    write_json(tmp_path / "timings" / "bad.json", timing("bad", "2025-01-01", []) | change)
    assert Store(tmp_path).timings() == []
    (note,) = caplog.messages
    assert re.search(rf"bad\.json: skipped, .*{reason}", note)


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
    names, reads = set(), 0
    try:
        while len(names) < 4 or reads < 50:
            assert all(worker.is_alive() for worker in workers)
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


@pytest.mark.parametrize("kind", [Trial, TimingPass])
@pytest.mark.slow
def test_the_reference_results_are_read_and_written_byte_for_byte(kind):
    files = [*REFERENCE.glob(f"*/{kind.FOLDER}/*.json"), *GOLDEN.glob(f"{kind.FOLDER}/*.json")]
    assert len(files) > 10
    for file in files:
        text = file.read_text()
        assert as_json(kind.model_validate(json.loads(text)).content()) == text, file


def test_a_map_is_read_and_written_but_for_the_order_of_its_keys():
    (file,) = GOLDEN.glob(f"{Map.FOLDER}/*.json")
    content = json.loads(file.read_text())
    again = Map.model_validate(content).content()
    assert json.dumps(again, sort_keys=True) == json.dumps(content, sort_keys=True)


def test_rewriting_keeps_unknown_keys_integers_and_absent_keys():
    speedup = {"median": 1, "low": 0.5, "high": 2, "note": [1], "later": {"b": 2, "a": 1}}
    row = contender("a", 1.0) | {"speedup": speedup}
    record = TimingPass.model_validate(timing("p", "2025", [row]))
    again = record.content()["contenders"][0]
    assert as_json(again["speedup"]) == as_json(speedup)
    assert again.keys() == row.keys()


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


def test_a_store_reads_a_file_again_only_if_it_has_changed(tmp_path, monkeypatch, caplog):
    for name in "ab":
        write(tmp_path, trial(name, "lot", []))
    (tmp_path / "trials" / "bad.json").write_text("{")
    read = []
    own = files.read_json
    monkeypatch.setattr(files, "read_json", lambda path: read.append(path.stem) or own(path))
    store = Store(tmp_path)
    first = store.trials()
    assert store.trials() == [*first] and read == ["a", "b", "bad"] and len(caplog.messages) == 1
    write(tmp_path, failed("b"))
    assert [own.status for own in store.trials()] == ["done", "failed"]
    assert store.trial("b").status == "failed" and read[3:] == ["b"]
    (tmp_path / "trials" / "b.json").unlink()
    assert [own.trial_id for own in store.trials()] == ["a"]


def test_nothing_is_written_through_a_link(tmp_path):
    store, other = tmp_path / "store", tmp_path / "other"
    write(store, trial("a", "lot", []))
    (other / "trials").mkdir(parents=True)
    outside = other / "trials" / "b.json"
    outside.write_text("mine")
    (store / "trials" / "b.json").symlink_to(outside)
    write(store, trial("b", "lot", []))
    assert outside.read_text() == "mine" and len(Store(store).trials()) == 2
    (store / "timings").symlink_to(other)
    with pytest.raises(InputError, match=r"timings: a link, which may lead out of the store"):
        write(store, timing("p", "2025-01-01", []))
    (store / "sweep.lock").symlink_to(outside)
    with pytest.raises(InputError, match=r"sweep\.lock: a link"), Store(store).lock():
        pass
    assert outside.read_text() == "mine" and os.listdir(other) == ["trials"]


def test_rows_that_are_no_regular_files_are_skipped(tmp_path, caplog):
    write(tmp_path, trial("a", "lot", []))
    os.mkfifo(tmp_path / "trials" / "pipe.json")
    (tmp_path / "trials" / "zero.json").symlink_to("/dev/zero")
    (tmp_path / "trials" / "folder.json").mkdir()
    (tmp_path / "trials" / "nowhere.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "trials" / ".b.json.0123.tmp").write_text('{"trial_id": "b", "sta')  # says nothing
    assert [own.trial_id for own in Store(tmp_path).trials()] == ["a"]
    whys = [message.rpartition("skipped, ")[2] for message in caplog.messages]
    assert whys == ["not a regular file", "No such file or directory", *whys[:1] * 2]


def test_a_timing_pass_is_never_overwritten(tmp_path):
    write(tmp_path, timing("p", "2025-01-01", []))
    with pytest.raises(FileExistsError, match="never overwritten"):
        write(tmp_path, timing("p", "2025-01-02", []))
    (record,) = Store(tmp_path).timings()
    assert (record.created, record.setting.label) == ("2025-01-01", "cpu-1t-b32")


@pytest.mark.parametrize("version", ["protocol", "engine"])
def test_passes_of_two_versions_are_not_compared(tmp_path, version):
    write(tmp_path, timing("old", "2025-01-01", []))
    write(tmp_path, timing("same", "2025-01-02", []) | {version: 1})
    assert [each.pass_id for each in Store(tmp_path).newest_passes()] == ["old", "same"]
    write(tmp_path, timing("next", "2025-01-03", []) | {version: 2})
    assert [each.pass_id for each in Store(tmp_path).newest_passes()] == ["next"]


def test_passes_over_other_backends_are_not_comparable(tmp_path):
    write(tmp_path, trial("a", "lot", [evaluation(0.9, 2.0)]))
    one = [in_backend("a", "torch-fp32", 1.0, 1.0, 0.0, 1.0, trial_id="a")]
    two = [*one, in_backend("a", "onnx-fp32", 1.0, 1.0, 0.0, 0.5, trial_id="a")]
    for name, rows in (("a", one), ("b", two)):
        write(tmp_path, over_backends(name, f"2025-01-01{name}", rows))
    assert [own.pass_id for own in Store(tmp_path).newest_passes()] == ["b"]

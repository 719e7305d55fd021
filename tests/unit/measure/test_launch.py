"""Timing passes: settings, the lock, and a real worker on a tiny random model."""

import json
import logging
import subprocess
import sys
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from simulated import SETTINGS
from tiny_models import random_model, save, tiny_encoder

from baselines.random_drop import RandomDrop
from lotbench import engine, machine
from lotbench.backends import TORCH
from lotbench.budget import Budget
from lotbench.engine.backbone import Backbone
from lotbench.engine.checkpoint import load
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.loading import load_tokenizer
from lotbench.engine.pooling import Pooling
from lotbench.errors import InputError, PassFailed
from lotbench.measure import calls as measure_calls
from lotbench.measure import launch, protocol, worker
from lotbench.measure.calls import (
    as_given,
    chunks,
    packed,
    packed_dense,
    padded,
    padded_inputs,
    tokenising,
)
from lotbench.measure.launch import settings
from lotbench.measure.spec import DeviceSetting, Entry, Example, PassSpec
from lotbench.measure.worker import plan_groups
from lotbench.store.passes import BackendScore, Picked
from lotbench.store.store import Store
from lotbench.timing.run import run_pass


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tokenizer):
    root = tmp_path_factory.mktemp("models")
    for name, method in (("teacher", "dense"), ("routed", "lot"), ("scored", "ltp")):
        save(root / name, tiny_encoder(method), tokenizer)
    return root


LETTERS = "abcdefgh"  # the tokens 4 to 11


def example(n):
    """A text of n letters."""
    text = " ".join((LETTERS * 2)[:n])
    return Example([2, *(4 + i % 8 for i in range(n)), 3], [0] * (n + 2), 0, (text,))


EXAMPLES = [example(n) for n in (3, 7, 1, 9, 4)]


SCORES = dict.fromkeys(("selection", "validation"), BackendScore(score=0.5, change=0.0, flips=0))


def entry(name, folder, budget=None):
    return Entry(name, name.split("@")[0], str(folder), budget, scores=SCORES)


def spec(dense, entries, backends=(TORCH,), **more):
    """A pass over the five examples on one thread."""
    models = [
        Entry(name, None, str(dense), backend=backend, scores=SCORES)
        for backend in backends
        for name in (protocol.DENSE_NAME, protocol.PACKED)
    ]
    setting, picked = DeviceSetting("cpu", 1), Picked(examples=5, run=2)
    given = {"tokenizer": str(dense), "max_length": 32, "batch_sizes": (1, 32)}
    given |= SETTINGS | {"backends": backends} | more
    return PassSpec("tiny", setting, models, entries, EXAMPLES, picked, **given)


def test_a_gpu_that_others_use_is_not_timed(monkeypatch):
    properties = SimpleNamespace(uuid="aaaa-1")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(
        machine, "gpu_users", lambda uuid: ["python3 (process 17)"] if uuid == "aaaa-1" else []
    )
    on_gpu = replace(spec("nowhere", []), setting=DeviceSetting("cuda:0", 1))
    with pytest.raises(PassFailed, match=r"not timed, .* use cuda:0: python3 \(process 17\); end"):
        run_pass(on_gpu)


def test_settings_cross_devices_and_threads(monkeypatch):
    monkeypatch.setattr(launch.machine, "usable_cores", lambda: 4)
    monkeypatch.setattr(launch, "_gpus", lambda: ["cuda:0"])
    assert settings(["auto"], [1, "all", 4]) == [
        DeviceSetting("cpu", 1),
        DeviceSetting("cpu", 4),
        DeviceSetting("cuda:0", 1),
    ]


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(launch, "_gpus", lambda: ["cuda:0"])
    assert settings(["cuda"]) == [DeviceSetting("cuda:0", 1)]
    with pytest.raises(InputError, match=r"measure\.devices: no cuda:3 .*found: cuda:0"):
        settings(["cpu", "cuda:3"])
    monkeypatch.setattr(launch, "_gpus", list)
    with pytest.raises(InputError, match="found: none"):
        settings(["cuda"])


def test_environment_pins_threads_and_the_allocator(monkeypatch):
    monkeypatch.setattr(launch.platform, "libc_ver", lambda: ("glibc", "2.40"))
    env = launch.environment(3)
    assert env["OMP_NUM_THREADS"] == "3"
    assert env["MALLOC_MMAP_THRESHOLD_"] == str(2**30)
    monkeypatch.setattr(launch.platform, "libc_ver", lambda: ("", ""))
    assert launch.allocator() == {}


def test_a_pass_waits_for_another(tmp_path, caplog, monkeypatch):
    from filelock import FileLock

    holder = FileLock(tmp_path / "lock")
    holder.acquire()

    class Release(logging.Handler):
        """The other pass ends once this one has said that it waits."""

        def emit(self, record):
            holder.release()

    monkeypatch.setattr(launch.log, "handlers", [Release()])
    caplog.set_level(logging.INFO)
    with launch.exclusive(tmp_path / "lock"):
        assert "waiting for another timing pass" in caplog.text


def test_a_worker_that_dies_is_quoted(tmp_path, monkeypatch):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho loading >&2\necho out of memory >&2\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setattr(launch.sys, "executable", str(script))
    monkeypatch.setattr(launch, "LOCK", tmp_path / "lock")
    with pytest.raises(PassFailed, match=r"(?s)exit code 3.*loading\nout of memory"):
        run_pass(spec(tmp_path, []))


def logits(model):
    with torch.inference_mode():
        return torch.cat([call() for call in model.calls(chunks(EXAMPLES, 2))])


def test_padded_and_packed_calls_hold_the_same_tokens(folders):
    encoder = load(folders / "teacher")
    make = partial(padded_inputs, encoder.backbone.config, torch.device("cpu"))
    inputs = make(*as_given(EXAMPLES), [0] * 5)
    assert inputs["attention_mask"].sum(1).tolist() == [5, 9, 3, 11, 6]
    assert "attention_mask" not in make(*as_given(EXAMPLES[:1]), [0])
    ragged = logits(packed(packed_dense(encoder.backbone)))
    torch.testing.assert_close(logits(padded(encoder)), ragged, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["mean", "cls"])
@pytest.mark.parametrize("normalise", [True, False])
def test_padded_and_packed_calls_give_the_same_vectors(kind, normalise):
    model = random_model("bert", layers=2).base_model
    dense = packed_dense(Backbone(model, Pooling(32, kind, normalise)).eval())
    vectors = logits(padded(dense))
    torch.testing.assert_close(vectors, logits(packed(dense)), atol=1e-5, rtol=0)
    # The second text is the longer one of its batch; the last, alone in its batch, has no mask.
    for place in (0, 1, 4):
        with torch.inference_mode():
            states = model(torch.tensor([EXAMPLES[place].input_ids])).last_hidden_state[0]
        vector = states.mean(0) if kind == "mean" else states[0]
        vector = vector / vector.norm() if normalise else vector
        torch.testing.assert_close(vectors[place], vector, atol=1e-5, rtol=0)


def test_calls_of_one_model_keep_their_own_budgets(folders):
    encoder = load(folders / "routed")
    # Above threshold 0 every token is processed; above 1 none but the first.
    models = [packed(encoder, Budget("threshold", value)) for value in (0.0, 1.0)]
    everything, nothing = map(logits, models)
    dense = logits(padded(encoder))
    torch.testing.assert_close(everything, dense, atol=1e-5, rtol=0)
    assert not torch.allclose(nothing, dense, atol=1e-3)


def test_a_budget_that_is_a_list_is_timed_as_it_was_trained(tiny):
    """As of random-drop with one keep ratio per layer."""
    ratios = [1.0, 0.5, 0.2]
    reducer = RandomDrop(RandomDrop.Params.model_validate({"keep_ratio": ratios}), 3, 32)
    assert logits(packed(ReducedEncoder(tiny, reducer.eval()))).shape == (len(EXAMPLES), 3)


def test_groups_keep_budgets_together_and_fit_memory(monkeypatch):
    items = [entry(f"{folder}@{i}", folder) for i in range(2) for folder in "abc"]
    sizes = {"a": 4, "b": 5, "c": 7}
    monkeypatch.setattr(worker, "model_bytes", lambda each: sizes[each.folder])
    groups = plan_groups(items, 10)
    assert [[each.name for each in group] for group in groups] == [
        ["a@0", "a@1", "b@0", "b@1"],
        ["c@0", "c@1"],
    ]
    monkeypatch.setattr(worker, "GROUP_SIZE", 4)
    assert [len(group) for group in plan_groups(items, 99)] == [4, 2]
    assert plan_groups([], 1) == [[]]


def test_a_worker_ends_with_the_process_that_started_it():
    code = (
        "import threading, time; from lotbench.measure.launch import _end_with_parent as end; "
        "threading.Thread(target=end, daemon=True).start(); time.sleep(3600)"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        process.stdin.close()
        assert process.wait() == 1


@pytest.mark.slow
def test_a_pass_end_to_end(folders, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(launch, "LOCK", tmp_path / "lock")
    caplog.set_level(logging.INFO)
    asked = spec(
        folders / "teacher",
        [
            entry("routed@0.0", folders / "routed", budget=Budget("threshold", 0.0)),
            entry("routed@1.0", folders / "routed", budget=Budget("threshold", 1.0)),
            entry("teacher-trial", folders / "teacher"),
        ],
        batch_sizes=(1, 2),
        rounds=8,
        min_seconds=0.0,
    )
    records, broken = run_pass(asked)
    assert not broken
    assert [record.setting.batch_size for record in records] == [1, 2]
    assert len({record.pass_id for record in records}) == 2
    assert "process 2 of 2: group 1 of 1, batch 2" in caplog.text
    for record in records:
        assert record.task == "tiny"
        assert record.setting.threads == 1
        assert record.setting.attention == "sdpa"
        assert record.setting.processes == 2
        assert [group.rounds for group in record.groups] == [[4, 4]]
        assert record.setting.rounds == 8 and record.setting.seed == 0
        assert record.setting.picked == Picked(examples=5, run=2)
        assert record.machine.cpu and record.versions["torch"]
        assert record.content()["protocol"] == protocol.VERSION
        assert record.content()["engine"] == engine.VERSION
        assert record.noise_floor.ratio >= 0
        found = {row.name: row for row in record.contenders}
        assert list(found) == [
            protocol.DENSE_NAME,
            protocol.PACKED,
            "routed@0.0",
            "routed@1.0",
            "teacher-trial",
        ]
        for row in found.values():
            assert len(row.samples) == 8 and min(row.samples) > 0
            tail = row.call_seconds
            # Five examples are five calls of one, or three of two.
            assert tail.calls == 8 * (5 if record.setting.batch_size == 1 else 3)
            assert 0 < tail.p50 <= tail.p90 <= tail.p99 < max(row.samples)
            # A call tokenises, too.
            call = row.call
            assert call.call_seconds.calls == tail.calls and call.call_seconds.p50 > tail.p50
            pairs = zip(call.samples, row.samples, strict=True)
            assert all(whole > encoder for whole, encoder in pairs)
            assert call.seconds_per_example > row.seconds_per_example
            assert call.speedup_best and call.speedup.low <= call.speedup.median
            assert sum(row.time_shares.values()) == pytest.approx(1)
            assert min(row.time_shares.values()) >= 0
            assert row.speedup.low <= row.speedup.median <= row.speedup.high
        # The embedding and its feed-forward alone: 32 and 48 floats a token, 11 tokens at most.
        assert found[protocol.DENSE_NAME].peak_bytes >= 4 * 11 * (32 + 48)
        assert found["routed@1.0"].peak_bytes < found["routed@0.0"].peak_bytes
        # Routers cost FLOPs even where they keep everything.
        assert found[protocol.DENSE_NAME].flops_speedup == 1
        assert found[protocol.PACKED].flops_speedup == 1
        assert found["routed@0.0"].flops_speedup < 1 < found["routed@1.0"].flops_speedup
        for name, routed in (("routed@0.0", True), (protocol.DENSE_NAME, False)):
            assert (found[name].time_shares["decisions"] > 0) is routed
        assert found["routed@1.0"].budget == Budget("threshold", 1.0)
        assert found["routed@1.0"].trial_id == "routed"
        Store(tmp_path).write(record)
    assert {each.pass_id: each for each in Store(tmp_path).timings()} == {
        record.pass_id: record for record in records
    }


@pytest.mark.slow
@pytest.mark.long
def test_an_entry_that_raises_is_left_out_and_named(folders, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(launch, "LOCK", tmp_path / "lock")
    caplog.set_level(logging.INFO)
    entries = [
        entry("nowhere", tmp_path / "nowhere"),
        entry("odd", folders / "routed", budget=Budget("threshold", 7.0)),
        entry("sound", folders / "routed", budget=Budget("threshold", 0.5)),
    ]
    asked = spec(folders / "teacher", entries, batch_sizes=(1, 2), rounds=8, min_seconds=0.0)
    records, broken = run_pass(asked)
    assert set(broken) == {"torch-fp32: nowhere", "torch-fp32: odd"}
    assert all(why.startswith("InputError: ") for why in broken.values())
    for record in records:
        names = [row.name for row in record.contenders]
        assert names == [protocol.DENSE_NAME, protocol.PACKED, "sound"]
    assert "not timed: torch-fp32: odd: InputError" in caplog.text


def test_the_texts_that_are_timed_have_the_tokens_that_were_scored(folders):
    other = replace(spec(folders / "teacher", []), max_length=8)  # cuts two of the texts
    with pytest.raises(InputError, match="teacher: its tokens are not those that were scored"):
        worker.Worker(other)


def test_all_backends_tokenise_in_their_calls(folders):
    encoder, texts = load(folders / "teacher"), []

    def read(batch):
        texts.append([each.text for each in batch])
        return tokenising(load_tokenizer(str(folders / "teacher")), 32)(batch)

    for model in (padded(encoder), packed(packed_dense(encoder.backbone))):
        texts.clear()
        calls = model.calls(chunks(EXAMPLES, 2), read)
        assert not texts
        with torch.inference_mode():
            found = torch.cat([call() for call in calls])
        assert texts == [[each.text for each in batch] for batch in chunks(EXAMPLES, 2)]
        torch.testing.assert_close(found, logits(model), atol=0, rtol=0)


def test_exported_models_are_padded_as_they_are_deployed(folders, tmp_path, monkeypatch):
    """With RoBERTa's 1 here."""
    config = json.loads((folders / "teacher" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"pad_token_id": 1}))
    session = SimpleNamespace(inputs=["input_ids"])
    monkeypatch.setattr(measure_calls, "open_session", lambda *_: session)
    own = Entry("dense", None, str(tmp_path), backend="onnx-fp32", graph="dense.onnx")
    model = measure_calls.load_entry(own, torch.device("cpu"), 1)(None)
    (call,) = model.calls([EXAMPLES[:2]])
    assert call.prepare()["input_ids"][0].tolist() == [*EXAMPLES[0].input_ids, 1, 1, 1, 1]


def test_a_pair_is_timed_from_its_two_texts(folders):
    pair = Example([2, 4, 5, 3, 6, 3], [0, 0, 0, 0, 1, 1], 0, ("a b", "c"))
    own = worker.Worker(replace(spec(folders / "teacher", []), examples=[pair, EXAMPLES[0]]))
    assert own.examples[0] == pair
    for model in own.dense.values():
        (called,), (given,) = (model.calls([own.examples], read) for read in (own.read, as_given))
        with torch.inference_mode():
            torch.testing.assert_close(called(), given(), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("rounds", "shares"), [(2, [2]), (7, [7]), (11, [6, 5]), (20, [4] * 5), (51, [5] * 3 + [4] * 9)]
)
def test_there_is_one_process_for_every_four_rounds(rounds, shares):
    assert protocol.rounds_of_processes(rounds) == shares


@pytest.mark.slow
def test_a_pass_in_bfloat16(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "LOCK", tmp_path / "lock")
    entries = [
        entry("routed", folders / "routed", budget=Budget("threshold", 0.5)),
        entry("scored", folders / "scored", budget=Budget("threshold_scale", 1.0)),
        entry("scored@100", folders / "scored", budget=Budget("threshold_scale", 100.0)),
    ]
    asked = spec(
        folders / "teacher",
        [replace(each, backend="torch-bf16") for each in entries],
        ["torch-bf16"],
        batch_sizes=(2,),
        rounds=2,
        min_seconds=0.0,
    )
    ((record,), _) = run_pass(asked)
    assert record.setting.backends == ["torch-bf16"]
    found = {row.name: row for row in record.contenders}
    assert all(min(row.samples) > 0 for row in found.values())
    # A hundred times the threshold leaves [CLS] alone: in half precision too, that is less work.
    assert found["scored@100"].peak_bytes < found["scored"].peak_bytes

"""Models that are exported, scored and timed in two backends, on a tiny random model."""

import numpy as np
import pytest
from stores import evaluation, trial, write
from tiny_models import save, tiny_encoder

from lotbench.audit.audit import audit
from lotbench.backends import TORCH
from lotbench.budget import Budget
from lotbench.data.task import Task
from lotbench.data.tokens import Split
from lotbench.measure import launch, protocol
from lotbench.measure.passes import run_pass
from lotbench.measure.spec import Candidate, DeviceSetting, Example, PassSpec
from lotbench.measure.worker import Worker
from lotbench.store.frame import frame
from lotbench.store.records import Trial
from lotbench.store.store import Store
from lotbench.study import scoring
from lotbench.study.scoring import Preparer, known_scores

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

ONNX = "onnx-fp32"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for name in ("dense", "lot"):
        # One layer, since each costs seconds in the export.
        save(root / name, tiny_encoder(name, 1))
    return root


def split(lengths) -> Split:
    """Texts of these lengths; the labels alternate."""
    ids = [[2, *range(5, 3 + length), 3] for length in lengths]
    count = len(ids)
    labels, seeds = np.arange(count) % 2, np.arange(count)
    return Split(ids, [[0] * len(row) for row in ids], labels, seeds, [("",)] * count)


@pytest.fixture
def task():
    parts = split([5, 9, 3]), split([4, 11, 6, 3]), split([8, 3, 7, 5, 10, 4])
    return Task("toy", 2, False, ("accuracy",), *parts, fingerprint="f")


def wanted(folders):
    dense = [
        Candidate(name, None, str(folders / "dense"), backend=backend)
        for backend in (TORCH, ONNX)
        for name in (protocol.DENSE, protocol.PACKED)
    ]
    lot = [
        Candidate(f"a threshold={x}", "a", str(folders / "lot"), Budget("threshold", x), backend)
        for backend in (TORCH, ONNX)
        for x in (0.0, 1.0)
    ]
    return dense, lot


@pytest.mark.slow
def test_a_pass_over_two_backends(folders, task, tmp_path, monkeypatch):
    store = tmp_path / "store"
    rows = [evaluation(0.5, 2.0, {"threshold": x}, examples=6) for x in (0.0, 1.0)]
    row = Trial.model_validate(trial("a", "lot", rows))
    preparer = Preparer(task, [row], None, "key", tmp_path, {}, [])
    dense, lot = wanted(folders)
    dense, lot = (preparer.prepare(each, "cpu") for each in (dense, lot))
    assert not dense.unable + dense.failed + lot.unable + lot.failed
    # The padded and the packed dense model are not scored as one.
    assert len({each.model for each in dense.candidates}) == 4
    # One graph for both budgets of lot.
    assert len(list(tmp_path.glob("*.onnx"))) == 3
    for each in (*dense.candidates, *lot.candidates):
        assert (each.graph is not None) is (each.backend == ONNX)
        assert set(each.scores) == {"validation", "selection"}
        # The exported graph answers as the engine does.
        assert all((own.change, own.flips) == (0.0, 0) for own in each.scores.values())
        assert each.held

    monkeypatch.setattr(launch, "run_worker", lambda module, spec, kind, label: Worker(spec).run())
    examples = [
        Example(*pair)
        for pair in zip(task.validation.input_ids, task.validation.token_type_ids, strict=True)
    ]
    spec = PassSpec(
        "toy",
        DeviceSetting("cpu", 1),
        dense.candidates,
        lot.candidates,
        examples,
        (2,),
        rounds=3,
        min_seconds=0.0,
        dense_model="key",
        metric="accuracy",
    )
    (result,) = run_pass(spec)
    record = result.record
    assert not result.broken and record.setting.backends == [TORCH, ONNX]
    assert record.setting.label == "cpu-1t-b2" and record.setting.dtype is None
    assert len(record.contenders) == 8 and set(record.fastest) == {TORCH, ONNX}
    best = max(
        (own for own in record.contenders if own.trial_id is None),
        key=lambda own: own.speedup_best.median,
    )
    assert (best.backend, best.speedup_best.median) == (record.best, 1.0)
    for own in record.contenders:
        assert len(own.samples) == 3 and min(own.samples) > 0
        # What is observed of torch models alone.
        assert (own.time_shares is None) is (own.backend == ONNX)
        assert (own.peak_bytes is None) is (own.flops_speedup is None) is (own.backend == ONNX)

    write(store, trial("a", "lot", rows))
    Store(store).write(record)
    assert not [fault for fault in audit(store).faults if fault.file.startswith("timings")]
    (_, other) = frame(store).to_dict("records")
    assert other["real.cpu-1t-b2.backend"] in (TORCH, ONNX)
    assert other["real.cpu-1t-b2-onnx-fp32"] > 0 and other["real.cpu-1t-b2.flops"] > 1

    # Scored once: the record has what another setting needs.
    monkeypatch.setattr(scoring, "_logits", None)
    monkeypatch.setattr(Preparer, "_graph", lambda *_: tmp_path)
    again = Preparer(task, [row], None, "key", tmp_path, known_scores([record]), [])
    for own in (dense, lot):
        found = again.prepare(own.candidates, "cpu").candidates
        assert [each.scores for each in found] == [each.scores for each in own.candidates]
    # But not on another GPU.
    gpu = record.setting.model_copy(update={"device": "cuda:0", "device_name": "another"})
    assert known_scores([record.model_copy(update={"setting": gpu})]) == {}
    # Nor for another dense model.
    other = Preparer(task, [row], None, "another", tmp_path, known_scores([record]), [])
    assert len(other.prepare(dense.candidates, "cpu").failed) == 4


def test_what_cannot_be_exported_is_named_once_and_the_rest_goes_on(
    folders, task, tmp_path, monkeypatch
):
    from lotbench.errors import InputError

    tried = []

    def refuse(encoder):
        tried.append(encoder)
        raise InputError("method 'lot': it reads batch.labels")

    monkeypatch.setattr(scoring, "export", refuse)
    row = Trial.model_validate(trial("a", "lot", [evaluation(0.5, 2.0, {"threshold": 1.0})]))
    preparer = Preparer(task, [row], None, "key", tmp_path, {}, [])
    found = preparer.prepare(wanted(folders)[1], "cpu")
    assert [each.backend for each in found.candidates] == [TORCH, TORCH]
    assert len(tried) == 1 and found.failed == []
    assert [(each.trial_id, each.budget, each.backend) for each in found.unable] == [
        ("a", Budget("threshold", x), ONNX) for x in (0.0, 1.0)
    ]
    assert found.unable[0].why == "method 'lot': it reads batch.labels"


def test_change_and_flips_are_against_the_predictions_in_the_row(
    folders, task, tmp_path, monkeypatch
):
    # Labels 010101 on validation: torch-fp32 answered 010100 (5 of 6), bf16 110100 (4 of 6).
    row = trial(
        "a",
        "lot",
        [
            evaluation(5 / 6, 2.0, {"threshold": 1.0}, predictions="010100"),
            evaluation(1.0, 2.0, {"threshold": 1.0}, split="selection", predictions="0101"),
        ],
    )
    answers = {6: [1, 1, 0, 1, 0, 0], 4: [0, 1, 0, 1]}
    monkeypatch.setattr(scoring, "load_model", lambda *_: "model")
    monkeypatch.setattr(scoring, "_logits", lambda _, __, own: np.eye(2)[answers[len(own)]])
    preparer = Preparer(task, [Trial.model_validate(row)], None, "key", tmp_path, {}, [])
    candidate = Candidate("a", "a", str(folders / "lot"), Budget("threshold", 1.0), "torch-bf16")
    (own,) = preparer.prepare([candidate], "cpu").candidates
    assert own.scores["validation"].score == pytest.approx(4 / 6)
    assert own.scores["validation"].change == pytest.approx(-1 / 6)
    assert (own.scores["validation"].flips, own.scores["selection"].flips) == (1, 0)
    assert own.held and not own.scores["validation"].held  # chosen on selection

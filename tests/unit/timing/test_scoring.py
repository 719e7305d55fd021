"""Models that are exported, scored and timed in two backends, on a tiny random model."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from splits import split_of
from stores import evaluation, trial, write
from tiny_models import save, tiny_encoder

from lotbench import machine
from lotbench.audit.store import audit
from lotbench.backends import TORCH
from lotbench.budget import Budget
from lotbench.config.sections import MeasureConfig
from lotbench.data.task import Task
from lotbench.data.tokens import Split
from lotbench.errors import InputError
from lotbench.kinds.classification import CLASSIFICATION
from lotbench.kinds.embedding import EMBEDDING
from lotbench.measure import launch
from lotbench.measure.spec import DeviceSetting, Entry, PassSpec
from lotbench.measure.worker import Worker
from lotbench.statistics.frames import timings
from lotbench.store.passes import Picked
from lotbench.store.rows import Trial
from lotbench.store.store import Store
from lotbench.timing import prepare, screen
from lotbench.timing.run import run_pass
from lotbench.timing.score import Scorer
from lotbench.timing.screen import narrowed
from lotbench.timing.select import Selection

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

ONNX = "onnx-fp32"


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tokenizer):
    root = tmp_path_factory.mktemp("models")
    for name in ("dense", "lot"):
        # One layer, since each costs seconds in the export.
        save(root / name, tiny_encoder(name, 1), tokenizer)
    return root


def split(lengths) -> Split:
    """Texts of these lengths; the labels alternate."""
    letters = [("bcdefgha" * 2)[: length - 2] for length in lengths]
    ids = [[2, *("abcdefgh".index(letter) + 4 for letter in own), 3] for own in letters]
    return split_of(ids, np.arange(len(ids)) % 2, texts=[(" ".join(own),) for own in letters])


@pytest.fixture
def task():
    parts = split([5, 9, 3]), split([4, 11, 6, 3]), split([8, 3, 7, 5, 10, 4])
    return Task("toy", 2, CLASSIFICATION, ("accuracy",), *parts, fingerprint="f")


LABELS = {"data": {"labels": {"selection": "0101", "validation": "010101"}}}
# What the model answers; there are no answers on selection, so it is scored in torch, too.
ROWS = [
    evaluation(3 / 6, 2.0, {"threshold": 0.0}, examples=6, predictions="000000"),
    evaluation(4 / 6, 2.0, {"threshold": 1.0}, examples=6, predictions="010000"),
]


@pytest.fixture
def store(folders, task, tmp_path, monkeypatch):
    """A store with one model of two budgets; its dense model is the teacher."""
    monkeypatch.setenv("LOTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(launch, "LOCK", tmp_path / "lock")
    found = Store(tmp_path / "store")
    write(found.folder, trial("a", "lot", ROWS, model="models/a", **LABELS))
    shutil.copytree(folders / "lot", found.folder / "models" / "a")
    monkeypatch.setattr(prepare, "_open", lambda *_: (task, 32, str(folders / "dense"), "key"))
    monkeypatch.setattr(screen, "_screened", lambda _: {})  # all are left
    return found


def selected(store) -> Selection:
    """The model in torch and ONNX, on one thread."""
    (row,) = store.trials()
    entries = [
        Entry(f"a {own.budget}", "a", str(store.model(row)), own.budget, backend)
        for backend in (TORCH, ONNX)
        for own in row.evaluations
    ]
    setting, picked = DeviceSetting("cpu", 1), Picked(examples=6, run=2)
    return Selection([row], "cpu", [TORCH, ONNX], [2], picked, {setting: entries})


@pytest.mark.slow
@pytest.mark.long
def test_models_are_prepared_and_timed_in_two_backends(store, tmp_path, monkeypatch):
    selection, graphs = selected(store), tmp_path / "graphs"
    graphs.mkdir()
    config = MeasureConfig(rounds=3, min_seconds=0.0)

    def prepared() -> PassSpec:
        (spec,), own = prepare.prepare(store, selection, config, graphs, [])
        spec = narrowed(spec, own)
        assert not [*spec.unable, *spec.slower, *own.failed]
        return spec

    spec = prepared()
    # The padded and the packed dense model are not scored as one.
    assert len({each.model for each in spec.dense}) == 4
    # One graph for both budgets of lot.
    assert len(list(graphs.glob("*.onnx"))) == 3
    for each in (*spec.dense, *spec.entries):
        assert (each.graph is not None) is (each.backend == ONNX)
        assert set(each.scores) == {"validation", "selection"}
        # The exported graph answers as the engine does.
        assert all((own.change, own.flips) == (0.0, 0) for own in each.scores.values())
        assert each.held

    monkeypatch.setattr(launch, "run_worker", lambda module, spec, kind, label: Worker(spec).run())
    ((record,), broken) = run_pass(spec)
    assert not broken and record.setting.backends == [TORCH, ONNX]
    assert record.setting.label == "cpu-1t-b2"
    assert len(record.contenders) == 8 and set(record.fastest) == {TORCH, ONNX}
    best = max(
        (own for own in record.contenders if own.trial_id is None),
        key=lambda own: own.speedup_best.median,
    )
    assert (best.backend, best.speedup_best.median) == (record.best, 1.0)
    for own in record.contenders:
        assert len(own.samples) == 3 and min(own.samples) > 0
        # The exported graph, too, is timed from the text.
        assert own.call.seconds_per_example > own.seconds_per_example
        assert own.call.speedup_best is not None
        # What is observed of torch models alone.
        assert (own.time_shares is None) is (own.backend == ONNX)
        assert (own.peak_bytes is None) is (own.backend == ONNX)
        # FLOPs are counted in torch for the exported model, too.
        alone = own.backend == ONNX and own.trial_id is None
        assert (own.flops_speedup is None) is alone

    store.write(record)
    assert not [fault for fault in audit(store.folder).faults if fault.file.startswith("timings")]
    frame = timings(store.folder)
    assert set(frame.backend) == {TORCH, ONNX} and min(frame.speedup) > 0
    assert frame.timed.value_counts().nunique() == 1 and set(frame.timed) == {"call", "encoder"}
    assert set(frame.trial_id.dropna()) == {"a"} and frame.flops_speedup.max() > 1

    # Scored once, even if the pass is interrupted; a changed model is scored again.
    scored = []
    predicted = Scorer._predicted
    monkeypatch.setattr(
        Scorer, "_predicted", lambda own, each: scored.append(each.key) or predicted(own, each)
    )
    assert prepared() == spec and not scored
    # Nor after an update of what changes no score.
    versions = machine.versions() | {"ray": "0.1"}
    monkeypatch.setattr(machine, "versions", lambda: versions)
    assert [own.scores for own in prepared().entries] == [own.scores for own in spec.entries]
    assert not scored
    card = store.folder / "models" / "a" / "lotbench.json"
    card.write_text(card.read_text() + " ")
    prepared()
    assert {key.split(" ")[1] for key in scored} == {"a"} and len(scored) == 4


@pytest.mark.slow
def test_what_cannot_be_exported_is_named_once_and_the_rest_goes_on(store, tmp_path, monkeypatch):
    tried = []

    def refuse(encoder):
        tried.append(encoder)
        raise InputError(f"method {encoder.reducer.name!r}: it reads batch.labels")

    export = prepare.export
    monkeypatch.setattr(
        prepare, "export", lambda own: (refuse if own.reducer.budget_name else export)(own)
    )
    (spec,), own = prepare.prepare(store, selected(store), MeasureConfig(), tmp_path, [])
    spec = narrowed(spec, own)
    assert [each.backend for each in spec.entries] == [TORCH, TORCH]
    assert len(tried) == 1 and not own.failed
    assert [(each.trial_id, each.budget, each.backend) for each in spec.unable] == [
        ("a", Budget("threshold", x), ONNX) for x in (0.0, 1.0)
    ]
    assert spec.unable[0].why == "method 'lot': it reads batch.labels"


def test_change_and_flips_are_against_the_predictions_in_the_row(
    folders, task, tmp_path, monkeypatch
):
    # Labels 010101 on validation: torch-fp32 answered 010100 (5 of 6), bf16 110100 (4 of 6).
    row = trial(
        "a",
        "lot",
        [
            evaluation(5 / 6, 2.0, {"threshold": 1.0}, predictions="010100", examples=6),
            evaluation(
                1.0, 2.0, {"threshold": 1.0}, split="selection", predictions="0101", examples=4
            ),
        ],
        **LABELS,
    )
    # By length: validation has 8, 3, 7, 5, 10, 4 tokens, selection 4, 11, 6, 3.
    answers = {6: [1, 0, 1, 0, 1, 0], 4: [1, 0, 0, 1]}
    model = SimpleNamespace(calls=lambda batches: [lambda: torch.eye(2)[answers[len(batches[0])]]])
    monkeypatch.setattr("lotbench.timing.score.load_entry", lambda *_: lambda budget: model)
    monkeypatch.setenv("LOTBENCH_CACHE", str(tmp_path))
    folder = str(folders / "lot")
    scorer = Scorer(task, {folder: Trial.model_validate(row)}, "cpu", [])
    entry = Entry("a", "a", folder, Budget("threshold", 1.0), "torch-bf16")
    scores = scorer.scores(entry)
    assert scores["validation"].score == pytest.approx(4 / 6)
    assert scores["validation"].change == pytest.approx(-1 / 6)
    assert (scores["validation"].flips, scores["selection"].flips) == (1, 0)
    # Whether a backend holds the score is chosen on selection.
    assert scores["selection"].held and not scores["validation"].held


@pytest.mark.parametrize(("both", "score"), [(False, 1.0), (True, 5 / 9)])
def test_queries_are_encoded_by_the_model_only_if_it_reduces_them(
    folders, tmp_path, monkeypatch, both, score
):
    """A text's vector says how long it is; dense knows the right document of each query."""

    def calls(batches):
        outputs = [torch.eye(12)[[len(text.input_ids) for text in texts]] for texts in batches]
        return [lambda vectors=vectors: vectors for vectors in outputs]

    documents, queries = split([5, 9, 3]), split([9, 5, 3])
    queries.dense = np.eye(12)[[5, 9, 3]]
    documents.queries = queries
    # Right at rank 3, with another one that is equally near, 3 and 1.
    task = Task("toy", 0, EMBEDDING, ("mrr",), documents, documents, documents, "f")
    task.reduces_queries = both
    model = SimpleNamespace(calls=calls)
    monkeypatch.setattr("lotbench.timing.score.load_entry", lambda *_: lambda budget: model)
    monkeypatch.setenv("LOTBENCH_CACHE", str(tmp_path))
    entry = Entry("a", "a", str(folders / "lot"), None, "torch-bf16")
    found = Scorer(task, {}, "cpu", []).scores(entry)["validation"]
    assert (found.score, found.change, found.flips) == (pytest.approx(score), 0.0, None)

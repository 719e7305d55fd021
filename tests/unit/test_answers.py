"""Predictions, labels and missed targets of a store, and the frame's columns of targets."""

from __future__ import annotations

import numpy as np
from stores import evaluation, fill_predicted, trial, write

from lotbench.store.answers import answers, missed
from lotbench.store.frame import frame


def test_predictions_and_labels_are_read_by_trial_split_and_budget(tmp_path):
    found = answers(fill_predicted(tmp_path))
    assert len(found) == 8
    own = found["l", "validation", "scale=2.0"]
    assert own.predictions.tolist() == [1] * 178 + [0] * 22
    assert own.labels.tolist() == [1] * 200


def test_values_of_a_regression_are_fractions(tmp_path):
    own = evaluation(None, 2.0, metrics={"pearson": 0.5}, predictions=[0.5, 1])
    data = {"labels": {"validation": [1, 2.5]}}
    write(tmp_path, trial("a", "lot", [own], metric="pearson", data=data))
    (found,) = answers(tmp_path).values()
    assert np.array_equal(found.predictions, [0.5, 1.0])
    assert np.array_equal(found.labels, [1.0, 2.5])


def test_predictions_of_a_teacher_stand_under_its_key(tmp_path):
    teacher = {"key": "k", "metrics": {}, "predictions": {"validation": "110", "selection": "1"}}
    data = {"labels": {"validation": "100"}}
    write(tmp_path, trial("a", "lot", [], data=data, teacher=teacher))
    (key, own), *others = answers(tmp_path).items()
    assert (key, others) == (("k", "validation", ""), [])
    assert (own.predictions.tolist(), own.labels.tolist()) == ([1, 1, 0], [1, 0, 0])


def test_older_rows_have_neither_predictions_nor_missed_targets(tmp_path):
    write(tmp_path, trial("a", "lot", [evaluation(0.9, 2.0)]))
    assert answers(tmp_path) == {}
    assert missed(tmp_path) == []


def test_missed_targets_are_those_of_the_rows(tmp_path):
    assert missed(fill_predicted(tmp_path)) == [("t", 4.0, 2.3)]


def test_the_frame_has_targets_and_numbers_of_texts(tmp_path):
    table = frame(fill_predicted(tmp_path)).set_index(["trial_id", "split", "budget"])
    assert table.loc[("l", "validation", "scale=2.0"), "target"] == 4.0
    assert np.isnan(table.loc[("d", "validation", ""), "target"])
    assert set(table["examples"]) == {200}

"""Labels of data folders: integers of any size, what only looks like one, and faults by file."""

import json
from pathlib import Path

import numpy as np
import pytest
from letter_data import folder_of

from lotbench.config.sections import TaskConfig
from lotbench.data.sources import read_source


def labels_of(folder: Path, suffix: str, train: str, validation: str) -> TaskConfig:
    (folder / f"train.{suffix}").write_text(train)
    (folder / f"validation.{suffix}").write_text(validation)
    return TaskConfig(source=str(folder))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        # As floats, the first two would be one.
        (["9007199254740992", "9007199254740993"], [2**53, 2**53 + 1]),
        (["1_0", "10"], ["10", "1_0"]),
        (["\N{ARABIC-INDIC DIGIT THREE}", "3"], ["3", "\N{ARABIC-INDIC DIGIT THREE}"]),
        (["1.0", "0"], [0, 1]),
        (["+1", "-1"], [-1, 1]),
        (["inf", "no"], ["inf", "no"]),
    ],
)
def test_labels_never_go_through_float(tmp_path, labels, classes):
    rows = [f"{text},{label}\n" for text, label in zip("abcd", labels * 2, strict=True)]
    table = "text,label\n" + "".join(rows)
    data = labels_of(tmp_path, "csv", table, table)
    assert read_source("mine", data, None).notes["classes"] == classes


def test_integers_of_json_and_parquet_stay_integers(tmp_path):
    huge = [2**64 - 2, 2**64 - 1]
    rows = [json.dumps({"text": "a", "label": label}) for label in huge]
    (tmp_path / "json").mkdir()
    frame = {"text": ["a", "b"], "label": np.array(huge, np.uint64)}
    for data in (
        labels_of(tmp_path / "json", "jsonl", "\n".join(rows), rows[0]),
        folder_of(tmp_path / "parquet", frame, frame),
    ):
        assert read_source("mine", data, None).notes["classes"] == huge


def test_text_is_preferred_to_sentence(tmp_path):
    frame = {"sentence": ["a", "b"], "text": ["c", "d"], "label": [0, 1]}
    source = read_source("mine", folder_of(tmp_path, frame, frame), None)
    assert source.train.texts == [("c",), ("d",)]

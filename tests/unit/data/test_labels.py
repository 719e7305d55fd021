"""Labels of data folders: integers of any size, what only looks like one, and faults by file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from letter_data import folder_of

from lotbench.config.sections import TaskConfig
from lotbench.data.sources import read_source
from lotbench.errors import InputError


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
def test_labels_never_go_through_float(tmp_path: Path, labels: list[str], classes: list) -> None:
    rows = [f"{text},{label}\n" for text, label in zip("abcd", labels * 2, strict=True)]
    table = "text,label\n" + "".join(rows)
    data = labels_of(tmp_path, "csv", table, table)
    assert read_source("mine", data, None).notes["classes"] == classes


def test_integers_of_json_and_parquet_stay_integers(tmp_path: Path) -> None:
    huge = [2**64 - 2, 2**64 - 1]
    rows = [json.dumps({"text": "a", "label": label}) for label in huge]
    for name in ("json", "parquet"):
        (tmp_path / name).mkdir()
    data = labels_of(tmp_path / "json", "jsonl", "\n".join(rows), rows[0])
    assert read_source("mine", data, None).notes["classes"] == huge
    frame = {"text": ["a", "b"], "label": np.array(huge, np.uint64)}
    data = folder_of(tmp_path / "parquet", frame, frame)
    assert read_source("mine", data, None).notes["classes"] == huge


MISSING = pd.array(["x", None], dtype="string")


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({"text": ["a", "b"], "label": MISSING}, "column 'label', row 2: <NA> is not a class name"),
        ({"text": MISSING, "label": ["x", "y"]}, "column 'text', row 2: <NA> is not text; remove"),
        (
            {"text": [["a"], ["b"]], "label": ["x", "y"]},
            "column 'text', row 1: array(['a'], dtype=",
        ),
    ],
)
def test_parquet_that_cannot_be_meant(tmp_path: Path, frame: dict, expected: str) -> None:
    data = folder_of(tmp_path, frame, {"text": ["c"], "label": ["x"]})
    with pytest.raises(InputError) as caught:
        read_source("mine", data, None)
    assert str(caught.value).startswith(f"{tmp_path / 'train.parquet'}: {expected}")


@pytest.mark.parametrize("value", ["1_0", "true", "1e39", "9" * 400])
def test_a_regression_has_numbers_alone(tmp_path: Path, value: str) -> None:
    data = labels_of(tmp_path, "csv", f"text,label\na,1\nb,{value}\n", "text,label\na,1\n")
    with pytest.raises(InputError, match=r"train.csv: column 'label', row 2: .* not a finite numb"):
        read_source("mine", data.model_copy(update={"regression": True}), None)


def test_both_files_of_a_folder_are_reported(tmp_path: Path) -> None:
    data = labels_of(tmp_path, "jsonl", "{", "[]")
    with pytest.raises(InputError) as caught:
        read_source("mine", data, None)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{tmp_path / 'train.jsonl'}: cannot be read as jsonl: line 1: Expecti")
    assert second.startswith(f"{tmp_path / 'validation.jsonl'}: cannot be read as jsonl: line 1: i")


def test_text_is_preferred_to_sentence(tmp_path: Path) -> None:
    frame = {"sentence": ["a", "b"], "text": ["c", "d"], "label": [0, 1]}
    source = read_source("mine", folder_of(tmp_path, frame, frame), None)
    assert source.train.texts == [("c",), ("d",)]


def test_a_text_column_that_is_the_label_is_not_the_text(tmp_path: Path) -> None:
    data = labels_of(tmp_path, "csv", "text,label\na,1\nb,0\n", "text,label\na,1\n")
    with pytest.raises(InputError, match=r"train.csv: no column 'sentence'; set tas"):
        read_source("mine", data.model_copy(update={"label": "text"}), None)


@pytest.mark.parametrize("source", ["csv", "json", "text", "parquet", "a/b/c", "train.csv"])
def test_a_source_that_is_no_hub_id_reads_no_files_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.csv").write_text("text,label\na,1\nb,0\n")
    with pytest.raises(InputError, match=r"^tasks.mine.source: .* neither a built-in task, a fol"):
        read_source("mine", TaskConfig(source=source), None)

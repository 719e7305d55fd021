"""Tasks from folders, GLUE parquet and the hub: rows and faults."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from letter_data import folder_of, letters, plain, refusal

from lotbench.config.sections import TaskConfig
from lotbench.data.task import load_task


def test_class_names_are_numbered_in_sorted_order(tmp_path: Path, tokenizer: Any) -> None:
    data = folder_of(
        tmp_path,
        {"text": letters(4), "label": ["pos", "neg", "neutral", "pos"]},
        {"text": ["h", "g"], "label": ["neutral", "pos"]},
    )
    task = load_task("mine", data, tokenizer, 0)
    assert task.n_labels == 3
    assert task.notes["classes"] == ["neg", "neutral", "pos"]
    assert task.validation.labels.tolist() == [1, 2]
    assert task.validation.labels.dtype == np.int64


def test_integer_labels_are_numbered_from_zero(tmp_path: Path, tokenizer: Any) -> None:
    data = folder_of(
        tmp_path,
        {"text": letters(4), "label": [-1, 1, 3, 1]},
        {"text": ["h", "g"], "label": [3.0, -1.0]},
    )
    task = load_task("mine", data, tokenizer, 0)
    assert task.notes["classes"] == [-1, 1, 3]
    assert task.validation.labels.tolist() == [2, 0]


CSV = 'text,label\nNA,1\n"q, e",0\n'


@pytest.mark.parametrize(
    ("suffix", "content", "more", "first"),
    [
        ("csv", CSV, "g,1\nh,0\n", "NA"),
        ("tsv", 'text\tlabel\n"q b\t1\nq c\t0\n', "g\t1\nh\t0\n", '"q b'),
        (
            "jsonl",
            '{"text": "q", "label": 1}\n\n{"text": "q b", "label": 0}\n',
            '{"text": "g", "label": 1}\n{"text": "h", "label": 0}\n',
            "q",
        ),
    ],
)
def test_text_formats(
    tmp_path: Path, tokenizer: Any, suffix: str, content: str, more: str, first: str
) -> None:
    (tmp_path / f"train.{suffix}").write_text(
        content.replace("q", "r").replace("NA", "null") + more, encoding="utf-8-sig"
    )
    (tmp_path / f"dev.{suffix}").write_text(content)
    task = load_task("mine", TaskConfig(source=str(tmp_path)), tokenizer, 0)
    assert task.validation.texts[0] == (first,)
    assert task.validation.labels.tolist() == [1, 0]
    # The byte-order mark of the train file is no part of its first column's name.
    assert len(task.train) + len(task.selection) == 4


def test_validation_is_preferred_to_test(tmp_path: Path, tokenizer: Any) -> None:
    data = plain(tmp_path)
    pd.DataFrame({"text": ["h"], "label": [-1]}).to_parquet(tmp_path / "test.parquet")
    assert len(load_task("mine", data, tokenizer, 0).validation) == 10


def test_glue_layout_and_the_order_of_its_metrics(tmp_path: Path, tokenizer: Any) -> None:
    pair = {"sentence1": letters(20), "sentence2": letters(20, 100), "idx": list(range(20))}
    scores = np.linspace(0, 5, 20).astype("float32").tolist()
    folder_of(tmp_path / "stsb", {**pair, "label": scores}, {**pair, "label": scores[::-1]})
    folder_of(tmp_path / "mrpc", {**pair, "label": [0, 1] * 10}, {**pair, "label": [0, 1] * 10})
    (tmp_path / "mrpc" / "validation.parquet").unlink()
    pd.DataFrame({"sentence1": ["a"], "sentence2": ["b"], "label": [1]}).to_parquet(
        tmp_path / "mrpc" / "validation.parquet"
    )
    mrpc = load_task("mrpc", TaskConfig(), tokenizer, 0, str(tmp_path))
    assert mrpc.metrics == ("accuracy", "f1") and mrpc.n_labels == 2
    (tmp_path / "stsb" / "train.parquet").unlink()
    more = {"sentence1": letters(9, 500), "sentence2": letters(9), "label": scores[:9]}
    pd.DataFrame(more).to_parquet(tmp_path / "stsb" / "train.parquet")
    stsb = load_task("stsb", TaskConfig(), tokenizer, 0, str(tmp_path))
    assert stsb.metrics == ("pearson", "spearman")
    assert (stsb.kind, stsb.n_labels) == ("regression", 1)
    assert stsb.validation.labels.dtype == np.float32
    assert stsb.validation.labels[0] == np.float32(5.0)


def test_mnli_reads_the_matched_validation(tmp_path: Path, tokenizer: Any) -> None:
    rows = {"premise": letters(6), "hypothesis": letters(6), "label": [0, 1, 2] * 2}
    folder_of(tmp_path / "mnli", rows, rows)
    matched = {"premise": ["a a"], "hypothesis": ["b b"], "label": [2]}
    pd.DataFrame(matched).to_parquet(tmp_path / "mnli" / "validation_matched.parquet")
    task = load_task("mnli", TaskConfig(), tokenizer, 0, str(tmp_path))
    assert task.validation.texts == [("a a", "b b")] and task.n_labels == 3


# --- what is refused ------------------------------------------------------------------------


def test_unknown_task(tokenizer: Any) -> None:
    message = refusal(TaskConfig(), tokenizer, "imbd")
    assert message.startswith("tasks.imbd: no built-in task 'imbd'; did you mean 'imdb'?")


def test_missing_folder_and_files(tmp_path: Path, tokenizer: Any) -> None:
    gone = tmp_path / "gone"
    data = TaskConfig(source=str(gone))
    assert refusal(data, tokenizer).startswith(f"{gone}: no such folder; it should have one file")
    gone.mkdir()
    assert refusal(data, tokenizer).startswith(f"{gone}: no train file; it should have one file na")
    (gone / "train.csv").write_text(CSV)
    assert f"{gone}: no validation file; it should have one file named v" in refusal(
        data, tokenizer
    )
    (gone / "train.tsv").write_text(CSV)
    assert f"{gone}: train.csv and train.tsv; it should have one" in refusal(data, tokenizer)
    missing = refusal(TaskConfig(), tokenizer, "rte", str(tmp_path))
    assert missing.startswith(f"{tmp_path / 'rte'}: no such folder")


def test_missing_columns(tmp_path: Path, tokenizer: Any) -> None:
    data = folder_of(tmp_path, {"words": ["a"], "labels": [1]}, {"words": ["b"], "labels": [1]})
    train = tmp_path / "train.parquet"
    # A fault of one file hides none of the other.
    assert refusal(data, tokenizer).splitlines() == [
        f"{file}: no column 'text'; set tasks.mine.text to one of: words, labels"
        for file in (train, tmp_path / "validation.parquet")
    ]
    data = data.model_copy(update={"text": ["words"]})
    expected = f"{train}: no column 'label'; set tasks.mine.label to one of: words, labels"
    assert refusal(data, tokenizer).splitlines()[0] == expected


NAN = float("nan")


@pytest.mark.parametrize(
    ("text", "label", "expected"),
    [
        (["a", "b"], [1, NAN], "column 'label', row 2: nan is not an integer; correct or remove"),
        (["a", "b"], ["x", None], "column 'label', row 2: nan is not a class name, as other"),
        (["a", "b"], ["", "y"], "column 'label', row 1: '' is not a class name, as other labels"),
        (["a", "b"], [0.0, 0.5], "column 'label', row 2: 0.5 is not an integer; correct or remove"),
        (["a", "b"], [-1, -1], "column 'label', row 1: no training row has the label -1 (they ha"),
        (["a", "b"], ["x", "y"], "column 'label', row 1: no training row has the label 'x' (they"),
        (["a", "b"], [1, 2], "column 'label', row 2: no training row has the label 2 (they have"),
        (["a", None], [0, 1], "column 'text', row 2: nan is not text; remove the row, or choose"),
        ([3, 4], [0, 1], "column 'text', row 1: 3 is not text"),
        (["a", "b"], [[0], [0, 1]], "column 'label', row 1: array([0]) is not an integer"),
        ([], [], "the split has no rows"),
    ],
)
def test_unsound_values_name_file_column_and_row(
    tmp_path: Path, tokenizer: Any, text: list, label: list, expected: str
) -> None:
    data = folder_of(
        tmp_path,
        {"text": letters(4), "label": [0, 1, 0, 1]},
        {"text": text, "label": label},
    )
    message = refusal(data, tokenizer)
    assert message.startswith(f"{tmp_path / 'validation.parquet'}: {expected}")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ('0, "pos"', "column 'label', row 1: 0 is not a class name, as other labels are; corr"),
        ("0, [1]", "column 'label', row 2: [1] is not an integer; correct or remove the row, or "),
        ("0, 1e999", "column 'label', row 2: inf is not an integer"),
        ('0, "\\ud83d"', "cannot be read as jsonl: line 2: 'utf-8' codec can't encode character"),
        ("0, " + "9" * 5000, "cannot be read as jsonl: line 2: Exceeds the limit"),
        ("0, " + "[" * 100_000, "cannot be read as jsonl: line 2: maximum recursion depth exceed"),
        ("0, ", "cannot be read as jsonl: line 2: Expecting value"),
    ],
)
def test_labels_that_json_can_write(
    tmp_path: Path, tokenizer: Any, labels: str, expected: str
) -> None:
    (tmp_path / "validation.jsonl").write_text('{"text": "a", "label": 1}\n')
    train = tmp_path / "train.jsonl"
    train.write_text("\n".join(f'{{"text": "a", "label": {v}}}' for v in labels.split(", ", 1)))
    message = refusal(TaskConfig(source=str(tmp_path)), tokenizer)
    assert message.startswith(f"{train}: {expected}")
    assert "\n" not in message and len(message) < 300


def test_a_pipe_is_no_data_file(tmp_path: Path, tokenizer: Any) -> None:
    os.mkfifo(tmp_path / "train.csv")
    (tmp_path / "train.jsonl").symlink_to("/dev/zero")
    assert "no train file" in refusal(TaskConfig(source=str(tmp_path)), tokenizer)


@pytest.mark.parametrize("place", ["~nobody-at-all/x", "./nowhere"])
def test_a_folder_that_is_not_there_is_named(place: str, tokenizer: Any) -> None:
    assert f"{Path(place)}: no such folder" in refusal(TaskConfig(source=place), tokenizer)


def test_regression_needs_finite_numbers(tmp_path: Path, tokenizer: Any) -> None:
    data = folder_of(
        tmp_path,
        {"text": letters(3), "label": [0.5, NAN, 1.0]},
        {"text": ["h"], "label": [1.0]},
    ).model_copy(update={"regression": True})
    expected = f"{tmp_path / 'train.parquet'}: column 'label', row 2: nan is not a finite number"
    assert refusal(data, tokenizer).startswith(expected)


def test_one_class_and_too_few_rows(tmp_path: Path, tokenizer: Any) -> None:
    one = {"text": ["a"], "label": [1]}
    data = folder_of(tmp_path, one, {"text": ["b"], "label": [1]})
    train = tmp_path / "train.parquet"
    assert refusal(data, tokenizer).startswith(
        f"{train}: column 'label' has fewer than two classes: [1]"
    )
    folder_of(tmp_path, one, {"text": ["b"], "label": [0]})
    assert refusal(data, tokenizer).startswith(
        f"{train}: column 'label' has fewer than two classes: [1]"
    )
    both = {"text": ["a", "b"], "label": [0, 1]}
    folder_of(tmp_path, both, {"text": ["b"], "label": [0]})
    assert refusal(data, tokenizer).startswith(f"{train}: 1 usable training rows leave none to tr")
    folder_of(tmp_path, both, {"text": ["c"], "label": [0]})
    message = refusal(data, tokenizer)
    assert message.startswith(f"{train}: the 1 rows that are left to train on have one class only")
    folder_of(tmp_path, both, both)
    message = refusal(data, tokenizer)
    assert message.startswith(f"{train}: 0 usable training rows leave none to train on after 1 fo")
    assert "texts of the validation split are left out" in message


def test_metrics_must_fit_the_labels(tmp_path: Path, tokenizer: Any) -> None:
    data = plain(tmp_path).model_copy(update={"metrics": ["pearson"]})
    assert refusal(data, tokenizer).startswith(
        "tasks.mine.metrics: 'pearson' does not fit a classification; use accuracy, f1"
    )


def test_max_length_beyond_the_backbone(tmp_path: Path, tokenizer: Any) -> None:
    data = plain(tmp_path).model_copy(update={"max_length": 513})
    assert refusal(data, tokenizer) == (
        "tasks.mine.max_length: 513 is more than the 512 tokens that the backbone can read"
    )


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("train.parquet", b"not parquet", "train.parquet: cannot be read as parquet: "),
        ("train.csv", b"text,label\n\xff\xfe,1\n", "train.csv: cannot be read as csv: "),
        ("train.csv", b"", "train.csv: cannot be read as csv: No columns"),
        # pandas would take "good film" for the name of a row whose text is " really".
        (
            "train.csv",
            b"text,label\ngood film, really,1\n",
            "train.csv: cannot be read as csv: its rows have",
        ),
        (
            "train.jsonl",
            b'{"text": "a", "label": 1}\n{"text"\n',
            "train.jsonl: cannot be read as jsonl: line 2",
        ),
        ("train.jsonl", b"[1]\n", "train.jsonl: cannot be read as jsonl: line 1: it sh"),
        ("train.jsonl", b"\xff\n", "train.jsonl: cannot be read as jsonl: 'utf-8'"),
    ],
)
def test_damaged_files(
    tmp_path: Path, tokenizer: Any, file: str, content: bytes, expected: str
) -> None:
    (tmp_path / file).write_bytes(content)
    (tmp_path / "validation.csv").write_text(CSV)
    message = refusal(TaskConfig(source=str(tmp_path)), tokenizer)
    assert message.startswith(f"{tmp_path}/{expected}")


# --- the hub, without a network -------------------------------------------------------------


def test_hub_failure_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tokenizer: Any) -> None:
    import datasets

    def unreachable(*_: Any) -> None:
        raise ConnectionError("Couldn't reach it")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    assert refusal(TaskConfig(), tokenizer, "sst2") == (
        "nyu-mll/glue (sst2): cannot be loaded from the hub: Couldn't reach it; "
        "check the network, or set data_root to a folder with <task>/train.parquet"
    )
    message = refusal(TaskConfig(source="some/data"), tokenizer)
    assert message.startswith("some/data: cannot be loaded from the hub: Couldn't reach it; check")

    def unnamed(*_: Any) -> None:
        raise ValueError("Config name is missing.\nPlease pick one among ['a', 'b']\nExample: ...")

    monkeypatch.setattr(datasets, "load_dataset", unnamed)
    assert refusal(TaskConfig(source="some/data"), tokenizer).endswith(
        "Config name is missing. Please pick one among ['a', 'b']; check the id, its `subset` and "
        "the network, or the path of a local folder"
    )


def test_hub_dataset(monkeypatch: pytest.MonkeyPatch, tokenizer: Any) -> None:
    import datasets

    rows = datasets.Dataset.from_dict({"text": letters(10), "label": [0, 1] * 5})
    held = datasets.Dataset.from_dict({"text": ["a b c d"], "label": [1]})
    asked: list[tuple] = []

    def load(*arguments: Any) -> Any:
        asked.append(arguments)
        return datasets.DatasetDict({"train": rows, "test": held})

    monkeypatch.setattr(datasets, "load_dataset", load)
    data = TaskConfig(source="some/data", subset="plain")
    task = load_task("mine", data, tokenizer, 0)
    assert asked == [("some/data", "plain")]
    assert task.validation.texts == [("a b c d",)]
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: {"test": held})
    assert refusal(data, tokenizer).startswith(
        "some/data (plain): cannot be loaded from the hub: it has no train split, only test"
    )

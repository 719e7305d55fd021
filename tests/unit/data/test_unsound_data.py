"""What is refused of a task's data, with file, column and row."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from letter_data import folder_of, letters, load_task, refusal

from lotbench.config.sections import TaskConfig
from lotbench.data.sources import read_source
from lotbench.errors import InputError
from lotbench.kinds.labels import labels_of_model
from lotbench.kinds.rows import Rows

NAN = float("nan")
NONE = pd.array(["x", None], dtype="string")
TRAIN = {"text": letters(4), "ask": letters(4, 100), "label": [0, 1, 0, 1], "of": [5, 5, 6, 6]}
VALIDATION = {"text": ["g", "h"], "ask": ["g g", "h h"], "label": [0, 1], "of": [7, 7]}
SCORED = {"kind": "embedding", "text": ["text", "ask"]}
VECTORS = {"kind": "embedding"}
ITEMS = {**VECTORS, "query": "ask"}
RANKING = {"kind": "ranking", "text": ["text", "ask"], "group": "of"}
NUMBERS = {"regression": True}


def changed(columns: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """The columns with others in their place, as long as these; None leaves one out."""
    rows = min((len(values) for values in change.values() if values is not None), default=4)
    cut = {name: values[:rows] for name, values in columns.items()}
    return {name: values for name, values in (cut | change).items() if values is not None}


VALUES: list[tuple[dict, dict, dict, str]] = [
    # Columns.
    ({}, {"text": None}, {"text": None}, "train: no column 'text'; set tasks.mine.text to one of:"),
    ({}, {"label": None}, {}, "train: no column 'label'; set tasks.mine.label to one of: text, as"),
    ({"label": "text"}, {}, {}, "train: no column 'sentence'; set tasks.mine.text to one of: te"),
    (VECTORS | {"query": "q"}, {}, {}, "train: no column 'q'; set tasks.mine.query to one of: te"),
    (RANKING | {"group": "g"}, {}, {}, "train: no column 'g'; set tasks.mine.group to one of: te"),
    ({}, {}, {"text": [], "label": []}, "validation: the split has no rows"),
    # Texts.
    ({}, {}, {"text": ["a", None]}, "validation: column 'text', row 2: nan is not text; remove "),
    ({}, {}, {"text": [3, 4]}, "validation: column 'text', row 1: 3 is not text"),
    ({}, {"text": NONE}, {}, "train: column 'text', row 2: <NA> is not text; remove"),
    ({}, {"text": [["a"], ["b"]]}, {}, "train: column 'text', row 1: array(['a'], dtype="),
    (VECTORS, {}, {"text": ["c", " "]}, "validation: column 'text', row 2: ' ' is an empty text"),
    (ITEMS, {}, {"ask": ["", "d"]}, "validation: column 'ask', row 1: '' is an empty text"),
    (ITEMS, {}, {"ask": [None, "d"]}, "validation: column 'ask', row 1: nan is not text; remove "),
    # Classes.
    ({}, {}, {"label": [1, NAN]}, "validation: column 'label', row 2: nan is not an integer; corr"),
    ({}, {}, {"label": ["x", None]}, "validation: column 'label', row 2: nan is not a class name"),
    ({}, {}, {"label": ["", "y"]}, "validation: column 'label', row 1: '' is not a class name, as"),
    ({}, {}, {"label": [0.0, 0.5]}, "validation: column 'label', row 2: 0.5 is not an integer; c"),
    ({}, {}, {"label": [[0], [0, 1]]}, "validation: column 'label', row 1: array([0]) is not an "),
    ({}, {"label": NONE}, {}, "train: column 'label', row 2: <NA> is not a class name, as other"),
    ({}, {}, {"label": [-1, -1]}, "validation: column 'label', row 1: -1 is the label of no train"),
    ({}, {}, {"label": ["x", "y"]}, "validation: column 'label', row 1: 'x' is the label of no t"),
    ({}, {}, {"label": [1, 2]}, "validation: column 'label', row 2: 2 is the label of no training"),
    ({}, {"label": [1, 1]}, {}, "train: column 'label' has fewer than two classes: [1]; a classi"),
    # Numbers.
    (NUMBERS, {"label": [1, NAN]}, {}, "train: column 'label', row 2: nan is not a finite number"),
    (NUMBERS, {"label": ["1", "1_0"]}, {}, "train: column 'label', row 2: '1_0' is not a finite"),
    (NUMBERS, {"label": ["1", "true"]}, {}, "train: column 'label', row 2: 'true' is not a finit"),
    (NUMBERS, {"label": ["1", "1e39"]}, {}, "train: column 'label', row 2: '1e39' is not a finit"),
    (NUMBERS, {"label": ["1", "9" * 400]}, {}, "train: column 'label', row 2: '99999"),
    (SCORED, {}, {"label": ["1", "one"]}, "validation: column 'label', row 2: 'one' is not a fini"),
    (RANKING, {}, {"label": [1, -1]}, "validation: column 'label', row 2: -1 is not a finite numb"),
    (RANKING, {}, {"label": ["yes", "no"]}, "validation: column 'label', row 1: 'yes' is not a f"),
    (RANKING, {}, {"label": [0, 0]}, "validation: no group has a relevant row (a label above 0), "),
    # Groups.
    (
        RANKING,
        {},
        {"of": ["one", "two"]},
        "validation: column 'of', row 1: 'one' is the group of this row alone, and a ranking needs "
        "two or more (2 such groups); remove them, or choose another column",
    ),
    (RANKING, {}, {"of": [1, NAN]}, "validation: column 'of', row 2: nan is not the name of a gro"),
    (RANKING, {}, {"of": ["x", ""]}, "validation: column 'of', row 2: '' is not the name of a gr"),
    (RANKING, {}, {"of": [["x"], ["x"]]}, "validation: column 'of', row 1: array(['x'], dtype=ob"),
    # Rows that are left.
    ({}, {"text": ["a", "g"]}, {}, "train: 1 usable training rows leave none to train on after 1 "),
    ({}, {"text": ["a", "b"]}, {}, "train: the 1 rows that are left to train on have one class on"),
    ({}, {"text": ["g", "h"]}, {}, "train: 0 usable training rows leave none to train on after 1 "),
    ({"limit": {"selection": 4}}, {}, {}, "train: 4 usable training rows leave none to train on"),
    ({"limit": {"train": 3, "selection": 3}}, {}, {}, "train: 3 usable training rows leave none"),
    (RANKING | {"limit": {"selection": 2}}, {}, {}, "train: 2 usable training groups leave none"),
]


@pytest.mark.parametrize(
    ("config", "train", "validation", "message"), VALUES, ids=[case[3][:60] for case in VALUES]
)
def test_unsound_values_name_file_column_and_row(
    tmp_path, tokenizer, config, train, validation, message
):
    folder_of(tmp_path, changed(TRAIN, train), changed(VALIDATION, validation))
    first, *others = refusal(TaskConfig(source=str(tmp_path), **config), tokenizer).splitlines()
    split, _, words = message.partition(": ")
    assert first.startswith(f"{tmp_path / split}.parquet: {words}")
    # A fault of one file hides none of the other.
    assert all(line.startswith(f"{tmp_path}/validation.parquet: ") for line in others)


@pytest.mark.parametrize(
    ("config", "metric", "fits"),
    [
        ({}, "pearson", "a classification; use accuracy, f1, matthews"),
        (VECTORS, "mrr", "an embedding; use overlap, cosine"),
        (ITEMS, "spearman", "an embedding; use mrr, overlap, cosine"),
        (RANKING, "accuracy", "a ranking; use ndcg, mrr, agreement"),
    ],
)
def test_a_key_that_does_not_fit_is_named(tmp_path, tokenizer, config, metric, fits):
    data = folder_of(tmp_path, TRAIN, VALIDATION).model_dump()
    wrong = TaskConfig(**data | config | {"metrics": [metric]})
    message = f"tasks.mine.metrics: '{metric}' does not fit {fits}"
    assert refusal(wrong, tokenizer) == message
    assert refusal(TaskConfig(**data | config | {"max_length": 513}), tokenizer) == (
        "tasks.mine.max_length: 513 is more than the 512 tokens that the backbone can read"
    )


CLASSES = ["good", "bad"]


@pytest.mark.parametrize(
    ("train", "validation", "limit", "message"),
    [
        (["good"] + [None] * 39, CLASSES * 5, {}, "train.parquet: 7 of the 8 rows that models a"),
        (None, CLASSES * 5, {}, "train.parquet: 8 of the 8 rows that models are selected by h"),
        (CLASSES * 20, ["good", None] * 5, {}, "validation.parquet: 5 of the 10 rows"),
        (None, None, {"labelled": 10}, r"no label column; add one, or remove tasks\.mine\.limit"),
        (CLASSES * 20, ["fine"] * 10, {}, r"row 1: 'fine' is no label of the model; it has 2: \["),
    ],
)
def test_labels_for_a_fine_tuned_teacher(tmp_path, tokenizer, train, validation, limit, message):
    texts = [{"text": letters(40)}, {"text": letters(10, 1000)}]
    splits = zip(texts, (train, validation), strict=True)
    folder_of(tmp_path, *(rows | ({"label": labels} if labels else {}) for rows, labels in splits))
    data = TaskConfig(source=str(tmp_path), limit={"selection": 8, **limit})
    with pytest.raises(InputError, match=message):
        load_task("mine", data, tokenizer, classes=CLASSES)


@pytest.mark.parametrize("value", ["fine", 2, -1, "Good", "None", 0.5])
def test_another_label_is_refused_with_those_of_the_model(value):
    rows = Rows([("a",), ("b",)], np.array(["good", value], dtype=object), "file")
    with pytest.raises(InputError, match=r"file: column 'label', row 2: .* it has 2: \['good', "):
        labels_of_model(rows, "label", CLASSES)


CSV = "text,label\nNA,1\n"
PARSED = "cannot be read as"


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("train.parquet", b"not parquet", f"{PARSED} parquet: "),
        ("train.csv", b"text,label\n\xff\xfe,1\n", f"{PARSED} csv: "),
        ("train.csv", b"", f"{PARSED} csv: No columns"),
        # pandas would take "good film" for the name of a row whose text is " really".
        ("train.csv", b"text,label\ngood film, really,1\n", f"{PARSED} csv: its rows have"),
        ("train.jsonl", b'{"text": "a", "label": 1}\n{"text"\n', f"{PARSED} jsonl: line 2"),
        ("train.jsonl", b"[1]\n", f"{PARSED} jsonl: line 1: it sh"),
        ("train.jsonl", b"\xff\n", f"{PARSED} jsonl: 'utf-8'"),
        *(
            (
                "train.jsonl",
                f'{{"text": "a", "label": 0}}\n{{"text": "a", "label": {label}}}'.encode(),
                expected,
            )
            for label, expected in {
                '"pos"': "column 'label', row 1: 0 is not a class name, as other labels are; corr",
                "[1]": "column 'label', row 2: [1] is not an integer; correct or remove the row, ",
                "1e999": "column 'label', row 2: inf is not an integer",
                '"\\ud83d"': f"{PARSED} jsonl: line 2: 'utf-8' codec can't encode character",
                "9" * 5000: f"{PARSED} jsonl: line 2: Exceeds the limit",
                "[" * 100_000: f"{PARSED} jsonl: line 2: maximum recursion depth exceed",
                "": f"{PARSED} jsonl: line 2: Expecting value",
            }.items()
        ),
    ],
)
def test_damaged_files(tmp_path, tokenizer, file, content, expected):
    (tmp_path / file).write_bytes(content)
    (tmp_path / "validation.csv").write_text(CSV)
    message = refusal(TaskConfig(source=str(tmp_path)), tokenizer)
    assert message.startswith(f"{tmp_path}/{file}: {expected}")
    assert "\n" not in message and len(message.replace(str(tmp_path), "")) < 300
    # The other file is reported, too.
    (tmp_path / "validation.csv").write_text("")
    if PARSED in expected:
        _, second = refusal(TaskConfig(source=str(tmp_path)), tokenizer).splitlines()
        assert second.startswith(f"{tmp_path}/validation.csv: {PARSED} csv: ")


def test_missing_folder_and_files(tmp_path, tokenizer):
    gone = tmp_path / "gone"
    data = TaskConfig(source=str(gone))
    assert refusal(data, tokenizer).startswith(f"{gone}: no such folder; it should have one file")
    gone.mkdir()
    os.mkfifo(gone / "train.jsonl")  # neither a pipe nor a device is a data file
    (gone / "train.parquet").symlink_to("/dev/zero")
    assert refusal(data, tokenizer).startswith(f"{gone}: no train file; it should have one file na")
    (gone / "train.csv").write_text(CSV)
    message = refusal(data, tokenizer)
    assert message.startswith(f"{gone}: no validation file; it should have one file named v")
    (gone / "train.tsv").write_text(CSV)
    assert f"{gone}: train.csv and train.tsv; it should have one" in refusal(data, tokenizer)
    missing = refusal(TaskConfig(), tokenizer, "rte", str(tmp_path))
    assert missing.startswith(f"{tmp_path / 'rte'}: no such folder")
    for place in ("~nobody-at-all/x", "./nowhere"):
        assert f"{Path(place)}: no such folder" in refusal(TaskConfig(source=place), tokenizer)


@pytest.mark.parametrize("source", ["csv", "json", "text", "parquet", "a/b/c", "train.csv"])
def test_a_stored_source_that_is_no_hub_id_reads_no_files_here(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.csv").write_text("text,label\na,1\nb,0\n")
    with pytest.raises(InputError, match=r"from the hub: a hub dataset is owner/name; check the "):
        read_source("mine", TaskConfig(source=source), None)


def test_hub_failure_is_one_clear_error(monkeypatch, tokenizer):
    import datasets

    def fails(error: Exception) -> None:
        def load(*_: Any) -> None:
            raise error

        monkeypatch.setattr(datasets, "load_dataset", load)

    fails(ConnectionError("Couldn't reach it"))
    assert refusal(TaskConfig(), tokenizer, "sst2") == (
        "nyu-mll/glue (sst2): cannot be loaded from the hub: Couldn't reach it; "
        "check the network, or set data_root to a folder with <task>/train.parquet"
    )
    message = refusal(TaskConfig(source="some/data"), tokenizer)
    assert message.startswith("some/data: cannot be loaded from the hub: Couldn't reach it; check")
    fails(ValueError("Config name is missing.\nPlease pick one among ['a', 'b']\nExample: ..."))
    assert refusal(TaskConfig(source="some/data"), tokenizer).endswith(
        "Config name is missing. Please pick one among ['a', 'b']; check the id, its `subset` and "
        "the network, or the path of a local folder"
    )

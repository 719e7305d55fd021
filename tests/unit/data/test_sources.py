"""Tasks from folders, GLUE parquet and the hub."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from letter_data import folder_of, letters, load_task, plain, refusal

from lotbench.config.sections import TaskConfig
from lotbench.errors import InputError


@pytest.mark.parametrize(
    ("train", "validation", "classes", "numbers"),
    [
        (["pos", "neg", "neutral", "pos"], ["neutral", "pos"], ["neg", "neutral", "pos"], [1, 2]),
        ([-1, 1, 3, 1], [3.0, -1.0], [-1, 1, 3], [2, 0]),
    ],
)
def test_labels_are_numbered_in_sorted_order(
    tmp_path, tokenizer, train, validation, classes, numbers
):
    splits = {"text": letters(4), "label": train}, {"text": ["h", "g"], "label": validation}
    task = load_task("mine", folder_of(tmp_path, *splits), tokenizer)
    assert (task.n_labels, task.notes["classes"]) == (3, classes)
    assert task.validation.labels.tolist() == numbers
    assert task.validation.labels.dtype == np.int64


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
def test_text_formats(tmp_path, tokenizer, suffix, content, more, first):
    (tmp_path / f"train.{suffix}").write_text(
        content.replace("q", "r").replace("NA", "null") + more, encoding="utf-8-sig"
    )
    (tmp_path / f"dev.{suffix}").write_text(content)
    task = load_task("mine", TaskConfig(source=str(tmp_path)), tokenizer, 0)
    assert task.validation.texts[0] == (first,)
    assert task.validation.labels.tolist() == [1, 0]
    # The byte-order mark of the train file is no part of its first column's name.
    assert len(task.train) + len(task.selection) == 4


def test_validation_is_preferred_to_test(tmp_path, tokenizer):
    data = plain(tmp_path)
    pd.DataFrame({"text": ["h"], "label": [-1]}).to_parquet(tmp_path / "test.parquet")
    assert len(load_task("mine", data, tokenizer, 0).validation) == 10


def test_glue_layout_and_the_order_of_its_metrics(tmp_path, tokenizer):
    pair = {"sentence1": letters(20), "sentence2": letters(20, 100), "idx": list(range(20))}
    scores = np.linspace(0, 5, 20).astype("float32").tolist()
    more = {"sentence1": letters(9, 500), "sentence2": letters(9), "label": scores[:9]}
    folder_of(tmp_path / "stsb", more, {**pair, "label": scores[::-1]})
    one = {"sentence1": ["a"], "sentence2": ["b"], "label": [1]}
    folder_of(tmp_path / "mrpc", {**pair, "label": [0, 1] * 10}, one)
    mrpc = load_task("mrpc", TaskConfig(), tokenizer, 0, str(tmp_path))
    assert mrpc.metrics == ("accuracy", "f1") and mrpc.n_labels == 2
    stsb = load_task("stsb", TaskConfig(), tokenizer, 0, str(tmp_path))
    assert stsb.metrics == ("pearson", "spearman")
    assert (stsb.kind.name, stsb.n_labels) == ("regression", 1)
    labels = stsb.validation.labels
    assert labels.dtype == np.float32 and labels[0] == np.float32(5.0)


def test_mnli_reads_the_matched_validation(tmp_path, tokenizer):
    rows = {"premise": letters(6), "hypothesis": letters(6), "label": [0, 1, 2] * 2}
    folder_of(tmp_path / "mnli", rows, rows)
    matched = {"premise": ["a a"], "hypothesis": ["b b"], "label": [2]}
    pd.DataFrame(matched).to_parquet(tmp_path / "mnli" / "validation_matched.parquet")
    task = load_task("mnli", TaskConfig(), tokenizer, 0, str(tmp_path))
    assert task.validation.texts == [("a a", "b b")] and task.n_labels == 3


def test_vitaminc_reads_claim_and_evidence(tmp_path, tokenizer):
    names = ["NOT ENOUGH INFO", "REFUTES", "SUPPORTS"]
    claims, evidence = letters(9), letters(9, 100)
    rows = {"evidence": evidence, "claim": claims, "label": names * 3, "page": ["p"] * 9}
    held = {**rows, "evidence": letters(9, 500), "label": names[::-1] * 3}
    folder_of(tmp_path / "vitaminc", rows, held)
    task = load_task("vitaminc", TaskConfig(), tokenizer, 0, str(tmp_path))
    assert task.validation.texts == [*zip(claims, held["evidence"], strict=True)]
    assert task.validation.labels.tolist() == [2, 1, 0] * 3
    assert (task.notes["classes"], task.metrics) == (names, ("accuracy",))


def test_multirc_reads_question_and_answer_then_the_paragraph(tmp_path, tokenizer):
    def write(column: str) -> None:
        one = {"question": ["a ?"] * 4, "answer": list("bcde"), "label": [0, 1, 1, 0]}
        read = ({**one, column: list(body)} for body in ("fghi", "jklm"))
        folder_of(tmp_path / "multirc", *read)

    write("paragraph")
    task = load_task("multirc", TaskConfig(), tokenizer, 0, str(tmp_path))
    texts = [("a ? b", "j"), ("a ? c", "k"), ("a ? d", "l"), ("a ? e", "m")]
    assert task.validation.texts == texts
    assert task.validation.labels.tolist() == [0, 1, 1, 0]
    assert task.metrics == ("accuracy", "f1")
    # With another column for the paragraph, the question still has its answer.
    write("body")
    for text, wanted in ((["question", "body"], texts[0]), (["body", "question"], ("j", "a ?"))):
        task = load_task("multirc", TaskConfig(text=text), tokenizer, 0, str(tmp_path))
        assert task.validation.texts[0] == wanted


@pytest.mark.parametrize("column", ["question", "answer", "paragraph"])
def test_a_column_of_a_task_that_is_missing(tmp_path, tokenizer, column):
    rows = {"question": ["a", "b"], "answer": ["c", "d"], "paragraph": ["e", "f"], "label": [0, 1]}
    rows = {("other" if name == column else name): own for name, own in rows.items()}
    folder_of(tmp_path / "multirc", rows, rows)
    with pytest.raises(InputError, match=f"no column '{column}'; set tasks.multirc"):
        load_task("multirc", TaskConfig(), tokenizer, 0, str(tmp_path))


# --- the hub, without a network -------------------------------------------------------------


def test_hub_dataset(monkeypatch, tokenizer):
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


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("sst2", ("nyu-mll/glue", "sst2")),
        ("vitaminc", ("tals/vitaminc", None)),
        ("multirc", ("aps/super_glue", "multirc")),
    ],
)
def test_the_hub_dataset_of_a_built_in_task(monkeypatch, tokenizer, name, wanted):
    import datasets

    asked: list[tuple] = []

    def load(*arguments: Any) -> Any:
        asked.append(arguments)
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(InputError, match="cannot be loaded from the hub: no network"):
        load_task(name, TaskConfig(), tokenizer, 0)
    assert asked == [wanted]

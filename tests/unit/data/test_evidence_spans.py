"""Evidence of a task: spans in the characters of a text, and the tokens that they cover."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from letter_data import folder_of, letters, load_task, refusal

from lotbench.config.sections import TaskConfig
from lotbench.data.sources import read_source

# Of "a b c d" the tokens are [CLS] a b c d [SEP], with a letter at every even character.
SPANS = [[[0, 3]], [], [[2, 3], [6, 7]], None]
PAIR = {"q": ["a b", "b a", "c a", "d a"], "text": ["a b c d"] * 4, "label": [0, 1, 0, 1]}


def written(path, spans, suffix="parquet") -> TaskConfig:
    """Training rows without evidence, and validation rows with these spans."""
    path.mkdir(exist_ok=True)
    train = {"q": letters(20), "text": letters(20, 100), "label": [0, 1] * 10, "why": [None] * 20}
    rows = {name: own[: len(spans)] for name, own in PAIR.items()} | {"why": spans}
    for name, own in (("train", train), ("validation", rows)):
        frame = pd.DataFrame(own)
        if suffix == "parquet":
            frame.to_parquet(path / f"{name}.parquet")
        else:
            frame["why"] = ["" if own is None else json.dumps(own) for own in frame["why"]]
            frame.to_csv(path / f"{name}.{suffix}", index=False, sep=",\t"[suffix == "tsv"])
    return TaskConfig(source=str(path), text=["q", "text"], evidence="why")


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_evidence_is_of_the_tokens_of_the_second_text(tmp_path, tokenizer, suffix):
    task = load_task("mine", written(tmp_path, SPANS, suffix), tokenizer)
    # [CLS] a b [SEP] a b c d [SEP]
    marked = [np.flatnonzero(own).tolist() for own in task.validation.evidence]
    assert marked == [[4, 5], [], [5, 7], []]
    assert [own.shape for own in task.validation.evidence] == [(9,)] * 4
    assert task.notes["validation_with_evidence"] == 2
    assert not any(own.any() for split in (task.train, task.selection) for own in split.evidence)


def test_evidence_of_a_single_text_and_of_json_lines(tmp_path, tokenizer):
    train = [{"text": f"a {letter}", "label": place % 2} for place, letter in enumerate("bcdefg")]
    held = [{"text": "h h h", "label": 0, "why": [[4, 5]]}, {"text": "h g", "label": 1}]
    train[0]["why"] = None
    for name, own in (("train", train), ("validation", held)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, own)))
    data = TaskConfig(source=str(tmp_path), evidence="why")
    found = load_task("mine", data, tokenizer).validation.evidence
    assert [np.flatnonzero(own).tolist() for own in found] == [[3], []]


def test_what_is_cut_off_is_no_evidence(tmp_path, tokenizer):
    task = load_task("mine", written(tmp_path, SPANS), tokenizer, scored_length=8)
    # Eight tokens are [CLS] a b [SEP] a b c [SEP].
    marked = [np.flatnonzero(own).tolist() for own in task.validation.evidence]
    assert marked == [[4, 5], [], [5], []]


def test_evidence_follows_its_row_and_is_in_the_fingerprint(tmp_path, tokenizer):
    data = written(tmp_path / "a", SPANS)
    limited = data.model_copy(update={"limit": data.limit.model_copy(update={"validation": 2})})
    split = load_task("mine", limited, tokenizer).validation
    for (question, _), own in zip(split.texts, split.evidence, strict=True):
        assert own.sum() == {"a b": 2, "b a": 0, "c a": 2, "d a": 0}[question]
    plain = load_task("mine", data.model_copy(update={"evidence": None}), tokenizer)
    assert plain.validation.evidence is None and "validation_with_evidence" not in plain.notes
    prints = {plain.fingerprint, load_task("mine", data, tokenizer).fingerprint}
    other = written(tmp_path / "b", [[[0, 1]], *SPANS[1:]])
    assert len(prints | {load_task("mine", other, tokenizer).fingerprint}) == 3


def test_the_answer_that_multirc_appends_is_no_part_of_the_second_text(tmp_path, tokenizer):
    one = {"question": ["a ?", "b ?"], "answer": ["b", "c"], "label": [0, 1]}
    splits = (
        {**one, "paragraph": own, "why": [[[2, 3]], None]} for own in (["d e", "e"], ["f g", "g"])
    )
    folder_of(tmp_path / "multirc", *splits)
    rows = read_source("multirc", TaskConfig(evidence="why"), str(tmp_path)).validation
    assert rows.texts == [("a ? b", "f g"), ("b ? c", "g")]
    assert rows.evidence == [[[2, 3]], []]


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("no", "'no'"),
        ("[[0, 3]", "'[[0, 3]'"),
        ("[" * 5000, "'[[[["),
        ("3", "'3'"),
        ("[0, 3]", "'[0, 3]'"),
        ("[[0, 3, 4]]", "'[[0, 3, 4]]'"),
        ("[[0, 1.5]]", "'[[0, 1.5]]'"),
        ("[[false, true]]", "'[[false, true]]'"),
        ('[["0", "3"]]', """'[["0", "3"]]'"""),
        ("{}", "'{}'"),
        ("[[0, 3], [3, 3]]", "[3, 3]"),
        ("[[5, 2]]", "[5, 2]"),
        ("[[-1, 2]]", "[-1, 2]"),
        ("[[0, 8]]", "[0, 8]"),  # the text has seven characters
        ("[[0, 1" + "0" * 400 + "]]", "[0, 1000"),
    ],
)
def test_a_cell_that_is_no_spans_is_named(tmp_path, tokenizer, cell, shown):
    data = written(tmp_path, [None] * 4, "csv")
    file = tmp_path / "validation.csv"
    frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    frame.loc[2, "why"] = cell
    frame.to_csv(file, index=False)
    message = refusal(data, tokenizer)
    assert message.startswith(f"{file}: column 'why', row 3: {shown}")
    assert message.endswith(
        " is not a span of the text; a cell is such as [[0, 12], [40, 55]]: starts and larger ends "
        "in characters, none beyond the text; correct it, or leave it empty"
    )


@pytest.mark.parametrize("cell", [[[0.0, 1.5]], [[0]], [[0, 1], [2]], [[0, None]]])
def test_a_list_of_parquet_that_is_no_spans_is_named(tmp_path, tokenizer, cell):
    message = refusal(written(tmp_path, [cell, None]), tokenizer)
    assert message.startswith(f"{tmp_path / 'validation.parquet'}: column 'why', row 1: ")


def test_a_column_that_is_missing(tmp_path, tokenizer):
    data = written(tmp_path, SPANS).model_copy(update={"evidence": "which"})
    message = refusal(data, tokenizer)
    assert "no column 'which'; set tasks.mine.evidence to one of: q, text, label, why" in message


def test_a_tokenizer_in_python_is_refused(tmp_path):
    in_python = SimpleNamespace(is_fast=False, model_max_length=512)
    message = refusal(written(tmp_path, SPANS), in_python)
    assert message.startswith("tasks.mine.evidence: the tokenizer of this backbone is written in P")

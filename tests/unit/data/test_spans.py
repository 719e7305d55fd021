"""Spans: answers in the characters of a second text, and the tokens that they are."""

import json

import numpy as np
import pandas as pd
import pytest
from letter_data import letters, load_task, refusal

from lotbench.config.sections import TaskConfig

# [CLS] a b [SEP] a b c d [SEP]: the passage starts at token 4, with a letter at even characters.
ROWS = [("b c", 2), ("d", 6), ("c", 4), ("a b c d", 0)]


def written(path, answers, suffix="csv", **more) -> TaskConfig:
    """Training rows with the answers ``a`` and ``d``, and validation rows with these."""
    questions = ["a b", "b a", "c a", "d a", "e a"][: len(answers)]
    train = letters(20, 100), ["a b c d"] * 20, [("a", 0), ("d", 6)] * 10
    for name, own in (("train", train), ("validation", (questions, ["a b c d"] * 5, answers))):
        rows = [
            {"question": question, "context": context, "answer": text, "start": start}
            for question, context, (text, start) in zip(*own, strict=False)
        ]
        if suffix == "jsonl":
            for row in rows:
                row["answers"] = {"text": [row.pop("answer")], "answer_start": [row.pop("start")]}
            (path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        else:
            pd.DataFrame(rows).to_csv(path / f"{name}.csv", index=False)
    return TaskConfig(source=str(path), kind="span", **more)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_answers_are_tokens_of_the_second_text(tmp_path, tokenizer, suffix):
    task = load_task("mine", written(tmp_path, ROWS, suffix), tokenizer)
    found = task.validation
    assert found.labels.tolist() == [[5, 6], [7, 7], [6, 6], [4, 7]]
    assert found.answers == [("b c",), ("d",), ("c",), ("a b c d",)]
    places = [[-1, -1]] * 4 + [[0, 1], [2, 3], [4, 5], [6, 7]] + [[-1, -1]]
    assert found.places is not None and found.places[0].tolist() == places
    assert task.n_labels == -1 and task.metrics == ("token_f1", "exact_match")


def test_what_is_cut_is_not_trained_on_and_is_wrong(tmp_path, tokenizer):
    # [CLS] a b [SEP] a b c [SEP]
    task = load_task("mine", written(tmp_path, ROWS, max_length=8), tokenizer)
    assert task.validation.labels.tolist() == [[5, 6], [-1, -1], [6, 6], [-1, -1]]
    assert task.notes["validation_answers_cut"] == 2
    lost = task.notes["train_answers_cut"]
    assert lost + task.notes["selection_answers_cut"] == 10
    assert len(task.train) == 18 - lost and (task.train.labels == 4).all()
    outputs = np.full((4, 2, 8), -np.inf)
    outputs[:, 0, 5] = outputs[:, 1, 6] = 0
    score = task.kind.score(task.metrics, task.validation, outputs)
    assert score.values["token_f1"].tolist() == [1, 0, 0.6667, 0]
    assert score.values["exact_match"].tolist() == [1, 0, 0, 0]
    assert task.kind.answered(task.validation, outputs) == [2, 5] * 4


def test_the_first_answer_that_is_whole_is_learned_and_the_best_counts(tmp_path, tokenizer):
    written(tmp_path, ROWS)
    many = {"text": ["d", "a b", "e"], "answer_start": [6, 0, 0]}
    frame = pd.read_csv(tmp_path / "validation.csv")
    cells = [json.dumps(many)] + [json.dumps({"text": ["a"], "answer_start": [0]})] * 3
    for name, own in (("train", cells[1:2] * 20), ("validation", cells)):
        frame = pd.read_csv(tmp_path / f"{name}.csv")
        frame.drop(columns=["answer", "start"]).assign(answers=own).to_csv(
            tmp_path / f"{name}.csv", index=False
        )
    task = load_task("mine", TaskConfig(source=str(tmp_path), kind="span"), tokenizer, 0, None, 8)
    assert task.validation.labels[0].tolist() == [4, 5]  # ``d`` is behind the cut
    assert task.validation.answers is not None
    assert task.validation.answers[0] == ("d", "a b")  # ``e`` does not stand at 0


def test_answers_that_stand_elsewhere_are_left_out(tmp_path, tokenizer):
    wrong = [*ROWS, ("d", 9)]
    task = load_task("mine", written(tmp_path, wrong), tokenizer)
    assert len(task.validation) == 4 and task.notes["validation_answers_left_out"] == 1
    message = refusal(written(tmp_path, [("d", 9), ("b", -1), ("a", 0)]), tokenizer)
    assert message.startswith(
        f"{tmp_path / 'validation.csv'}: row 1: the answer 'd' does not stand"
    )
    assert "character 9 of the second text, as in 2 of 3 rows; count characters from 0" in message


@pytest.mark.parametrize(
    ("column", "cell", "says"),
    [
        ("start", "x", "column 'start', row 2: 'x' is no place in the characters"),
        ("answer", " ", "column 'answer', row 2: ' ' is no text; remove the row"),
        ("answers", "{}", "column 'answers', row 2: '{}' is no answer; a cell is such as"),
        ("answers", '{"text": ["a"], "answer_start": []}', "column 'answers', row 2: "),
    ],
)
def test_cells_that_are_no_answers_are_named(tmp_path, tokenizer, column, cell, says):
    data = written(tmp_path, ROWS)
    frame = pd.read_csv(tmp_path / "validation.csv", dtype=str, keep_default_na=False)
    if column == "answers":
        frame["answers"] = json.dumps({"text": ["a"], "answer_start": [0]})
    frame.loc[1, column] = cell
    frame.to_csv(tmp_path / "validation.csv", index=False)
    assert f"{tmp_path / 'validation.csv'}: {says}" in refusal(data, tokenizer)


def test_columns_that_are_missing(tmp_path, tokenizer):
    data = written(tmp_path, ROWS)
    for split in ("train", "validation"):
        path = tmp_path / f"{split}.csv"
        pd.read_csv(path).rename(columns={"start": "from"}).to_csv(path, index=False)
    message = refusal(data, tokenizer)
    assert "no column 'start'; a span needs `answer` and `start`, its place" in message
    data = written(tmp_path, ROWS, text=["question", "passage"])
    assert "no column 'passage'; set tasks.mine.text to one of: " in refusal(data, tokenizer)

"""What a new user may get wrong with vectors and rankings: one message, exit code 2."""

import json
from typing import Any

import pytest
from commands import call

Row = dict[str, Any]

VECTORS = {"kind": "embedding", "pooling": "mean"}
RANKING = {"kind": "ranking", "text": ["q", "d"], "group": "q"}


def documents(**last: str) -> list[Row]:
    """Thirty documents with questions and labels; the last one is changed."""
    rows = [{"text": f"film {i}", "ask": f"which {i}", "label": i % 2} for i in range(30)]
    return [*rows[:-1], {key: last.get(key, value) for key, value in rows[-1].items()}]


def without(key: str) -> list[Row]:
    *rows, last = documents()
    return [*rows, {name: value for name, value in last.items() if name != key}]


def pairs(*more: Row) -> list[Row]:
    """Ten groups of two, and more rows."""
    rows = [{"q": f"q {i // 2}", "d": f"d {i}", "label": i % 2} for i in range(20)]
    return [*rows, *more]


CASES = {
    "pooling unknown": (
        {"kind": "embedding"},
        documents(),
        "no modules.json says how to pool; set the task's `pooling` to mean or cls",
    ),
    "a row without the query": (
        VECTORS | {"query": "ask"},
        without("ask"),
        "train.jsonl: column 'ask', row 30: nan is not text; remove the row, or",
    ),
    "an empty query": (
        VECTORS | {"query": "ask"},
        documents(ask=""),
        "train.jsonl: column 'ask', row 30: '' is an empty text; remove the row",
    ),
    "another query column": (
        VECTORS | {"query": "asked"},
        documents(),
        "train.jsonl: no column 'asked'; set task.query to one of: text, ask, label",
    ),
    "an empty text": (
        VECTORS,
        documents(text="  "),
        "train.jsonl: column 'text', row 30: ' ' is an empty text; remove the row",
    ),
    "a group with one row": (
        RANKING,
        pairs({"q": "alone", "d": "d", "label": 1}),
        "train.jsonl: column 'q', row 21: 'alone' is the group of this row alone",
    ),
    "protect without pairs": (
        {"protect": "first"},
        documents(),
        "task.protect: only a pair has a first text; name two columns in `text`, or remove it",
    ),
}


@pytest.mark.parametrize(("task", "rows", "message"), CASES.values(), ids=CASES)
def test_bad_input_is_one_message_and_exit_code_2(tmp_path, trial_file, task, rows, message):
    # What is wrong is wrong in the training split alone.
    good = pairs() if "q" in rows[0] else documents()
    held = [{key: f"other {value}" for key, value in row.items()} for row in good]
    held = [row | {"label": i % 2, "asked": "which"} for i, row in enumerate(held)]
    for name, own in (("train", rows), ("validation", held)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, own)))
    task = {"name": "mine", "source": str(tmp_path), "max_length": 16, **task}
    method = {"name": "truncated", "layers": 0 if "layer" in message else 1}
    path = trial_file("truncated", task=task, method=method)
    done = call("run", path, "--results", tmp_path / "store")
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 2
    assert line.startswith("error: ") and message in line

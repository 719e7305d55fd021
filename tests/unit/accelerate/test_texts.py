"""The user's texts become a task; what cannot teach or judge a model is refused."""

from pathlib import Path

import pandas as pd
import pytest

from lotbench.accelerate.texts import CANDIDATES, LEAST, divide, read_texts
from lotbench.errors import InputError

CLASSES = ["a", "b"]
TEXTS = [f"text number {i}" for i in range(LEAST)]


def table(folder: Path, **columns: list) -> Path:
    path = folder / "own.csv"
    pd.DataFrame({"text": TEXTS} | columns).to_csv(path, index=False)
    return path


def splits(texts: Path, out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The training and the validation split that a table or text files are divided into."""
    frame, _, _ = read_texts(str(texts), {}, CLASSES)
    folder = Path(divide(frame, "label", out))
    train, validation = (pd.read_parquet(folder / f"{s}.parquet") for s in ("train", "validation"))
    return train, validation


def test_a_table_is_divided_once_and_for_all(tmp_path):
    path = table(tmp_path, label=["a", "b"] * (LEAST // 2))
    train, validation = splits(path, tmp_path / "out")
    assert (len(train), len(validation)) == (160, 40)
    assert {*train["text"]} | {*validation["text"]} == {*TEXTS}
    assert splits(path, tmp_path / "again")[1].equals(validation)


def test_labelled_rows_are_judged_by(tmp_path):
    train, validation = splits(table(tmp_path, label=["a"] * 90 + [""] * 110), tmp_path / "out")
    assert set(validation["label"]) == {"a"}
    assert (train["label"] == "a").sum() == 50


def test_labels_too_few_to_judge_by_are_learned_from(tmp_path):
    train, validation = splits(table(tmp_path, label=["a"] * 70 + [""] * 130), tmp_path / "out")
    assert "label" not in validation
    assert (train["label"] == "a").sum() == 70


def test_a_saved_index_moves_no_label(tmp_path):
    frame = pd.DataFrame({"text": TEXTS, "label": ["a"] * 100 + [None] * 100})
    frame.sample(frac=1, random_state=1).to_parquet(tmp_path / "own.parquet")
    assert set(splits(tmp_path / "own.parquet", tmp_path / "out")[1]["label"]) == {"a"}


@pytest.mark.parametrize("lines", [True, False])
def test_plain_text_is_a_line_or_a_file_each(tmp_path, lines):
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in {"own": "\n".join(TEXTS)}.items() if lines else enumerate(TEXTS):
        (folder / f"{name}.txt").write_text(f"{text}\n")
    train, validation = splits(folder / "own.txt" if lines else folder, tmp_path / "out")
    assert {*train["text"]} | {*validation["text"]} == {*TEXTS}


def pairs(folder: Path, queries: int = 100, **columns: list) -> Path:
    """A table of two passages for each query; every tenth query stands in two groups."""
    frame = pd.DataFrame(
        {"question": [f"q {i // 2 % (queries * 9 // 10)}" for i in range(2 * queries)]}
    )
    frame["paragraph"] = [f"p {i}" for i in range(2 * queries)]
    frame["group"] = [i // 2 for i in range(2 * queries)]
    path = folder / "own.csv"
    frame.assign(**columns).to_csv(path, index=False)
    return path


def test_pairs_of_a_cross_encoder_are_divided_by_query(tmp_path):
    path = pairs(tmp_path, label=[0, 1] * 100)
    frame, _, keys = read_texts(str(path), {}, [], ranks=True)
    named = {"text": ["question", "paragraph"], "group": "group", "label": "label"}
    assert frame is not None and keys == {"kind": "ranking", **named}
    folder = Path(divide(frame, None, tmp_path / "out", keys))
    both = [pd.read_parquet(folder / f"{name}.parquet") for name in ("train", "validation")]
    assert not {*both[0]["question"]} & {*both[1]["question"]}
    assert sum(map(len, both)) == 200 and 36 <= len(both[1]) <= 72
    # Without its columns a table has no queries, and without a label there is no relevance.
    assert read_texts(str(table(tmp_path)), {}, [], ranks=True)[2] == {}


@pytest.mark.parametrize(
    ("columns", "keys", "message"),
    [
        ({"queries": 99}, {}, "99 queries are too few; give 100 or more"),
        (
            {"label": [0] * 200},
            {},
            "0 queries that have a passage with a label above 0 are too few",
        ),
        (
            {"label": [-1] * 200},
            {},
            "column 'label', row 1: '-1' is not a finite number of 0 or more",
        ),
        (
            {"label": [""] * 200},
            {},
            "column 'label', row 1: '' is not a finite number of 0 or more",
        ),
        ({"group": range(200)}, {}, "column 'group', row 1: '0' is the group of this row alone"),
        ({"paragraph": ["p", *[" "] * 199]}, {}, "column 'paragraph', row 2: ' ' is an empty text"),
        (
            {},
            {"group": "session"},
            "no column 'session'; set tasks.texts.group to one of: question",
        ),
        ({}, {"label": "stars"}, "no column 'stars'; set tasks.texts.label to one of: question"),
        (
            {},
            {"kind": "ranking", "text": "paragraph"},
            "which columns are query and passage? --set",
        ),
    ],
)
def test_rankings_that_are_refused(tmp_path, columns, keys, message):
    path = pairs(tmp_path, **columns)
    with pytest.raises(InputError) as caught:
        read_texts(str(path), keys, [], ranks=True)
    assert message in str(caught.value)


def test_what_tasks_read_is_left_as_it_is(tmp_path):
    table(tmp_path)
    for texts in (str(tmp_path), "bbc_news", "owner/name"):
        assert read_texts(texts, {}, CLASSES) == (None, texts, {})


LABELS = ["a", "b"] * (LEAST // 2)


@pytest.mark.parametrize(
    ("file", "columns", "keys", "message"),
    [
        ("texst.csv", None, {}, "texst.csv: no such file"),
        ("own.docx", {}, {}, "own.docx: a table ends in .parquet, .csv"),
        ("own.csv", {"text": TEXTS[:20]}, {}, "own.csv: 20 texts are too few; give "),
        (
            "own.csv",
            {"text": [*TEXTS[:-1], " "], "label": LABELS},
            {},
            "own.csv: row 200: the text is",
        ),
        (
            "own.csv",
            {"stars": LABELS, "review": TEXTS},
            {},
            "own.csv: which column is the text? --set tasks.texts.text=review (columns: review, st",
        ),
        ("own.csv", {"review": TEXTS}, {"text": "words"}, "own.csv: which column is the text? --s"),
        (
            "own.csv",
            {"text": TEXTS, "stars": LABELS},
            {"label": "y"},
            "own.csv: which column is the label? --set tasks.texts.label=stars (columns: text, st",
        ),
        ("own.csv", {"text": TEXTS}, {"text": None}, "own.csv: which column is the text? --set t"),
        (
            "own.csv",
            {"text": TEXTS, "label": ["c"] * 200},
            {},
            "own.csv: column 'label', row 1: 'c' is no label of the model; it has 2",
        ),
    ],
)
def test_texts_that_are_refused(tmp_path, file, columns, keys, message):
    if columns is not None:
        pd.DataFrame(columns).to_csv(tmp_path / file, index=False)
    with pytest.raises(InputError) as caught:
        read_texts(str(tmp_path / file), keys, CLASSES)
    assert str(caught.value).startswith(f"{tmp_path}/{message}")


def test_queries_without_passages_get_the_best_of_the_first_stage(tmp_path):
    queries = tmp_path / "queries.csv"
    pd.DataFrame({"query": [f"word{i}" for i in range(100)]}).to_csv(queries, index=False)
    documents = tmp_path / "documents.txt"
    documents.write_text("\n".join(f"word{i} text {i}" for i in range(100)))
    frame, _, keys = read_texts(str(queries), {}, [], True, str(documents))
    assert frame is not None and len(frame) == 100 * CANDIDATES
    first = frame.groupby("query", sort=False).head(1)
    assert first["passage"].tolist() == [f"word{i} text {i}" for i in range(100)]
    assert keys == {"kind": "ranking", "text": ["query", "passage"], "group": "query"}


@pytest.mark.parametrize(
    ("content", "ranks", "message"),
    [
        ("a\nb", False, "--passages-from: MODEL is no reranker"),
        ("a", True, "1 passage is nothing to rank"),
        (None, True, "is no table, .txt file or folder of .txt files"),
    ],
)
def test_passages_that_cannot_be_ranked_are_refused(tmp_path, content, ranks, message):
    documents = tmp_path / "documents.txt"
    if content:
        documents.write_text(content)
    with pytest.raises(InputError, match=message):
        read_texts(str(table(tmp_path)), {}, [], ranks, str(documents))


def test_passages_need_a_column_that_is_known(tmp_path):
    documents = tmp_path / "documents.csv"
    pd.DataFrame({"a": ["x", "y"], "b": ["x", "y"]}).to_csv(documents, index=False)
    with pytest.raises(InputError, match=r"documents.csv: no column passage or .*columns: a, b"):
        read_texts(str(table(tmp_path)), {}, [], True, str(documents))

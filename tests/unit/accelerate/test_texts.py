"""The user's texts become a task; what cannot teach or judge a model is refused."""

from pathlib import Path

import pandas as pd
import pytest

from lotbench.accelerate.texts import LEAST, divide, read_texts
from lotbench.errors import InputError

CLASSES = ["a", "b"]
TEXTS = [f"text number {i}" for i in range(LEAST)]


def table(folder: Path, **columns: list) -> Path:
    path = folder / "own.csv"
    pd.DataFrame({"text": TEXTS} | columns).to_csv(path, index=False)
    return path


def splits(texts: Path, out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The training and the validation split that a table or text files are divided into."""
    frame, _ = read_texts(str(texts), {}, CLASSES)
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


def test_what_tasks_read_is_left_as_it_is(tmp_path):
    table(tmp_path)
    for texts in (str(tmp_path), "bbc_news", "owner/name"):
        assert read_texts(texts, {}, CLASSES) == (None, texts)


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

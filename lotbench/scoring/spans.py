"""The spans that answer questions, and their scores as SQuAD counts them."""

from __future__ import annotations

import re
import string
from collections import Counter

import numpy as np

LONGEST = 30
"""Tokens of the longest span that is an answer."""
NOWHERE = -1
"""Both ends of a text without an answer."""
ARTICLES = re.compile(r"\b(a|an|the)\b")
WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def best_spans(logits: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """First and last token of the best answer of each text, shape (N, 2), int64.

    The sum of its start and its end logit is the largest; of equal ones the shortest counts, then
    the first.  ``logits`` (N, 2, L) are -inf for tokens that are gone, and only those ``inside``
    (N, L) can be answers.  Without any, both are `NOWHERE`.
    """
    count, _, width = logits.shape
    starts, ends = np.where(inside[:, None], logits, -np.inf).transpose(1, 0, 2)
    best, found = np.full(count, -np.inf), np.full((count, 2), NOWHERE)
    for more in range(min(LONGEST, width)):
        total = starts[:, : width - more] + ends[:, more:]
        first = total.argmax(axis=1)
        value = total[np.arange(count), first]
        better = value > best
        best = np.where(better, value, best)
        found = np.where(better[:, None], np.stack([first, first + more], axis=1), found)
    return found


def exact_match(answer: str, gold: str) -> int:
    """1 if both have the same `words`, else 0."""
    return int(words(answer) == words(gold))


def token_f1(answer: str, gold: str) -> float:
    """F1 of the `words` of an answer, from 0 to 1; without words it is `exact_match`."""
    own, right = Counter(words(answer)), Counter(words(gold))
    if not own or not right:
        return float(own == right)
    return 2 * (own & right).total() / (own.total() + right.total())


def words(text: str) -> list[str]:
    """The words of an answer in lower case, without punctuation and articles."""
    return ARTICLES.sub(" ", text.lower().translate(WITHOUT_PUNCTUATION)).split()

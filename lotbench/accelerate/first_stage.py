"""The cheap first stage before a reranker: BM25 over lower-case words.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with its
usual constants.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

SATURATION, LENGTH = 1.2, 0.75
"""``k1`` and ``b`` of the paper."""


class FirstStage:
    """Scores of passages for queries."""

    def __init__(self, passages: Sequence[str]) -> None:
        counts = [Counter(words(text)) for text in passages]
        lengths = np.array([own.total() for own in counts])
        damp = SATURATION * (1 - LENGTH + LENGTH * lengths / max(lengths.mean(), 1.0))
        holders: dict[str, list[int]] = {}
        for row, own in enumerate(counts):
            for word in own:
                holders.setdefault(word, []).append(row)
        self.size = len(passages)
        self._of_word = {}
        for word, rows in holders.items():
            often = np.array([counts[row][word] for row in rows])
            rarity = np.log(1 + (self.size - len(rows) + 0.5) / (len(rows) + 0.5))
            self._of_word[word] = rows, rarity * often * (SATURATION + 1) / (often + damp[rows])

    def scores(self, query: str) -> np.ndarray:
        """The score of every passage, shape (passages,)."""
        found = np.zeros(self.size)
        for word in sorted({*words(query)} & self._of_word.keys()):
            rows, values = self._of_word[word]
            found[rows] += values
        return found

    def best(self, query: str, count: int) -> np.ndarray:
        """The passages with the highest scores, best first; of equal ones the first, (count,)."""
        return np.argsort(-self.scores(query), kind="stable")[:count]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())

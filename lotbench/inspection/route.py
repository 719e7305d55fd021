"""`Route`: what one model does with the tokens of one text.  Drawing needs this file alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Fate(IntEnum):
    """The fate of a token in a layer."""

    REMOVED = 0
    """It is gone, in an earlier layer or before this one."""
    MERGED = 1
    """It has merged into another token, in an earlier layer or before this one."""
    LEAPT = 2
    """It skips the layer and stays available."""
    ATTENTION = 3
    """It takes part in the attention; then it is removed, merges, or skips the feed-forward."""
    PROCESSED = 4


_LOOKS = {
    Fate.PROCESSED: ("processed", "#1B5E8C", "\N{FULL BLOCK}"),
    Fate.ATTENTION: ("attention only", "#7FB2D6", "\N{MEDIUM SHADE}"),
    Fate.LEAPT: ("leapt", "#F2C14E", "\N{UPWARDS ARROW}"),
    Fate.MERGED: ("merged into another", "#C9B8D8", "\N{LEFTWARDS ARROW}"),
    Fate.REMOVED: ("removed", "#ECECEC", "\N{MIDDLE DOT}"),
}
WORDS, COLOURS, MARKS = ({fate: look[i] for fate, look in _LOOKS.items()} for i in range(3))


@dataclass(frozen=True)
class Route:
    """A text of n tokens through the L layers of a model."""

    name: str
    """The model in a few words."""
    answer: str
    """Its prediction, such as ``positive (0.98)``; may be empty."""
    tokens: list[str]
    fates: np.ndarray
    """A `Fate` for every layer and token, shape (L, n)."""
    confidence: np.ndarray
    """The router's probability that the layer processes the token, (L, n); NaN without a router."""
    saliency: np.ndarray | None = None
    """The teacher's saliency as a share of the largest, shape (n,)."""
    evidence: np.ndarray | None = None
    """True for the tokens of the evidence, shape (n,), bool."""

    @property
    def computed(self) -> np.ndarray:
        """True where a layer computes a token, shape (L, n)."""
        return self.fates >= Fate.ATTENTION

    @property
    def title(self) -> str:
        answer = self.answer and f"{self.answer}, "
        title = f"{self.name}: {answer}layers compute {100 * self.computed.mean():.0f}% of"
        if self.evidence is None or not self.evidence.any():
            return f"{title} the tokens"
        share = 100 * self.computed[:, self.evidence].mean()
        return f"{title} tokens, {share:.0f}% of evidence"

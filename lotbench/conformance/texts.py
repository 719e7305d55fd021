"""The random texts that the rules run a method on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lotbench.batch import Batch
from lotbench.conformance.tiny import CLASSES, VOCABULARY, WIDTH
from lotbench.data.batches import collate
from lotbench.data.tokens import Split, text_seed
from lotbench.trial.saliency import SALIENCIES

LENGTHS = (40, 1, 17, 2, 29, 8, 3, 23, 12, 12, 12)
RAGGED, UNIFORM = tuple(range(8)), (8, 9, 10)
BATCHES = {"ragged batch": RAGGED, "batch of equal lengths": UNIFORM, "one token alone": (1,)}


def batch(
    rows: tuple[int, ...] = RAGGED, needs: frozenset[str] = frozenset(), vectors: bool = False
) -> Batch:
    """The batch of these texts, with artefacts; a text is the same in every batch."""
    return collate(with_artefacts(TEXTS, needs, vectors), np.array(rows))


def pairs(typed: bool) -> Batch:
    """Three pairs of texts with words in common, a separator behind each text.

    Token types tell the texts apart, or nothing but the separators does, as for RoBERTa.
    """
    rng, ids, types = np.random.default_rng(2), [], []
    for first, second in ((9, 20), (14, 3), (2, 30)):
        words = rng.integers(3, 20, first + second).tolist()
        ids.append([0, *words[:first], 1, *words[first:], 1])
        types.append([0] * (first + 2) + [1] * (second + 1))
    return Batch.from_ids(ids, types if typed else None)


def split(count: int) -> Split:
    """Random texts whose label depends on their third token."""
    return _random_split([3 + (7 * i) % 26 for i in range(count)], seed=1)


def with_artefacts(split: Split, needs: frozenset[str], vectors: bool = False) -> Split:
    """The split with the random saliency and the teacher's logits that a method ``needs``.

    If ``vectors``, it has the teacher's sentence vectors, at random, and no labels.
    """
    if vectors:
        generator = torch.Generator().manual_seed(0)
        dense = torch.randn(len(split), WIDTH, generator=generator)
        split = replace(split, labels=None, dense=dense.numpy())
    if needs & SALIENCIES.keys():
        seeds = map(torch.Generator().manual_seed, range(len(split)))
        pairs = zip(split.input_ids, seeds, strict=True)
        saliency = [torch.rand(len(ids), generator=seeded).numpy() for ids, seeded in pairs]
        split = replace(split, saliency=saliency)
    if "teacher_logits" in needs and split.labels is not None:
        split = replace(split, dense=np.eye(CLASSES, dtype=np.float32)[split.labels])
    return split


def _random_split(lengths: list[int] | tuple[int, ...], seed: int) -> Split:
    """Text pairs whose token frequencies fall off as in language."""
    rng = np.random.default_rng(seed)
    ids = [np.minimum(rng.zipf(1.3, size), VOCABULARY - 1).tolist() for size in lengths]
    for row in ids:
        row[0] = 0
    labels = np.array([row[min(2, len(row) - 1)] % CLASSES for row in ids])
    seeds = np.array([text_seed(map(str, row)) for row in ids])
    types = [[int(i > len(row) // 2) for i in range(len(row))] for row in ids]
    return Split(ids, types, labels, seeds, [(" ".join(map(str, row)),) for row in ids])


TEXTS = _random_split(LENGTHS, seed=0)

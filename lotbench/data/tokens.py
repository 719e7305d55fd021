"""Tokenise texts into splits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from lotbench.data.places import CHUNK, SPECIAL, places
from lotbench.data.tokenisers import direct, plain
from lotbench.errors import InputError
from lotbench.kinds.kind import Kind
from lotbench.kinds.labels import MISSING, without_label
from lotbench.kinds.rows import Rows, Split

SHORTEST = 1 / 8
"""A last window with a smaller share of ``max_length`` is left out."""


def tokenise_rows(rows: Rows, tokenizer: Any, max_length: int, kind: Kind) -> Split:
    """The rows as token ids.

    Texts that give vectors alone are of N pairs all N first texts, then all second ones.
    """
    texts = [(field,) for column in zip(*rows.texts, strict=True) for field in column]
    split = _tokenised(texts if kind.vectors else rows.texts, tokenizer, max_length)
    if kind.vectors:
        split.gold = rows.labels
    elif kind.spans:
        _place_answers(split, rows, tokenizer, max_length)
    else:
        split.labels, split.unlabelled = rows.labels, without_label(rows.labels, len(split))
    if rows.queries is not None:
        split.queries = _tokenised([(query,) for query in rows.queries], tokenizer, max_length)
    if rows.groups is not None:
        split.groups = np.unique(rows.groups, return_inverse=True)[1]
    if rows.evidence is not None:
        split.evidence = [np.zeros(length, dtype=bool) for length in split.lengths]
        some = [row for row, spans in enumerate(rows.evidence) if spans]  # places take a while
        found = places([rows.texts[row] for row in some], tokenizer, max_length)
        for row, own in zip(some, found, strict=True):
            split.evidence[row] = own.covered(rows.evidence[row], len(rows.texts[row]) - 1)
    return split


def _place_answers(split: Split, rows: Rows, tokenizer: Any, max_length: int) -> None:
    """Gives a split the tokens of its answers, the first that is not cut off of each row."""
    split.labels, split.places = np.full((len(split), 2), MISSING), []
    split.answers = [tuple(text for _, text in answers) for answers in rows.labels]
    for row, own in enumerate(places(rows.texts, tokenizer, max_length)):
        split.places.append(np.where(own.fields[:, None] == 1, own.spans, SPECIAL))
        tokens = (own.tokens_of(*answer, field=1) for answer in rows.labels[row])
        split.labels[row] = next(filter(None, tokens), MISSING)


def with_queries(split: Split) -> Split:
    """The texts of an embedding's split, and behind them its queries."""
    other = split.queries
    if other is None:
        return split
    return Split(
        split.input_ids + other.input_ids,
        split.token_type_ids + other.token_type_ids,
        None,
        np.concatenate([split.text_seed, other.text_seed]),
        split.texts + other.texts,
    )


def windows_behind(texts: list[str], tokenizer: Any, max_length: int) -> list[str]:
    """What texts have behind their first ``max_length`` tokens, in windows of as many tokens."""
    windows = []
    for start in range(0, len(texts), CHUNK):
        some = texts[start : start + CHUNK]
        found = tokenizer(
            some,
            truncation=True,
            max_length=max_length,
            padding=False,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        every = zip(found["overflow_to_sample_mapping"], found["offset_mapping"], strict=True)
        for (before, _), (row, offsets) in pairwise(every):
            # Special tokens have empty offsets.
            places = [place for place in offsets if place[1] > place[0]]
            # The first window of a text follows one of another text, and is read anyway.
            if row == before and len(places) >= SHORTEST * max_length:
                windows.append(some[row][places[0][0] : places[-1][1]])
    return windows


def _tokenised(texts: list[tuple[str, ...]], tokenizer: Any, max_length: int) -> Split:
    # Set explicitly, or the tokenizer warns about its threads at a later fork (Ray, git).
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    ids: list[list[int]] = []
    types: list[list[int]] = []
    for start in range(0, len(texts), CHUNK):
        some_ids, some_types = tokenise(texts[start : start + CHUNK], tokenizer, max_length)
        ids += some_ids
        types += some_types
    seeds = np.fromiter(map(text_seed, texts), dtype=np.int64, count=len(texts))
    return Split(ids, types, None, seeds, texts)


def tokenise(
    texts: Sequence[tuple[str, ...]], tokenizer: Any, max_length: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids and token types of texts, which must all have the same number of fields."""
    found = direct(tokenizer)
    rows = found(texts, max_length) if found else None
    ids, types = rows or plain(texts, tokenizer, max_length)
    if "token_type_ids" not in tokenizer.model_input_names:
        # RoBERTa has one token type, whatever its tokenizer reports for a pair.
        types = [[0] * len(row) for row in ids]
    return ids, types


def _fields(text: Any, place: int) -> tuple[str, ...]:
    """A text as a tuple of one field, a pair as a tuple of two."""
    fields = (text,) if isinstance(text, str) else text
    sound = isinstance(fields, tuple | list) and len(fields) in (1, 2)
    if not sound or not all(isinstance(field, str) for field in fields):
        raise InputError(f"texts[{place}]: a text or a pair of texts is needed, not {text!r}")
    return tuple(fields)


def tokenise_each(
    texts: Sequence[tuple[str, ...]], tokenizer: Any, max_length: int
) -> tuple[list[list[int]], list[list[int]]]:
    """`tokenise` for a list that may have both single texts and pairs."""
    if len({len(fields) for fields in texts}) == 1:
        return tokenise(texts, tokenizer, max_length)
    found = [tokenise([fields], tokenizer, max_length) for fields in texts]
    return [row for rows, _ in found for row in rows], [row for _, rows in found for row in rows]


def text_seed(fields: Iterable[str]) -> int:
    """A stable, non-negative hash of a text or text pair."""
    digest = hashlib.blake2b("\0".join(fields).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def batched(texts: Any, batch_size: Any) -> list[list[tuple[str, ...]]]:
    """Texts and pairs of texts as tuples of one and two fields, in batches, in their order."""
    if type(batch_size) is not int or batch_size < 1:
        raise InputError(f"batch_size: an integer of 1 or more is needed, not {batch_size!r}")
    if isinstance(texts, str):
        raise InputError("a list of texts is needed, not one text: [text]")
    every = [_fields(text, place) for place, text in enumerate(texts)]
    return [every[start : start + batch_size] for start in range(0, len(every), batch_size)]

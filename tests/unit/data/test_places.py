"""Where tokens stand in the characters of their texts."""

import random

import numpy as np
import pytest
from test_tokenisers import KINDS, PLAIN, SMALL, bert, byte_level, drawn, unigram

from lotbench.data.places import Places, places
from lotbench.data.tokens import tokenise


def mpnet():
    """A tokenizer like MPNet's: BERT's words between RoBERTa's special tokens."""
    from tokenizers import processors

    tokenizer = bert()
    tokenizer.backend_tokenizer.post_processor = processors.RobertaProcessing(
        ("[SEP]", 102), ("[CLS]", 101)
    )
    return tokenizer


def one(texts, tokenizer, max_length) -> Places:
    (found,) = places([texts], tokenizer, max_length)
    return found


def test_places_by_hand():
    found = one(("Who?", "A naïve café"), bert(), 32)
    # [CLS] who ? [SEP] a naive cafe [SEP]
    assert found.fields.tolist() == [-1, 0, 0, -1, 1, 1, 1, -1]
    none = [-1, -1]
    assert found.spans.tolist() == [none, [0, 3], [3, 4], none, [0, 1], [2, 7], [8, 12], none]
    assert (found.fields.dtype, found.spans.dtype) == (np.int8, np.int32)


def test_a_cut_pair_has_the_places_of_what_is_left(tokenizer):
    # Ten tokens are three special ones and seven letters, of which the longer field keeps four.
    found = one(("a b c", "a b c d e f"), tokenizer, 10)
    assert found.fields.tolist() == [-1, 0, 0, 0, -1, 1, 1, 1, 1, -1]
    assert found.spans[found.fields == 1].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_the_tokens_of_spans():
    tokenizer = bert()
    found = one(("see the fox", "the quick brown fox jumps"), tokenizer, 32)
    # [CLS] see the fox [SEP] the quick brown fox jumps [SEP]; places of the second: the quick 4 to
    # 9, brown 10 to 15, fox 16 to 19.
    tokens = lambda *spans, field=1: np.flatnonzero(found.covered(spans, field)).tolist()  # noqa: E731
    assert tokens((4, 9)) == [6]
    assert tokens((3, 10)) == [6]  # blanks have no token
    assert tokens((8, 11)) == [6, 7]  # a part of a word is enough
    assert tokens((9, 10)) == []
    assert tokens((0, 1), (16, 19), (17, 18)) == [5, 8]
    assert tokens((0, 3), field=0) == [1]
    assert tokens() == []


def test_a_token_without_characters_is_covered_within_a_span():
    found = Places(np.zeros(3, np.int8), np.array([[0, 2], [3, 3], [4, 6]], np.int32))
    assert found.covered([(0, 6)], 0).tolist() == [True] * 3
    assert found.covered([(0, 3)], 0).tolist() == [True, False, False]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, "mpnet", "unigram"])
@pytest.mark.parametrize("fields", [1, 2])
def test_every_token_has_a_place(kind, fields):
    tokenizer = (KINDS | {"mpnet": mpnet, "unigram": unigram})[kind]()
    rng = random.Random(2)
    for texts, lengths in ((drawn(60, 5), SMALL), (drawn(20, 150) + PLAIN, (64, 129, 512))):
        shapes = [tuple(rng.choice(texts) for _ in range(fields)) for _ in range(40)]
        for length in lengths:
            rows = tokenise(shapes, tokenizer, length)[0]
            found = [*places(shapes, tokenizer, length)]
            for text, ids, own in zip(shapes, rows, found, strict=True):
                assert own.fields.shape == (len(ids),) and own.spans.shape == (len(ids), 2)
                assert ((own.fields < 0) == (own.spans < 0).any(1)).all()
                for field, whole in enumerate(text):
                    spans = own.spans[own.fields == field]
                    assert (spans[:, 0] <= spans[:, 1]).all() and (spans <= len(whole)).all()
                    assert (np.diff(spans[:, 0]) >= 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("make", [bert, byte_level])
def test_the_characters_of_a_token_are_its_own(make):
    tokenizer, checked = make(), 0
    for text in drawn(40, 40, seed=3):
        own = one((text,), tokenizer, 256)
        (ids,), _ = tokenise([(text,)], tokenizer, 256)
        for number, (start, end) in zip(ids, own.spans.tolist(), strict=True):
            token, part = tokenizer.convert_ids_to_tokens(number), text[start:end]
            plain = token.removeprefix("##").removeprefix("\u0120")  # RoBERTa's blank
            if start >= 0 and plain.isascii() and part.isascii() and token != "[UNK]":
                assert part.strip().lower() == plain.strip().lower()
                checked += 1
    assert checked > 400

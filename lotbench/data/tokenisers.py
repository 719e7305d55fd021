"""Fast tokenisation with the same ids as the Hugging Face tokenizer.

A text is tokenised without special tokens, cut, and they are put around it as `tokenizers` does.
Tokenising is left to nanotoken or gigatoken if they are installed and give the same ids.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import import_module
from typing import Any
from weakref import WeakKeyDictionary

from lotbench.errors import NOTE

log = logging.getLogger(__name__)

Encode = Callable[[list[str]], list[list[int]]]
"""The ids of texts, whole and without special tokens around them."""
Rows = tuple[list[list[int]], list[list[int]]]
"""Token ids and token types of texts."""

PACKAGES = {"WordPiece": "nanotoken", "BPE": "gigatoken"}
CHARACTERS = 6
"""Characters per token behind which a long text is cut first; English has about 5."""
ODD = [
    *("", " \t\n", "x" * 101 + " 7" * 20, "中文字 かな 한국어 \U00020000 \u0939\u093f"),
    "Don't you think?  It's 3.14159 or $1,000-ish.\n\n~`^_@#*{}|\u2019\U0001f44d\U0001f3fd",
    "ÀÉîõü ﬁ ǅ İı ΣΑΣ ß Ω K a\u0301e\u0323\u0302 \u0301x",
    "\u200b\u200d\ufeff\xad\x00\x07\x0b\x0c\x1c\x85\xa0\u2028\u3000\ufffd\ue000",
]
"""What both must read alike, besides the added tokens."""

_known: WeakKeyDictionary[Any, dict[Any, Direct | None]] = WeakKeyDictionary()
"""By tokenizer, and by what of it may be changed."""


def call(texts: Sequence[tuple[str, ...]], tokenizer: Any, max_length: int, **more: bool) -> Any:
    """The answer of the tokenizer's own call, with more of what it may return."""
    fields = [list(column) for column in zip(*texts, strict=True)]
    # All set explicitly, because a tokenizer file may define padding and truncation.
    return tokenizer(
        *fields,
        truncation=True,
        max_length=max_length,
        padding=False,
        return_token_type_ids=True,
        return_attention_mask=False,
        **more,
    )


def plain(texts: Sequence[tuple[str, ...]], tokenizer: Any, max_length: int) -> Rows:
    """Token ids and types from the tokenizer's own call."""
    found = call(texts, tokenizer, max_length)
    return found["input_ids"], found["token_type_ids"]


def direct(tokenizer: Any) -> Direct | None:
    """The faster way to the same ids; None if there is none.  It is made and checked once."""
    known = _known.setdefault(tokenizer, {})
    now = tokenizer.truncation_side, tokenizer.split_special_tokens, len(tokenizer)
    if now not in known:
        known[now] = _direct(tokenizer)
    return known[now]


class Direct:
    """The rows of `plain`; if ``cuts``, a long text is cut at a blank first."""

    def __init__(self, core: Any, encode: Encode, cuts: bool) -> None:
        self._encode, self._cuts = encode, cuts
        self._frames = {fields: _frame(core, fields) for fields in (1, 2)}

    def __call__(self, texts: Sequence[tuple[str, ...]], max_length: int) -> Rows | None:
        """None if ``max_length`` is less than the number of special tokens."""
        columns = [*zip(*texts, strict=True)]
        frame = self._frames[len(columns)]
        room = max_length - sum(field is None for field, _, _ in frame)
        if room < 0:
            return None
        found = self._contents([text for column in columns for text in column], len(texts), room)
        rows = [], []
        for row in range(len(texts)):
            parts, ids, types = _cut(found[row :: len(texts)], room), [], []
            for field, token, kind in frame:
                part = [token] if field is None else parts[field]
                ids += part
                types += [kind] * len(part)
            rows[0].append(ids)
            rows[1].append(types)
        return rows

    def _contents(self, flat: list[str], count: int, room: int) -> list[list[int]]:
        """The ids of first fields and then of second ones, as far as the cut of a row needs them.

        Only the longer field of a pair is cut first.  If both have tokens for the whole room, the
        one with more tokens keeps an odd one, so all must be known.
        """
        rests = {}
        for row in range(count if self._cuts else 0):
            place = max(range(row, len(flat), count), key=lambda each: len(flat[each]))
            end = flat[place].find(" ", CHARACTERS * room)
            if end >= 0:
                flat[place], rests[place] = flat[place][:end], flat[place][end:]
        found = self._encode(flat)
        for place, rest in rests.items():
            other = found[(place + count) % len(flat)] if len(flat) > count else []
            if len(found[place]) < room or len(other) >= room:
                found[place] += self._encode([rest])[0]
        return found


def _cut(parts: list[list[int]], room: int) -> list[list[int]]:
    """The ids of one or two fields that ``longest_first`` keeps."""
    if len(parts) == 1:
        return [parts[0][:room]]
    first, second = parts
    less = min(len(first), len(second), room // 2)
    if len(first) > len(second):
        return [first[: room - less], second[:less]]
    return [first[:less], second[: room - less]]


def _frame(core: Any, fields: int) -> list[tuple[int | None, int, int]]:
    """Special tokens with their types, and the places of fields, found in a text of one letter."""
    probe = core.encode(*["a"] * fields)
    frame = []
    for field, token, kind in zip(probe.sequence_ids, probe.ids, probe.type_ids, strict=True):
        if field is None or field not in [place for place, _, _ in frame]:
            frame.append((field, token, kind))
    return frame


def _direct(tokenizer: Any) -> Direct | None:
    core = getattr(tokenizer, "backend_tokenizer", None)
    if core is None or tokenizer.truncation_side != "right" or tokenizer.split_special_tokens:
        return _say("it is written in Python, cuts at the left or splits special tokens")
    try:
        core = copy.deepcopy(core)
        file = json.loads(core.to_str())
    except Exception:  # such a part is in no file
        return _say("a part of the tokenizer is written in Python")
    core.no_truncation()
    core.no_padding()
    words = [token["content"] for token in file["added_tokens"]]
    # A token with blanks may span a cut, and gigatoken mixes it up with one that strips blanks.
    if not all(word.isascii() and word.isprintable() and " " not in word for word in words):
        return _say("an added token has blanks or letters beyond ASCII")
    # A text has the tokens of its two parts, wherever it is cut before a blank: BERT's normaliser
    # treats characters alone (accents are stripped behind a canonical decomposition, in which
    # nothing moves past a blank) and keeps a blank, at which its pre-tokenizer ends each word and
    # which it drops.  Added tokens have none, and strip only those which would be dropped.
    kinds = [(file[part] or {}).get("type") for part in ("normalizer", "pre_tokenizer")]
    cuts = kinds == ["BertNormalizer", "BertPreTokenizer"]
    encoders = _fast(core, file["model"]["type"]), partial(_slow, core) if cuts else None
    every = (Direct(core, encode, cuts) for encode in encoders if encode)
    return next((each for each in every if _agrees(each, tokenizer, words)), None)


def _slow(core: Any, texts: list[str]) -> list[list[int]]:
    return [each.ids for each in core.encode_batch_fast(texts, add_special_tokens=False)]


def _fast(core: Any, model: str) -> Encode | None:
    """What the package for this model gives, if there is one that is installed and reads it."""
    package = PACKAGES.get(model)
    if package is None:
        return _say(f"nothing faster is known for {model}")
    bare = {"add_special_tokens": False} if package == "nanotoken" else {}
    try:
        # One thread, however many the model has: it is safe in a process that was forked.
        backend = import_module(package).Tokenizer(core).backend
        encode = partial(backend.encode_batch_list, parallel=False, **bare)
        encode([""])
    except ImportError:
        return _say(f"{package} is not installed; faster: pip install 'lotbench[fast-tokenizers]'")
    except Exception as error:  # both packages have exceptions of their own
        return _say(f"{package} does not read this tokenizer: {str(error).partition(chr(10))[0]}")
    return encode


def _agrees(found: Direct, tokenizer: Any, words: list[str]) -> bool:
    """Whether odd texts, alone and in pairs, have the ids and types of the tokenizer's call."""
    odd = [*ODD, *(f"a{word}b {word} c  {word}" for word in words)]
    for texts in ([(text,) for text in odd], [*zip(odd, odd[::-1], strict=True)]):
        if any(found(texts, length) != plain(texts, tokenizer, length) for length in (16, 512)):
            _say("a faster tokenizer gives other ids")
            return False
    return True


@cache
def _say(why: str) -> None:
    log.log(NOTE, "texts are tokenised by tokenizers: %s", why)

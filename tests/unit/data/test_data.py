"""Tasks as token ids: splits without overlap, limits, batches, collation."""

import hashlib
from typing import Any

import numpy as np
import torch
from letter_data import folder_of, letters, load_task, plain

from lotbench.config.sections import TaskConfig
from lotbench.data.batches import batches, collate
from lotbench.data.tokens import Split


def test_tokens_by_hand_without_padding_or_the_files_own_truncation(tmp_path, tokenizer):
    rows = {"one": ["a b", "c", "d", "e"], "two": ["c d e f g h a", "h", "g", "f"]}
    data = folder_of(
        tmp_path, {**rows, "label": [0, 1, 0, 1]}, {"one": ["h"], "two": ["h g"], "label": [1]}
    ).model_copy(update={"text": ["one", "two"], "max_length": 9})
    task = load_task("mine", data, tokenizer, 0)
    ids = {text: ids for text, ids in zip(task.train.texts, task.train.input_ids, strict=True)}
    ids |= dict(zip(task.selection.texts, task.selection.input_ids, strict=True))
    # [CLS] a b [SEP] c d e f [SEP]: 12 tokens, of which the longer text gives up three.
    assert ids["a b", "c d e f g h a"] == [2, 4, 5, 3, 6, 7, 8, 9, 3]
    assert ids["c", "h"] == [2, 6, 3, 11, 3]
    assert task.validation.input_ids == [[2, 11, 3, 11, 10, 3]]
    assert task.validation.token_type_ids == [[0, 0, 0, 1, 1, 1]]
    assert task.validation.labels.tolist() == [1]
    digest = hashlib.blake2b(b"h\0h g", digest_size=8).digest()
    assert task.validation.text_seed.tolist() == [int.from_bytes(digest, "big") // 2]


def test_token_types_are_zero_where_the_model_has_none(tmp_path, tokenizer):
    data = folder_of(
        tmp_path,
        {"one": letters(4), "two": letters(4), "label": [0, 1, 0, 1]},
        {"one": ["h"], "two": ["h g"], "label": [1]},
    ).model_copy(update={"text": ["one", "two"]})
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    try:
        task = load_task("mine", data, tokenizer, 0)
    finally:
        tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    assert task.validation.token_type_ids == [[0] * 6]


def test_selection_is_a_tenth_of_train_drawn_by_the_seed(tmp_path, tokenizer):
    data = plain(tmp_path)
    first, again, other = (load_task("mine", data, tokenizer, seed) for seed in (0, 0, 1))
    assert (len(first.train), len(first.selection), len(first.validation)) == (36, 4, 10)
    assert {*first.train.texts, *first.selection.texts} == {(text,) for text in letters(40)}
    assert first.selection.texts == again.selection.texts != other.selection.texts
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.validation.texts == other.validation.texts


def test_selection_of_a_large_train_split_is_capped(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr("lotbench.data.task.SELECTION_MOST", 3)
    task = load_task("mine", plain(tmp_path), tokenizer, 0)
    assert (len(task.train), len(task.selection)) == (37, 3)


def test_a_task_says_how_many_rows_select(tmp_path, tokenizer):
    data = plain(tmp_path)
    chosen = {"limit": {"train": 20, "selection": 15}}
    task = load_task("mine", TaskConfig(**data.model_dump() | chosen), tokenizer, 0)
    assert (len(task.train), len(task.selection), len(task.validation)) == (5, 15, 10)
    assert not {*task.train.texts} & {*task.selection.texts}
    # The rows are those of a plain limit, divided in another way.
    limited = TaskConfig(**data.model_dump() | {"limit": {"train": 20}})
    other = load_task("mine", limited, tokenizer, 0)
    assert other.selection.texts == task.selection.texts[:2]
    assert other.train.texts == task.selection.texts[2:] + task.train.texts


def test_a_share_is_of_the_training_texts_alone(tmp_path, tokenizer):
    whole = load_task("mine", plain(tmp_path), tokenizer)
    third = load_task("mine", plain(tmp_path), tokenizer, share=1 / 3)
    assert third.train.texts == whole.train.texts[:12]
    assert third.selection.texts == whole.selection.texts
    assert third.validation.texts == whole.validation.texts


def test_limit_applies_before_tokenising_and_validation_is_the_same_for_all_seeds(
    tmp_path, tokenizer
):
    data = TaskConfig(**plain(tmp_path, 400).model_dump() | {"limit": {"train": 20}})
    limited = TaskConfig(**data.model_dump() | {"limit": {"train": 20, "validation": 4}})
    seen: list[int] = []

    class Counting:
        model_max_length = 512
        model_input_names = tokenizer.model_input_names
        truncation_side, split_special_tokens = "right", False

        def __len__(self) -> int:
            return len(tokenizer)

        def __call__(self, texts: list[str], **options: Any) -> Any:
            seen.append(len(texts))
            return tokenizer(texts, **options)

    tasks = [load_task("mine", limited, Counting(), seed) for seed in (0, 1)]
    assert seen == [18, 2, 4] * 2
    assert tasks[0].train.texts != tasks[1].train.texts
    assert tasks[0].validation.texts == tasks[1].validation.texts
    assert len(load_task("mine", data, tokenizer, 0).validation) == 10


def test_no_text_of_validation_and_no_repetition_stays_in_train(tmp_path, tokenizer):
    data = folder_of(
        tmp_path,
        {"text": ["a", "b", "a", "a", "c", "d", "e"], "label": [0, 1, 0, 1, 0, 1, 1]},
        {"text": ["c", "f", "f"], "label": [1, 0, 1]},
    )
    task = load_task("mine", data, tokenizer, 0)
    kept = {*task.train.texts, *task.selection.texts}
    assert kept == {("a",), ("b",), ("d",), ("e",)}
    assert len(task.train) + len(task.selection) == 4
    # The first "a" stays, with its label; the third contradicts it.
    labels = dict(zip(task.train.texts, task.train.labels.tolist(), strict=True))
    labels |= dict(zip(task.selection.texts, task.selection.labels.tolist(), strict=True))
    assert labels["a",] == 0
    assert task.notes == {
        "classes": [0, 1],
        "train_rows": 7,
        "validation_rows": 3,
        "removed_also_in_validation": 1,
        "removed_repeated": 2,
        "repeated_with_another_label": 1,
        "validation_repeated": 1,
    }


def split_of(lengths: list[int]) -> Split:
    n = len(lengths)
    return Split(
        [[10 * i + j for j in range(length)] for i, length in enumerate(lengths)],
        [[0] * length for length in lengths],
        np.arange(n) % 2,
        np.arange(n) + 100,
        [("",)] * n,
    )


def test_batches_without_a_seed_run_from_short_to_long():
    found = batches(split_of([5, 2, 9, 2, 7]), 2, None)
    assert [rows.tolist() for rows in found] == [[1, 3], [0, 4], [2]]


def test_batches_hold_every_row_once_in_an_order_of_the_seed():
    lengths = np.random.default_rng(0).integers(3, 200, 1003).tolist()
    split = split_of(lengths)
    first, again, other = (batches(split, 8, seed) for seed in (0, 0, 1))
    assert sorted(np.concatenate(first)) == list(range(1003))
    assert len(first) == 126 and sorted(map(len, first)) == [3, *[8] * 125]
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert np.concatenate(first).tolist() != np.concatenate(other).tolist()
    # Sorted inside megabatches of 400, so a batch spans few lengths, but batches are shuffled.
    spread = np.mean([np.ptp(np.array(lengths)[rows]) for rows in first])
    assert spread < 15
    means = [np.mean(np.array(lengths)[rows]) for rows in first]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3


def test_collate_by_hand():
    batch = collate(split_of([2, 1, 3]), np.array([2, 0]))
    assert batch.input_ids.tolist() == [20, 21, 22, 0, 1]
    assert batch.token_type_ids.tolist() == [0] * 5
    assert batch.layout.cu_seqlens.tolist() == [0, 3, 5]
    assert batch.labels.tolist() == [0, 0] and batch.labels.dtype == torch.int64
    assert batch.index.tolist() == [2, 0]
    assert batch.text_seed.tolist() == [102, 100]
    # Labels of a regression stay floats.
    split = split_of([2, 1])
    split.labels = np.array([0.5, 4.0], dtype=np.float32)
    assert collate(split, np.array([1])).labels.dtype == torch.float32

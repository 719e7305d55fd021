"""Embedding and ranking tasks: queries, scored pairs and groups."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from letter_data import folder_of, letters, load_task, refusal

from lotbench.config.sections import TaskConfig
from lotbench.data.batches import collate
from lotbench.errors import InputError


def given(data: TaskConfig, **values: Any) -> TaskConfig:
    return TaskConfig(**data.model_dump() | values)


def known_items(path: Path, n: int = 20) -> TaskConfig:
    train = {"text": letters(n), "ask": letters(n, 100)}
    held = {"text": ["h g", "g g g"], "ask": ["a", "b"]}
    return given(folder_of(path, train, held), kind="embedding", query="ask")


def pairs(path: Path, train: list[tuple], validation: list[tuple]) -> TaskConfig:
    """Pairs with a label and, in a fourth column, a group."""
    names = ["q", "d", "label", "of"][: len(train[0])]
    frames = (pd.DataFrame(rows, columns=names) for rows in (train, validation))
    return given(folder_of(path, *frames), text=["q", "d"])


# --- embedding ------------------------------------------------------------------------------


def test_texts_without_labels_are_an_embedding(tmp_path, tokenizer):
    data = folder_of(tmp_path, {"text": letters(20)}, {"text": ["h g"]})
    task = load_task("mine", given(data, kind="embedding"), tokenizer, 0)
    assert (task.kind.name, task.n_labels, task.metrics) == ("embedding", 0, ("overlap", "cosine"))
    assert task.train.labels is None and task.train.queries is None and task.train.gold is None
    assert "classes" not in task.notes and task.notes["train_rows"] == 20


def test_queries_stand_beside_their_texts_and_are_read_alone(tmp_path, tokenizer):
    task = load_task("mine", known_items(tmp_path), tokenizer, 0)
    assert task.metrics == ("mrr", "overlap", "cosine")
    assert task.validation.queries.input_ids == [[2, 4, 3], [2, 5, 3]]
    assert task.validation.input_ids == [[2, 11, 10, 3], [2, 10, 10, 10, 3]]
    found = {}
    for split in (task.train, task.selection):
        found |= dict(zip(split.texts, split.queries.texts, strict=True))
    assert found == {(a,): (b,) for a, b in zip(letters(20), letters(20, 100), strict=True)}


def test_queries_that_are_reduced_are_learned_from(tmp_path, tokenizer):
    data = known_items(tmp_path)
    apart, both = (
        load_task("mine", given(data, reduce=own), tokenizer, 0) for own in ("documents", "both")
    )
    assert (apart.reduces_queries, both.reduces_queries) == (False, True)
    assert both.train.texts == apart.train.texts + apart.train.queries.texts
    assert both.train.input_ids == apart.train.input_ids + apart.train.queries.input_ids
    # The texts that are scored have their queries beside them.
    assert both.selection.texts == apart.selection.texts and both.selection.queries is not None
    assert both.fingerprint != apart.fingerprint


def test_the_query_column_is_not_the_text(tmp_path, tokenizer):
    train = {"text": letters(9), "sentence": letters(9, 100)}
    data = folder_of(tmp_path, train, {"text": ["g"], "sentence": ["h h"]})
    task = load_task("mine", given(data, kind="embedding", query="text"), tokenizer, 0)
    assert task.validation.texts == [("h h",)]


def test_scored_pairs_are_single_texts_with_gold(tmp_path, tokenizer):
    train = list(zip(letters(20), letters(20, 99), range(20), strict=True))
    held = [("a b", "h h h", 0.5), ("c", "d", 4)]
    task = load_task("mine", given(pairs(tmp_path, train, held), kind="embedding"), tokenizer, 0)
    assert (task.kind.name, task.n_labels) == ("embedding", 0)
    assert task.metrics == ("spearman", "overlap", "cosine")
    split = task.validation
    assert split.texts == [("a b",), ("c",), ("h h h",), ("d",)]
    assert split.input_ids == [[2, 4, 5, 3], [2, 6, 3], [2, 11, 11, 11, 3], [2, 7, 3]]
    assert split.labels is None and split.gold is not None
    assert split.gold.tolist() == [0.5, 4.0] and split.gold.dtype == np.float32
    # "c" and "d" of the training pairs are in validation, so their pairs are left out.
    assert task.notes["removed_also_in_validation"] == 2
    assert (len(task.train), len(task.selection)) == (32, 4)
    assert not {*task.train.texts, *task.selection.texts} & {*split.texts}


def test_collate_gives_the_dense_vectors_where_there_are_no_labels(tmp_path, tokenizer):
    split = load_task("mine", known_items(tmp_path), tokenizer, 0).validation
    assert collate(split, [0]).labels.tolist() == [0]
    split.dense = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)
    assert collate(split, [1, 0]).labels.tolist() == [[4.0, 5.0, 6.0], [1.0, 2.0, 3.0]]


# --- ranking --------------------------------------------------------------------------------


def ranked(path: Path, groups: int = 20) -> TaskConfig:
    """Groups of three: the right document, a wrong one and a half right one."""
    rows = [
        (f"a {'b ' * i}", document, relevance)
        for i in range(groups)
        for document, relevance in (("c", 2), ("d", 0), ("e", 1))
    ]
    held = [("h", "g", 0), ("f", "d", 1), ("h", "e", 1), ("f", "c", 0)]
    held += [("g", "c", 0), ("g", "d", 0)]
    return given(pairs(path, rows, held), kind="ranking", group="q")


def test_a_ranking_has_relevance_and_groups(tmp_path, tokenizer):
    task = load_task("mine", ranked(tmp_path), tokenizer, 0)
    assert (task.kind.name, task.n_labels) == ("ranking", 1)
    assert task.metrics == ("ndcg", "mrr", "agreement")
    split = task.validation
    # No document of "g" is relevant, so it has no nDCG.
    assert split.texts == [("h", "g"), ("f", "d"), ("h", "e"), ("f", "c")]
    assert split.groups is not None and split.groups.tolist() == [0, 1, 0, 1]
    assert split.labels.tolist() == [0, 1, 1, 0] and split.labels.dtype == np.float32
    assert split.token_type_ids[0] == [0, 0, 0, 1, 1]
    assert task.notes["validation_groups_left_out"] == 1
    assert task.notes["train_groups_left_out"] == 0


def test_a_given_teacher_scores_what_a_ranking_learns_from(tmp_path, tokenizer):
    data = ranked(tmp_path)
    assert load_task("mine", data, tokenizer, 0).train.unlabelled is None
    task = load_task("mine", data, tokenizer, 0, classes=[])
    # Relevance has another scale than its scores, so it judges alone.
    assert task.train.unlabelled.all() and task.selection.labels is not None
    assert task.metrics[0] == "ndcg" and task.asks_dense
    for name in ("train", "validation"):
        path = tmp_path / f"{name}.parquet"
        pd.read_parquet(path).drop(columns="label").to_parquet(path)
    task = load_task("mine", data, tokenizer, 0, classes=[])
    split = task.validation
    assert task.metrics == ("mrr", "agreement") and len(split) == 6 and split.unlabelled.all()
    # By group: "h" has rows 0 and 2, "f" 1 and 3, "g" 4 and 5; dense puts the first of each first.
    split.dense = np.array([[2.0], [3.0], [-1.0], [-2.0], [5.0], [4.0]], np.float32)
    scores = task.kind.score(task.metrics, split, np.array([[0], [0], [1], [-1], [1], [0]]))
    assert scores.values["mrr"].tolist() == [2, 1, 1]
    assert scores.metrics["agreement"] == pytest.approx(1 / 3, abs=1e-4)


def test_groups_stay_whole_and_limits_count_them(tmp_path, tokenizer):
    data = ranked(tmp_path)
    limits = {"train": 10, "selection": 4, "validation": 1}
    for limit, sizes in (({}, (18, 2, 2)), (limits, (6, 4, 1))):
        task = load_task("mine", given(data, limit=limit), tokenizer, 0)
        queries = {}
        for name, size in zip(("train", "selection", "validation"), sizes, strict=True):
            split = getattr(task, name)
            assert np.bincount(split.groups).tolist() == [3 - (name == "validation")] * size
            of = [query for query, _ in split.texts]
            queries[name] = {*of}
            assert len({*zip(of, split.groups.tolist(), strict=True)}) == size
        assert not queries["train"] & queries["selection"]
    other = load_task("mine", given(data, limit={"validation": 1}), tokenizer, 7)
    assert other.validation.texts == task.validation.texts
    assert other.selection.texts != task.selection.texts


def test_a_group_that_leaks_leave_without_a_choice_is_left_out(tmp_path, tokenizer):
    train = [
        *[("a", "d", 0, 1), ("a", "e", 1, 1), ("a", "f", 2, 1)],  # one pair is left
        *[("b", "d", 0, 2), ("b", "e", 0, 2), ("b", "f", 1, 2)],  # no relevant one is left
        *[("c", "d", 0, 3), ("c", "e", 1, 3), ("g", "d", 0, 4), ("g", "e", 1, 4)],
    ]
    held = [("a", "d", 0, "x"), ("a", "e", 1, "x"), ("b", "f", 1, "x")]
    data = given(pairs(tmp_path, train, held), kind="ranking", group="of")
    task = load_task("mine", data, tokenizer, 0)
    assert {q for split in (task.train, task.selection) for q, _ in split.texts} == {"c", "g"}
    assert task.notes["train_groups_left_out"] == 2
    assert task.notes["removed_also_in_validation"] == 3
    message = refusal(given(data, limit={"selection": 2}), tokenizer)
    assert "2 usable training groups leave none to train on after 2 for selection" in message


# --- any kind -------------------------------------------------------------------------------


def test_scored_texts_may_be_longer_than_those_of_training(tmp_path, tokenizer):
    long = ["a " * 30 + text for text in letters(20)]
    frame = {"text": long, "ask": long}
    data = folder_of(tmp_path, frame, {"text": ["h " * 30], "ask": ["g " * 30]})
    data = given(data, max_length=8, kind="embedding", query="ask")
    task = load_task("mine", data, tokenizer, 0, None, 16)
    for split, length in ((task.train, 8), (task.selection, 16), (task.validation, 16)):
        assert {*split.lengths.tolist(), *split.queries.lengths.tolist()} == {length}
    with pytest.raises(InputError, match=r"^evaluate.max_length: 513 is more than the 512 tokens "):
        load_task("mine", data, tokenizer, 0, None, 513)


def test_the_fingerprint_covers_queries_gold_and_groups(tmp_path, tokenizer):
    def fingerprint(data: TaskConfig) -> str:
        return load_task("mine", data, tokenizer, 0).fingerprint

    items = known_items(tmp_path / "items")
    found = {fingerprint(items), fingerprint(given(items, query=None))}
    held = {"text": ["h g", "g g g"], "ask": ["b", "a"]}
    train = {"text": letters(20), "ask": letters(20, 100)}
    folder_of(tmp_path / "items", train, held)
    found.add(fingerprint(items))
    rows = [(text, f"h {text}", i % 3) for i, text in enumerate(letters(20))]
    for gold in (1, 2):
        held = [("g g", "f f", gold), ("h h h", "d", 0)]
        data = pairs(tmp_path / f"pairs{gold}", rows, held)
        found.add(fingerprint(given(data, kind="embedding")))
    groups = {"text": ["q", "d"], "kind": "ranking", "group": "of"}
    for of in ([0, 0, 1, 1], [0, 1, 0, 1]):
        frames = [
            {"q": letters(4, first), "d": letters(4), "label": [1] * 4, "of": of}
            for first in (0, 900)
        ]
        found.add(fingerprint(given(folder_of(tmp_path / str(of), *frames), **groups)))
    assert len(found) == 7


def test_a_source_may_be_a_built_in_task(tmp_path, tokenizer):
    rows = {"sentence1": letters(20), "sentence2": letters(20, 100), "label": [0, 1] * 10}
    folder_of(tmp_path / "mrpc", rows, {name: own[::-1] for name, own in rows.items()})
    rows["sentence1"] = letters(20, 500)
    folder_of(tmp_path / "mrpc", rows, {"sentence1": ["g"], "sentence2": ["h"], "label": [1]})
    task = load_task("short", TaskConfig(source="mrpc", max_length=8), tokenizer, 0, str(tmp_path))
    assert (task.name, task.metrics) == ("short", ("accuracy", "f1"))
    assert task.validation.texts == [("g", "h")] and task.train.lengths.max() == 8

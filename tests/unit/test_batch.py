"""Batches built from lists of token ids."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lotbench.batch import Batch


def test_only_the_ids_are_required() -> None:
    batch = Batch.from_ids([[2, 7, 9], [2]])
    assert batch.input_ids.tolist() == [2, 7, 9, 2] and batch.layout.sizes == (3, 1)
    assert batch.token_type_ids.tolist() == [0, 0, 0, 0]
    assert batch.labels.tolist() == batch.text_seed.tolist() == [0, 0]
    assert batch.index.tolist() == [0, 1]
    whole = (batch.input_ids, batch.token_type_ids, batch.labels, batch.index, batch.text_seed)
    assert {tensor.dtype for tensor in whole} == {torch.int64}


def test_regression_labels_stay_float_and_a_seed_keeps_its_63_bits() -> None:
    labels = np.array([0.5, 1.5], np.float32)
    batch = Batch.from_ids([[2], [3]], [[0], [1]], labels=labels, text_seed=[2**63 - 1, 0])
    assert batch.labels.dtype == torch.float32 and batch.labels.tolist() == [0.5, 1.5]
    assert batch.text_seed.tolist() == [2**63 - 1, 0] and batch.token_type_ids.tolist() == [0, 1]


def test_every_token_needs_its_own_type() -> None:
    with pytest.raises(ValueError, match="another number of token types"):
        Batch.from_ids([[2, 7], [2]], [[0], [0, 0]])


# [CLS] is 2 and [SEP] 3.
BERT, ROBERTA = [2, 7, 3, 8, 9, 3], [2, 7, 3, 3, 8, 9, 3]


@pytest.mark.parametrize(
    ("ids", "types", "wanted"),
    [
        (BERT, [0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]),
        (BERT, [0] * 6, [0, 0, 0, 1, 1, 1]),  # DistilBERT has no types
        (ROBERTA, [0] * 7, [0, 0, 0, 1, 1, 1, 1]),  # and so has RoBERTa, with two separators
        ([2, 7, 3, 9, 3, 8, 3], [0] * 5 + [1] * 2, [0] * 5 + [1] * 2),  # types are right
        ([2, 7, 8, 3], [0] * 4, [0] * 4),
        ([2], [0], [0]),
        ([2, 3, 3], [0] * 3, [0, 0, 1]),
    ],
)
def test_the_text_of_a_token(ids, types, wanted) -> None:
    # Between others, of which one has types and one ends with another separator.
    batch = Batch.from_ids([[2, 3, 5, 5], ids, [2, 3, 4]], [[0, 0, 1, 1], types, [0] * 3])
    assert batch.text_of_token.tolist() == [0, 0, 1, 1, *wanted, 0, 0, 0]

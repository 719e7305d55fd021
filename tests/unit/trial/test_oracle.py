"""The oracle of `sweeps/oracle.py`, and the saliency that it reads where it is scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from lotbench import registry
from lotbench.conformance.tiny import WIDTH, tiny_backbone
from lotbench.data.batches import collate
from lotbench.data.task import Task
from lotbench.data.tokens import Split
from lotbench.engine.encoder import ReducedEncoder
from lotbench.errors import InputError
from lotbench.kinds.classification import CLASSIFICATION
from lotbench.reducer import Params, TokenReducer
from lotbench.trial.saliency import integrated_saliency
from lotbench.trial.teacher import Artefacts

PLUGIN = Path(__file__).parents[3] / "sweeps" / "oracle.py"


def split(labels: list[int]) -> Split:
    rng = np.random.default_rng(0)
    ids = [rng.integers(4, 60, size).tolist() for size in (5, 8, 11)]
    return Split(ids, [[0] * len(row) for row in ids], np.array(labels), np.arange(3), [("x",)] * 3)


@pytest.fixture
def oracle() -> TokenReducer:
    registry.load_plugin(str(PLUGIN))
    cls = registry.get("oracle")
    return cls(cls.Params(), 2, WIDTH)


def artefacts(labels: list[int], monkeypatch: pytest.MonkeyPatch) -> Artefacts:
    """Those of a teacher that answers class 0, and computes arrays anew."""
    torch.manual_seed(0)
    teacher = ReducedEncoder(tiny_backbone(2), TokenReducer(Params(), 2, WIDTH)).eval()
    with torch.no_grad():
        cast(Any, teacher.backbone.model).classifier.bias[0] += 10
    monkeypatch.setattr(
        Artefacts, "_array", lambda self, name, data, own, shape: own(teacher, data)
    )
    own, config = split(labels), cast(Any, None)
    task = Task("t", 3, CLASSIFICATION, ("accuracy",), own, own, own, "f")
    return Artefacts(config, task, None)


def test_an_oracle_sees_the_saliency_of_the_teachers_class(oracle, monkeypatch) -> None:
    """Labels change the saliency that methods learn from, but not that of scored texts."""
    first, other = (artefacts(labels, monkeypatch) for labels in ([0, 0, 0], [1, 2, 1]))
    own, again = (each.scored(oracle).validation.saliency for each in (first, other))
    assert own is not None and again is not None
    assert [len(row) for row in own] == [5, 8, 11]
    assert all(np.array_equal(one, two) for one, two in zip(own, again, strict=True))
    learned, changed = (each.trained(oracle.needs).saliency for each in (first, other))
    assert learned is not None and changed is not None
    assert np.array_equal(learned[1], own[1]) and not np.array_equal(changed[1], own[1])


def test_other_methods_are_scored_without_saliency(monkeypatch) -> None:
    found = artefacts([0, 0, 0], monkeypatch)
    assert found.scored(TokenReducer(Params(), 2, WIDTH)) is found.task


def test_an_oracle_keeps_the_most_salient_tokens_and_cls(oracle) -> None:
    """Half of 5, 8 and 11 tokens is 3, 4 and 6; [CLS] is one of them."""
    data = split([0, 0, 0])
    data.saliency = [np.arange(size, dtype=np.float32) for size in (5, 8, 11)]
    oracle.budget = 0.5
    kept = ReducedEncoder(tiny_backbone(2), oracle).eval()(collate(data, range(3))).rows
    assert kept.tolist() == [0, 3, 4, 5, 10, 11, 12, 13, 19, 20, 21, 22, 23]


def test_without_saliency_an_oracle_says_what_it_is_for(oracle) -> None:
    with pytest.raises(InputError, match="cannot be loaded, exported or timed"):
        ReducedEncoder(tiny_backbone(2), oracle).eval()(collate(split([0, 0, 0]), range(3)))


def test_integrated_gradients_are_those_of_the_untouched_model() -> None:
    """Eight steps from zero to the states that enter the first layer, text by text."""
    torch.manual_seed(0)
    teacher = ReducedEncoder(tiny_backbone(2), TokenReducer(Params(), 2, WIDTH)).eval()
    model: Any = teacher.backbone.model
    data = split([0, 1, 2])
    expected = []
    for ids, label in zip(data.input_ids, data.labels.tolist(), strict=True):
        states = model.bert.embeddings(torch.tensor([ids])).detach()
        steps = (states * torch.arange(1, 9)[:, None, None] / 8).requires_grad_()
        answers = model.classifier(model.bert.pooler(model.bert.encoder(steps)[0]))[:, label]
        gradient = torch.autograd.grad(answers.sum(), steps)[0].mean(0)
        expected += (states[0] * gradient).norm(dim=1).tolist()
    assert np.allclose(integrated_saliency(teacher, data), expected, rtol=0.05)

"""The share of the evidence that a method processes."""

import numpy as np
import pytest
import torch
from scripted import MODES, Fixed, Scripted, at, keep_places
from splits import split_of

from lotbench.batch import Batch
from lotbench.conformance.tiny import tiny_backbone
from lotbench.data.task import Task
from lotbench.engine.encoder import ReducedEncoder
from lotbench.inspection import trace as inspected
from lotbench.inspection.route import Fate
from lotbench.kinds.classification import CLASSIFICATION
from lotbench.reducer import Drop, Leap, Merge
from lotbench.trial.evaluate import evaluate, evidence_kept

SIX = [2, 4, 5, 6, 7, 3]


def marks(*places: list[int], size: int = 6) -> list[np.ndarray]:
    """The evidence of texts of this size: these places of each."""
    return [np.isin(np.arange(size), own) for own in places]


def encoder(decide, layers: int) -> ReducedEncoder:
    return ReducedEncoder(tiny_backbone(layers), Fixed(layers, decide)).eval()


def leaps_then_drops(layer, point, tokens):
    """Layer 0 leaves out place 2, from layer 1 on place 3 is gone, layer 2 leaves out 1 and 2."""
    kept = {0: {0, 1, 3, 4, 5}, 1: {0, 1, 2, 4, 5}, 2: {0, 4, 5}}.get(layer)
    if point == "after_attention" or kept is None:
        return None
    return keep_places(kept, Drop if layer == 1 else Leap)(tokens)


def task(found: list[np.ndarray] | None, count: int = 2) -> Task:
    split = split_of([SIX] * count, np.arange(count) % 2, evidence=found)
    return Task("t", 2, CLASSIFICATION, ("accuracy",), split, split, split, "")


def test_the_share_by_hand():
    # Of four layers place 1 is in three, place 2 in two, place 3 in one, place 4 in all.  So the
    # first text keeps (3 + 2) / 8 of its evidence, the second (2 + 1 + 4) / 12.
    found = evaluate(encoder(leaps_then_drops, 4), task(marks([1, 2], [2, 3, 4])), "validation")
    assert found.evidence_kept == pytest.approx((5 / 8 + 7 / 12) / 2)
    # Places 0, 4 and 5 are in all.
    assert np.mean(found.keep_ratio) == pytest.approx((3 + 2 + 1 + 3 * 4) / 24)


def test_a_text_without_evidence_is_not_counted():
    model = encoder(leaps_then_drops, 4)
    found = evaluate(model, task(marks([3], []), 2), "validation")
    assert found.evidence_kept == 1 / 4
    for none in (None, marks([], [])):
        own = evaluate(model, task(none), "validation")
        assert own.evidence_kept is None and "evidence_kept" not in own.content()


def test_dense_keeps_all_and_no_layer_nothing():
    model = encoder(lambda *_: None, 3)
    own = task(marks([1], [2, 3]))
    assert evaluate(model, own, "validation").evidence_kept == 1
    model.reducer.active_layers = 2
    assert evaluate(model, own, "validation").evidence_kept == pytest.approx(2 / 3)
    model.reducer.active_layers = 0
    assert evaluate(model, own, "validation").evidence_kept == 0


def test_the_budget_moves_it_and_a_second_run_is_equal():
    places = {"kept": {0, 1}}
    model = encoder(at(None, lambda tokens: keep_places(places["kept"], Drop)(tokens)), 2)
    own, shares = task(marks([1, 2], [3])), []
    for kept in ({0, 1}, {0, 1, 2, 3}, {0, 1}):
        places["kept"] = kept
        shares.append(evaluate(model, own, "validation").evidence_kept)
    assert shares == [0.25, 1, 0.25]


def test_what_merges_into_another_is_left_out():
    def decide(layer, point, tokens):
        if (layer, point) == (1, "before_layer"):
            return Merge(torch.tensor([0, 1, 1, 3, 4, 5]))
        return None

    batch = Batch.from_ids([SIX])
    with torch.inference_mode():
        found = encoder(decide, 2)(batch).trace
    assert evidence_kept(found, marks([1]), 2) == [1]
    assert evidence_kept(found, marks([2]), 2) == [0.5]


SCRIPTS = [
    [("leap", ""), ("drop", ""), ("", "drop"), ("context", "")],
    [("restore", ""), ("keys", ""), ("merge", ""), ("leap", "merge")],
    [("both", "drop"), ("merge", "restore"), ("leap", ""), ("leap", "")],
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_both_modes_compute_the_same_tokens(script, make_backbone, make_batch):
    backbone = make_backbone(len(script))
    model = ReducedEncoder(backbone, Scripted(script, 7, backbone.width)).double().eval()
    batch = make_batch([9, 6, 12])
    rows = {}
    for mode in MODES:
        with torch.no_grad():
            own = model(batch, mode=mode).trace
        rows[mode] = [layer.tolist() for layer in own.computed]
        assert [len(layer) for layer in rows[mode]] == [int(count.sum()) for count in own.queries]
        fates = inspected.fates(own, batch.layout.total, len(script))
        for layer, found in zip(fates, rows[mode], strict=True):
            assert np.flatnonzero(layer >= Fate.ATTENTION).tolist() == sorted(found)
    assert rows["packed"] == rows["reference"]
    assert len({*map(len, rows["packed"])}) > 1

"""The ideas of `sweeps/lot_ideas.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lotbench import registry
from lotbench.batch import Batch
from lotbench.conformance.tiny import WIDTH
from lotbench.decision import Leap
from lotbench.ragged import Ragged

PLUGIN = Path(__file__).parents[3] / "sweeps" / "lot_ideas.py"
LENGTHS = [5, 2, 9]


@pytest.fixture
def ideas() -> Any:
    registry.load_plugin(str(PLUGIN))
    cls = registry.get("lot-ideas")
    torch.manual_seed(0)
    return lambda **params: cls(cls.Params(decision_every=2, **params), 2, WIDTH).double()


@pytest.mark.parametrize("reads", ["neighbours", "attention"])
def test_a_router_reads_its_own_text_alone(ideas, reads) -> None:
    (router,) = ideas(reads=reads).routers
    layout = Ragged.from_lengths(LENGTHS)
    hidden = torch.randn(sum(LENGTHS), WIDTH, dtype=torch.float64)
    found = router(hidden, layout).split(LENGTHS)
    for text, own in zip(hidden.split(LENGTHS), found, strict=True):
        assert torch.allclose(router(text, Ragged.from_lengths([len(text)])), own, atol=1e-6)


def test_a_head_that_sees_no_difference_adds_nothing(ideas) -> None:
    (router,) = ideas(reads="attention").routers
    torch.nn.init.zeros_(router.query.weight)
    torch.nn.init.zeros_(router.query.bias)
    layout = Ragged.from_lengths(LENGTHS)
    hidden = torch.randn(sum(LENGTHS), WIDTH, dtype=torch.float64)
    plain = super(type(router), router).forward(hidden, layout)
    assert torch.allclose(router(hidden, layout), plain, atol=1e-6)


def test_shares_are_learned_by_their_divergence(ideas) -> None:
    """Saliency 1 and 3 beside [CLS]; a router of equal scores is ln 2 - H(1/4, 3/4) away."""
    method = ideas(labels="shares")
    batch = Batch.from_ids([[1, 2, 3]], labels=[0], saliency=[[9.0, 1.0, 3.0]])
    for margins, expected in (([5.0, 2.0, 2.0], 0.130812), ([0.0, 0.0, 1.0986123], 0.0)):
        logits = torch.tensor([[0.0, own] for own in margins])
        decision = Leap(torch.ones(3, dtype=torch.bool), aux={"logits": logits})
        event = SimpleNamespace(layout=batch.layout, rows=torch.arange(3), decision=decision)
        loss = method._guidance(batch, SimpleNamespace(events=[event]))
        assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_saliency_is_smoothed_within_its_text(ideas) -> None:
    """Texts of four and of three tokens; [CLS], the first, gives nothing and has no label."""
    smoothed = sys.modules[type(ideas()).__module__].smoothed
    saliency = torch.tensor([9.0, 2.0, 0.0, 4.0, 7.0, 0.0, 6.0])
    found = smoothed(saliency, Ragged.from_lengths([4, 3])).tolist()
    assert found[1:4] == [2.0, 3.0, 4.0] and found[5:] == [3.0, 6.0]


def test_a_token_between_salient_ones_is_a_label_too(ideas) -> None:
    """Saliency 6, 0, 6 becomes 6, 6, 6, 3, of which three hold less than 0.9; 6 alone holds 0.5."""
    batch = Batch.from_ids([[1] * 7], labels=[0], saliency=[[9.0, 6.0, 0.0, 6.0, 0.0, 0.0, 0.0]])
    margins = torch.tensor([0.0, 20.0, 20.0, 20.0, -20.0, -20.0, -20.0])
    logits = torch.stack([torch.zeros(7), margins], dim=1)
    decision = Leap(torch.ones(7, dtype=torch.bool), aux={"logits": logits})
    event = SimpleNamespace(layout=batch.layout, rows=torch.arange(7), decision=decision)
    for labels, expected in (("smooth", 0.0), ("top", 2 * 20 / 6)):
        loss = ideas(labels=labels, top_p=0.9)._guidance(batch, SimpleNamespace(events=[event]))
        assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_the_share_shrinks_for_half_of_the_steps(ideas) -> None:
    """From all tokens by equal factors to a sixteenth: a quarter at half of the way."""
    for share, expected in (("shrinks", [1, 0.25, 0.0625, 0.0625]), ("fixed", [0.0625] * 4)):
        method = ideas(share=share, keep_ratio=0.0625)
        found = []
        for progress in (0, 0.25, 0.5, 1):
            method.training_step(None, None, SimpleNamespace(progress=progress))
            found.append(method.keep_ratio)
        assert found == pytest.approx(expected)

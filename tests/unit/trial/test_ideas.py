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


def test_the_occurrences_of_a_word_are_counted_in_its_own_text(ideas) -> None:
    """Texts 7 5 5 7 5 and 5 7; with no more than `TIMES` of one word told apart."""
    module = sys.modules[type(ideas()).__module__]
    layout = Ragged.from_lengths([5, 2])
    found = module.occurrence(torch.tensor([7, 5, 5, 7, 5, 5, 7]), layout)
    assert found.tolist() == [0, 0, 1, 1, 2, 0, 0]
    many = module.occurrence(torch.full((20,), 3), Ragged.from_lengths([20]))
    assert many.tolist() == [*range(module.TIMES), *[module.TIMES - 1] * (20 - module.TIMES)]


def test_a_router_of_occurrences_begins_as_the_plain_one(ideas) -> None:
    """What it learns for the second occurrence moves the second token of a word alone."""
    (router,) = ideas(reads="occurrence", router_context=False).routers
    layout = Ragged.from_lengths([3])
    hidden = torch.randn(3, WIDTH, dtype=torch.float64)
    router.ids = torch.tensor([4, 9, 4])
    plain = super(type(router), router).forward(hidden, layout)
    assert torch.equal(router(hidden, layout), plain)
    torch.nn.init.normal_(router.times.weight[1])
    moved = (router(hidden, layout) - plain).abs().sum(dim=1) > 0
    assert moved.tolist() == [False, False, True]


def test_a_router_of_words_adds_the_logarithm_of_their_importance(ideas) -> None:
    """Saliency 1 and 3 beside [CLS] is 0.5 and 1.5 of the mean; `static` adds five tokens of 1."""
    method = ideas(reads="word")
    (router,) = method.routers
    batch = Batch.from_ids([[1, 2, 3]], labels=[0], saliency=[[9.0, 1.0, 3.0]])
    method.before_training([batch], torch.zeros(5, WIDTH))
    router.ids = batch.input_ids
    hidden = torch.randn(3, WIDTH, dtype=torch.float64)
    plain = super(type(router), router).forward(hidden, batch.layout)
    added = router(hidden, batch.layout) - plain
    expected = torch.tensor([[0.0, 0.0], [0.0, -0.087011], [0.0, 0.080043]]).double()
    assert torch.allclose(added, expected, atol=1e-6)
    again = ideas(reads="word")
    again.load_state_dict(method.state_dict())
    assert torch.equal(again.routers[0].importance, router.importance)


def test_saliency_from_subsets_is_what_a_token_adds_to_the_answer(ideas) -> None:
    """A teacher that answers 1 with odds of 2 to the number of tokens 7 that it reads.

    Three of five tokens stay, so 7 is beside [CLS] in half of the subsets.  With it the logarithm
    of P(1) is ln 2/3, without it ln 1/2.  Of the subsets with one of the tokens 5 a third
    have 7, and of those without it two thirds, so 5 is worth (1/3 - 2/3) of what 7 is.
    """
    method, module = ideas(), sys.modules[type(ideas()).__module__]
    subset = module.Subset(0.6, torch.Generator().manual_seed(0), method)
    counts = []

    def teacher(batch: Batch, reducer: Any) -> Any:
        keep = reducer.before_embedding(batch, torch.zeros(1)).keep
        seen = torch.zeros(batch.layout.batch_size).index_add_(
            0, batch.layout.sequence, (keep & (batch.input_ids == 7)).float()
        )
        counts.append(torch.bincount(batch.layout.sequence[keep]))
        logits = torch.stack([torch.zeros_like(seen), seen * 0.6931472], dim=1)
        return SimpleNamespace(logits=logits)

    batch = Batch.from_ids([[1, 7, 5, 5, 5], [1, 5]], labels=torch.tensor([1, 1]))
    found = module.subset_saliency(teacher, batch, subset)
    assert torch.cat(counts).tolist() == [3, 2] * module.SUBSETS
    assert found[1] == pytest.approx(0.287682, abs=1e-6)
    assert (found[2:5] < 0).all() and found[2:5].sum() == pytest.approx(-0.2877, abs=0.12)
    assert found[[0, 5, 6]].tolist() == [0, 0, 0], "in all subsets"


def test_saliency_from_subsets_is_taken_once_and_of_the_teacher(ideas, monkeypatch) -> None:
    method, module = ideas(labels="subsets", top_p=0.9), sys.modules[type(ideas()).__module__]
    batch = Batch.from_ids([[1] * 3, [1] * 2], labels=[0, 0], index=[4, 2])
    taken = []

    def measured(teacher: Any, batch: Batch, subset: Any) -> torch.Tensor:
        taken.append(teacher.weight.item())
        return torch.tensor([0.0, -1.0, 2.0, 0.0, 3.0])

    monkeypatch.setattr(module, "subset_saliency", measured)
    encoder = torch.nn.Linear(1, 1)
    torch.nn.init.ones_(encoder.weight)
    step = SimpleNamespace(progress=0, generator=torch.Generator())
    method.training_step(encoder, batch, step)
    torch.nn.init.zeros_(encoder.weight)
    method.training_step(encoder, batch, step)
    others = Batch.from_ids([[1] * 3, [1] * 2], labels=[0, 0], index=[5, 7])
    method.training_step(encoder, others, step)
    assert taken == [1.0, 1.0], "of the encoder as it was before the first step"
    swapped = Batch.from_ids(
        [[1] * 2, [1] * 3], labels=[0, 0], index=[2, 4], saliency=[[0.0] * 2, [0.0] * 3]
    )
    assert loss_of(method, swapped, [0.0, 20.0, 0.0, -20.0, 20.0]) == pytest.approx(0.0, abs=1e-6)


def loss_of(method: Any, batch: Batch, margins: list[float]) -> float:
    """The loss of a router with these margins, which decides over all tokens of the batch."""
    logits = torch.tensor([[0.0, own] for own in margins])
    decision = Leap(torch.ones(len(margins), dtype=torch.bool), aux={"logits": logits})
    rows = torch.arange(len(margins))
    event = SimpleNamespace(layout=batch.layout, rows=rows, decision=decision)
    return float(method._guidance(batch, SimpleNamespace(events=[event])))


def test_shares_are_learned_by_their_divergence(ideas) -> None:
    """Saliency 1 and 3 beside [CLS]; a router of equal scores is ln 2 - H(1/4, 3/4) away."""
    batch = Batch.from_ids([[1, 2, 3]], labels=[0], saliency=[[9.0, 1.0, 3.0]])
    for margins, expected in (([5.0, 2.0, 2.0], 0.130812), ([0.0, 0.0, 1.0986123], 0.0)):
        loss = loss_of(ideas(labels="shares"), batch, margins)
        assert loss == pytest.approx(expected, abs=1e-6)


def test_the_order_is_learned_from_pairs_of_unequal_saliency(ideas) -> None:
    """Beside [CLS], saliency 1, 3, 3 has two pairs: with margins 0, ln 3, 0 the second token is
    ln(1 + 1/3) away and the third ln 2.  The other text has one pair, and no pair leads to it.
    """
    saliency = [[9.0, 1.0, 3.0, 3.0], [9.0, 2.0, 1.0]]
    batch = Batch.from_ids([[1] * 4, [1] * 3], labels=[0, 0], saliency=saliency)
    for second, expected in (([40.0, 0.0], 0.0), ([0.0, 0.0], 0.693147), ([0.0, 1.0], 1.313262)):
        loss = loss_of(ideas(labels="order"), batch, [7.0, 0.0, 1.0986123, 0.0, -7.0, *second])
        assert loss == pytest.approx(((0.287682 + 0.693147) / 2 + expected) / 2, abs=1e-6)
    alone = Batch.from_ids([[1]], labels=[0], saliency=[[9.0]])
    assert loss_of(ideas(labels="order"), alone, [1.0]) == 0.0


def test_saliency_is_smoothed_within_its_text(ideas) -> None:
    """Texts of four and of three tokens; [CLS], the first, gives nothing and has no label."""
    smoothed = sys.modules[type(ideas()).__module__].smoothed
    saliency = torch.tensor([9.0, 2.0, 0.0, 4.0, 7.0, 0.0, 6.0])
    found = smoothed(saliency, Ragged.from_lengths([4, 3])).tolist()
    assert found[1:4] == [2.0, 3.0, 4.0] and found[5:] == [3.0, 6.0]


def test_a_token_between_salient_ones_is_a_label_too(ideas) -> None:
    """Saliency 6, 0, 6 becomes 6, 6, 6, 3, of which three hold less than 0.9; 6 alone holds 0.5."""
    batch = Batch.from_ids([[1] * 7], labels=[0], saliency=[[9.0, 6.0, 0.0, 6.0, 0.0, 0.0, 0.0]])
    margins = [0.0, 20.0, 20.0, 20.0, -20.0, -20.0, -20.0]
    for labels, expected in (("smooth", 0.0), ("top", 2 * 20 / 6)):
        loss = loss_of(ideas(labels=labels, top_p=0.9), batch, margins)
        assert loss == pytest.approx(expected, abs=1e-6)


def test_the_share_shrinks_for_half_of_the_steps(ideas) -> None:
    """From all tokens by equal factors to a sixteenth: a quarter at half of the way."""
    for share, expected in (("shrinks", [1, 0.25, 0.0625, 0.0625]), ("fixed", [0.0625] * 4)):
        method = ideas(share=share, keep_ratio=0.0625)
        found = []
        for progress in (0, 0.25, 0.5, 1):
            method.training_step(None, None, SimpleNamespace(progress=progress))
            found.append(method.keep_ratio)
        assert found == pytest.approx(expected)

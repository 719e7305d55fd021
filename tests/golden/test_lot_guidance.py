"""The guidance of Leap-of-Thought and its loss, against hand-computed numbers."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parts import lot, tokens_of, trace_of
from torch import Tensor

from lotbench.batch import Batch
from lotbench.ragged import Ragged
from lotbench.reducer import Drop, Event, Leap, Trace
from lotbench.routers import guidance_labels


def labels_of(
    saliency: list[float], top_p: float, normalisation: str = "sum", length: int | None = None
) -> list[int]:
    """Labels of one text; its [CLS] comes first and has a large saliency."""
    values = torch.tensor([1000.0, *saliency])
    layout = Ragged.from_lengths([len(values)])
    labels = guidance_labels(values, layout, top_p, normalisation, length).long().tolist()
    assert labels[0] == 0
    return labels[1:]


LOGS = [math.log(2), math.log(3), math.log(5)]


@pytest.mark.parametrize(
    ("saliency", "top_p", "more", "expected"),
    [
        # Shares 0.4, 0.1, 0.3, 0.2; in falling order the cumulative share is 0.4, 0.7, 0.9, 1.0,
        # and a token counts while it stays below top_p.
        ([4, 1, 3, 2], 0.01, (), [1, 0, 0, 0]),  # at least one
        ([4, 1, 3, 2], 0.41, (), [1, 0, 0, 0]),
        ([4, 1, 3, 2], 0.69, (), [1, 0, 0, 0]),
        ([4, 1, 3, 2], 0.71, (), [1, 0, 1, 0]),
        ([4, 1, 3, 2], 0.91, (), [1, 0, 1, 1]),
        ([4, 1, 3, 2], 1.0, (), [1, 0, 1, 1]),  # all of it is not below 1
        # e^log 2 : e^log 3 : e^log 5 = 0.2, 0.3, 0.5; cumulative 0.5, 0.8, 1.0.
        (LOGS, 0.45, ("softmax",), [0, 0, 1]),
        (LOGS, 0.55, ("softmax",), [0, 0, 1]),
        (LOGS, 0.85, ("softmax",), [0, 1, 1]),
        # Padded to 14: 5, 3 and 2 of 10 + (14 - 4) * e^0 = 20: cumulative 0.25, 0.4, 0.5.
        (LOGS, 0.24, ("softmax", 14), [0, 0, 1]),
        (LOGS, 0.26, ("softmax", 14), [0, 0, 1]),
        (LOGS, 0.45, ("softmax", 14), [0, 1, 1]),
        (LOGS, 0.55, ("softmax", 14), [1, 1, 1]),  # without padding 0.55 takes one, see above
        # A text as long as that or longer has no padding.
        (LOGS, 0.55, ("softmax", 4), [0, 0, 1]),
        (LOGS, 0.55, ("softmax", 2), [0, 0, 1]),
        # Cumulative shares from the top by sum 1/2, 5/6, 1 at every scale.
        ([1, 2, 3], 0.7, (), [0, 0, 1]),
        ([100, 200, 300], 0.7, (), [0, 0, 1]),
        ([0.01, 0.02, 0.03], 0.7, (), [0, 0, 1]),
        # Softmax: at 1, 2, 3 the largest has e / (1 + e^-1 + e^-2) / e = 0.665, so one; at a
        # hundredth all have about a third, so two.
        ([1, 2, 3], 0.7, ("softmax",), [0, 0, 1]),
        ([0.01, 0.02, 0.03], 0.7, ("softmax",), [0, 1, 1]),
        # Without any saliency, shares are equal, a quarter each, so top_p 0.6 takes two in order.
        ([0, 0, 0, 0], 0.6, (), [1, 1, 0, 0]),
        ([0, 0, 0, 0], 0.6, ("softmax",), [1, 1, 0, 0]),
        # If another has some, one without has no label: cumulative 1 from the first on.
        ([0, 7, 0], 1.0, (), [0, 1, 0]),
        ([1, 2, 2, 1], 0.5, (), [0, 1, 0, 0]),  # of equal ones the earlier
    ],
)
def test_labels_by_hand(saliency, top_p, more, expected):
    assert labels_of(saliency, top_p, *more) == expected


def test_padding_is_that_of_each_text():
    """Padded to 6: [CLS] 0 0 with 3 pads, shares 1/5; [CLS] 0 with 4, 1/5; [CLS] alone, none."""
    layout = Ragged.from_lengths([3, 2, 1])
    labels = [
        guidance_labels(torch.zeros(6), layout, top_p, "softmax", 6).long().tolist()
        for top_p in (0.39, 0.41)
    ]
    assert labels == [[0, 1, 0, 0, 1, 0], [0, 1, 1, 0, 1, 0]]


def test_the_paper_preset_labels_as_over_128_places():
    """Two equal tokens have half each without padding, so 0.3 takes one; with it a 127th each."""
    batch = with_saliency([9.0, 0.0, 0.0], [3])
    certain = torch.tensor([[0.0, 0.0], [-50.0, 50.0], [-50.0, 50.0]])
    trace = guided([certain], batch)
    assert lot(preset="paper").loss(None, batch, trace)["guidance"].item() == 0
    alone = lot(preset="paper", saliency_length=None).loss(None, batch, trace)["guidance"].item()
    assert alone == pytest.approx(0.05 * 100 / 2)


@pytest.mark.parametrize("normalisation", ["sum", "softmax"])
def test_labels_of_short_texts(normalisation):
    """A text of [CLS] alone has none, one of two tokens has the second, beside another text."""
    saliency = torch.tensor([5.0, 5.0, 1.0, 5.0, 1.0, 1.0])
    labels = guidance_labels(saliency, Ragged.from_lengths([1, 2, 3]), 0.6, normalisation)
    assert labels.long().tolist() == [0, 0, 1, 0, 1, 0]


@given(
    st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=12), min_size=1, max_size=4),
    st.sampled_from([0.1, 0.3, 0.5, 0.6, 0.7, 0.9, 1.0]),
    st.sampled_from(["sum", "softmax"]),
)
@pytest.mark.slow
def test_labels_do_not_depend_on_neighbours(texts, top_p, normalisation):
    """Small whole saliencies, so that cumulative shares meet top_p exactly, to the rounding."""
    values = [torch.tensor(text).float() for text in texts]
    layout = Ragged.from_lengths([len(text) for text in texts])
    together = guidance_labels(torch.cat(values), layout, top_p, normalisation)
    for text, labels in zip(values, together.split(layout.sizes), strict=True):
        alone = guidance_labels(text, Ragged.from_lengths([len(text)]), top_p, normalisation)
        assert labels.equal(alone)
        assert labels.sum() >= min(1, len(text) - 1)


# The loss


def guided(logits: list[Tensor], batch: Batch) -> Trace:
    """A trace of leaps that keep all, with these logits."""
    keep = torch.ones(batch.layout.total, dtype=torch.bool)
    return trace_of(tokens_of(batch), [Leap(keep, aux={"logits": z}) for z in logits])


def with_saliency(saliency: list[float], lengths: list[int]) -> Batch:
    batch = Batch.from_ids([[0] * length for length in lengths])
    return replace(batch, saliency=torch.tensor(saliency))


def test_guidance_loss_by_hand():
    """[CLS] and two tokens; saliency 3 : 1, top_p 0.8: label 1 for the first (0.75), else 0.

    Layer 0, logits (0, log 3) for both: P(process) = 3/4: losses -log 3/4 and -log 1/4.
    Layer 1, logits (0, 0): log 2 each.  Means: (log 4/3 + log 4) / 2 = 0.8369882, 0.6931472.
    Mean over layers 0.7650677; times loss_weight 0.05: 0.03825339.  What [CLS] says is ignored.
    """
    batch = with_saliency([9.0, 3.0, 1.0], [3])
    third = math.log(3)
    layers = [
        torch.tensor([[50.0, -50.0], [0.0, third], [0.0, third]]),
        torch.tensor([[-50.0, 50.0], [0.0, 0.0], [0.0, 0.0]]),
    ]
    trace = guided(layers, batch)
    terms = lot(loss_weight=0.05, top_p=0.8).loss(None, batch, trace)
    assert set(terms) == {"guidance"}
    assert terms["guidance"].item() == pytest.approx(0.03825339, abs=1e-7)


def test_guidance_loss_after_drops_by_hand():
    """Saliency 4 : 3 : 1, top_p 0.9: labels 1 (0.5), 1 (0.875), 0.  The first token is dropped.

    Layer 0, logits (0, log 3) for all three: -log 3/4 twice, -log 1/4: 1.9616585 / 3 = 0.6538862.
    Layer 1 sees the other two: a label of 1 at (0, log 3), 0 at (0, log 3): 0.2876821 + 1.3862944,
    half of it 0.8369882.  Mean over layers 0.7454372.
    """
    batch = with_saliency([9.0, 4.0, 3.0, 1.0], [4])
    rest = torch.tensor([0, 2, 3])
    events = []
    for layer, rows in enumerate((torch.arange(4), rest)):
        logits = torch.tensor([0.0, math.log(3)]).expand(len(rows), 2)
        decision = Drop(torch.ones(len(rows)) > 0, aux={"logits": logits})
        layout = Ragged.from_lengths([len(rows)])
        events.append(Event(layer, "before_layer", decision, layout, rows))
    method = lot(loss_weight=1.0, top_p=0.9, routing="drop")
    loss = method.loss(None, batch, Trace(events=events))["guidance"]
    assert loss.item() == pytest.approx(0.7454372, abs=1e-6)


def test_guidance_loss_of_texts_without_a_token_to_route_is_zero():
    batch = with_saliency([1.0, 1.0], [1, 1])
    logits = torch.zeros(2, 2, requires_grad=True)
    loss = lot().loss(None, batch, guided([logits], batch))["guidance"]
    assert loss.item() == 0
    loss.backward()
    assert logits.grad.tolist() == [[0, 0], [0, 0]]


def test_without_guidance_there_is_no_loss():
    assert lot(guidance="none").loss(None, None, Trace()) == {}
    assert lot(loss_weight=0.0).loss(None, None, Trace()) == {}


def test_needs_follow_the_parameters():
    assert lot().needs == {"saliency"}
    assert lot(guidance="none").needs == frozenset()
    assert lot(guidance="random").needs == frozenset()
    assert lot(guidance="attention").needs == {"attention_saliency"}


def test_random_guidance_depends_on_the_text_alone():
    """The loss does not depend on the saliency, but on the text."""
    method = lot(guidance="random")
    batch = with_saliency([1.0] * 12, [12])
    logits = torch.linspace(-2, 2, 24).view(12, 2).flip(0)
    logits = torch.cat([logits[::2], logits[1::2]])
    first, again = (method.loss(None, batch, guided([logits], batch))["guidance"] for _ in range(2))
    assert first.equal(again)
    batch.text_seed = batch.text_seed + 1
    assert not method.loss(None, batch, guided([logits], batch))["guidance"].equal(first)

"""Layouts for exported graphs: same numbers as plain layouts, and the packed path on top of them.

A traced layout also works in eager mode, so all of this is checked without an export.
"""

from itertools import product

import pytest
import torch
from scripted import Fixed, Scripted, at
from torch import Tensor, nn

from baselines.ltp import LearnedTokenPruning
from baselines.tome import TokenMerging
from lotbench.batch import Batch
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.traced import Traced
from lotbench.lot import FixedBudget, LeapOfThought, Params
from lotbench.ragged import (
    Ragged,
    pad,
    seeded_uniform,
    segment_count,
    segment_mean,
    segment_rank,
    segment_softmax,
    segment_sum,
    segment_topk,
    segment_weighted_sum,
    select,
    unpad,
)
from lotbench.reducer import Leap
from lotbench.routers import Router

LENGTHS = [3, 1, 5, 2]
READS_ONCE = {"router_context": False, "router_width": 16}
"""Routers that read each state once in a graph."""


class PlaceRouter(Router):
    """A router that reads more than a state."""

    def forward(self, hidden: Tensor, layout: Ragged) -> Tensor:
        return super().forward(hidden, layout) * (layout.position % 3 - 1)[:, None]


class ReadsPlaces(FixedBudget):
    """Leap-of-Thought with routers of its own."""

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.routers = nn.ModuleList(
            PlaceRouter(width, params.router_width, 2.0, False) for _ in self.routers
        )


def traced(lengths: list[int], width: int | None = None) -> Traced:
    """The layout of a padded batch."""
    places = torch.arange(max(lengths) if width is None else width)
    return Traced.of_mask(places < torch.tensor(lengths)[:, None])[1]


def test_the_layout_of_a_padded_mask():
    rows, layout = Traced.of_mask(torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]]).bool())
    assert rows.tolist() == [0, 1, 4, 5, 6]
    assert layout.cu_seqlens.tolist() == [0, 2, 5]
    assert layout.sequence.tolist() == [0, 0, 1, 1, 1]
    assert layout.position.tolist() == [0, 1, 0, 1, 2]
    assert layout.is_first.tolist() == [True, False, True, False, False]
    assert (layout.total, layout.batch_size, layout.max_length) == (5, 2, 4)
    with pytest.raises(NotImplementedError, match=r"use layout\.lengths"):
        _ = layout.sizes


def test_every_function_gives_the_numbers_of_a_plain_layout():
    plain, layout = Ragged.from_lengths(LENGTHS), traced(LENGTHS)
    torch.manual_seed(3)
    hidden, scores = torch.randn(11, 4), torch.randn(11)
    scores[[1, 4, 6, 8]] = scores[2].item()  # ties: the earlier token ranks first
    keep, count = scores > -0.3, torch.tensor([2, 1, 3, 0])
    for one, other in (
        (segment_sum(hidden, plain), segment_sum(hidden, layout)),
        (segment_sum(scores, plain), segment_sum(scores, layout)),
        (segment_sum(keep, plain), segment_sum(keep, layout)),
        (segment_count(keep, plain), segment_count(keep, layout)),
        (segment_mean(hidden, plain), segment_mean(hidden, layout)),
        (segment_softmax(scores, plain), segment_softmax(scores, layout)),
        *(
            (segment_weighted_sum(w, hidden, plain), segment_weighted_sum(w, hidden, layout))
            for w in (None, scores)
        ),
        (segment_rank(scores, plain), segment_rank(scores, layout)),
        (segment_rank((10 * scores).long(), plain), segment_rank((10 * scores).long(), layout)),
        (segment_topk(hidden[:, 0], count, plain), segment_topk(hidden[:, 0], count, layout)),
        (seeded_uniform(count, plain), seeded_uniform(count, layout)),
        (pad(hidden, plain, -1.0), pad(hidden, layout, -1.0)),
        (pad(scores, plain), pad(scores, layout)),
        (unpad(pad(hidden, layout), layout), hidden),
    ):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-6)


def test_a_selection_is_padded_to_its_own_longest_text():
    keep = torch.tensor([1, 0, 1, 1, 1, 0, 0, 1, 0, 0, 1]).bool()
    rows, layout = select(keep, traced(LENGTHS, width=9))
    wanted_rows, wanted = select(keep, Ragged.from_lengths(LENGTHS))
    assert rows.tolist() == wanted_rows.tolist()
    assert layout.lengths.tolist() == list(wanted.sizes) == [2, 1, 2, 1]
    assert layout.cu_seqlens.tolist() == wanted.cu_seqlens.tolist()
    assert layout.sequence.tolist() == wanted.sequence.tolist()
    assert layout.max_length == 2


def test_selections_of_the_same_sizes_share_their_layout():
    whole = traced([3, 0, 5], width=6)
    sizes = whole.share(0.5)
    assert whole.share(0.5) is sizes
    assert sizes.tolist() == [2, 1, 3]
    first, other = torch.tensor([[1, 1, 0, 1, 1, 1, 0, 0], [0, 1, 1, 0, 1, 0, 1, 1]]).bool()
    rows, layout = select(first, whole, sizes)
    assert rows.tolist() == [0, 1, 3, 4, 5]
    assert layout.lengths.tolist() == [2, 0, 3]  # an empty text has none to keep
    assert layout.sequence.tolist() == [0, 0, 2, 2, 2]
    other_rows, other_layout = select(other, whole, sizes)
    assert other_rows.tolist() == [1, 2, 4, 6, 7]
    assert other_layout is layout


def test_an_appended_row_is_the_last_column_where_it_is_present():
    tokens, extra = torch.tensor([10.0, 11.0, 20.0]), torch.tensor([98.0, 99.0])
    values, layout = traced([2, 1]).append(tokens, extra, torch.tensor([False, True]))
    padded = pad(values, layout, fill=-1.0)
    assert padded.tolist() == [[10, 11, -1], [20, -1, 99]]
    assert layout.lengths.tolist() == [2, 2]


def as_traced(batch: Batch, width: int) -> Batch:
    layout = traced(list(batch.layout.sizes), width)
    return Batch(**(vars(batch) | {"layout": layout}))


KINDS = ("", "leap", "context", "keys", "both", "drop", "merge")


@pytest.mark.parametrize(("outer", "inner"), [*product(KINDS, ("", "drop", "restore", "merge"))])
def test_the_packed_path_is_the_same_on_a_traced_layout(outer, inner, tiny, make_batch):
    batch = make_batch([9, 1, 14, 2, 6])
    encoder = ReducedEncoder(tiny, Scripted([(outer, inner)] * 3, 1, 32))
    with torch.no_grad():
        wanted, found = encoder(batch), encoder(as_traced(batch, 16))
    torch.testing.assert_close(found.logits, wanted.logits, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.hidden, wanted.hidden, rtol=0, atol=1e-10)
    assert found.rows.tolist() == wanted.rows.tolist()
    for name in ("shown", "queries", "keys", "feed_forward"):
        ours, theirs = getattr(found.trace, name), getattr(wanted.trace, name)
        assert torch.stack(ours).tolist() == torch.stack(theirs).tolist()


def test_first_tokens_may_leap_over_the_last_layer_of_a_graph(tiny, make_batch):
    batch = make_batch([9, 1, 14, 2])
    # Among those that leap is the first token of the third text.
    decide = at(2, lambda tokens: Leap(tokens.layout.sequence + tokens.position != 2))
    encoder = ReducedEncoder(tiny, Fixed(3, decide))
    with torch.no_grad():
        wanted, found = encoder(batch), encoder(as_traced(batch, 14))
    torch.testing.assert_close(found.logits, wanted.logits, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (LeapOfThought, {"threshold": 0.0}),  # nothing leaps
        (LeapOfThought, {"threshold": 1.0}),  # all but [CLS] leap
        # The margins of new routers are near 4, and the sigmoid of 4 is 0.982.
        (LeapOfThought, {"leaping_keys": "all", "threshold": 0.982}),
        (LeapOfThought, {**READS_ONCE, "threshold": 0.982}),
        (LeapOfThought, {**READS_ONCE, "leaping_keys": "none", "threshold": 0.982}),
        (FixedBudget, {"keep_ratio": 0.3}),
        (FixedBudget, {**READS_ONCE, "keep_ratio": 0.3}),
        (ReadsPlaces, {**READS_ONCE, "keep_ratio": 0.3}),
        (LearnedTokenPruning, {"final_threshold": 0.1}),
        (TokenMerging, {"merge_ratio": 0.3}),
        (TokenMerging, {"merge_ratio": 0.1, "score": "energy"}),
    ],
)
def test_methods_decide_the_same_on_a_traced_layout(cls, values, tiny, make_batch):
    batch = make_batch([9, 1, 14, 2, 6])
    method = cls(cls.Params(**values), 3, 32).double()
    with torch.no_grad():
        for router in getattr(method, "routers", ()):
            router.norm.weight.normal_()
            router.norm.bias.normal_()
    encoder = ReducedEncoder(tiny, method)
    with torch.no_grad():
        wanted, found = encoder(batch), encoder(as_traced(batch, 14))
    torch.testing.assert_close(found.logits, wanted.logits, rtol=0, atol=1e-10)
    assert found.rows.tolist() == wanted.rows.tolist()

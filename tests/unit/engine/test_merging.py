"""Merges: against a plain model by hand, sizes, pooling, protected tokens, and what is refused."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scripted import Fixed, Plain, Scripted, Soft
from tiny_models import padded
from torch import Tensor

from lotbench.conformance.tiny import pooled_backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.packed import PackedRun
from lotbench.engine.reference import ReferenceRun
from lotbench.ragged import segment_sum
from lotbench.reducer import Decision, Drop, Leap, Merge, Tokens


def merging(
    groups: dict[int, list[int]], point: str = "before_layer", **more: bool
) -> Callable[[int, str, Tokens], Decision | None]:
    """Merges these groups, by layer, at one point."""

    def decide(layer: int, at: str, tokens: Tokens) -> Decision | None:
        chosen = at == point and layer in groups
        return Merge(torch.tensor(groups[layer]), **more) if chosen else None

    return decide


@pytest.mark.parametrize("proportional", [True, False])
def test_merged_tokens_are_weighted_means_whose_keys_weigh_by_size(
    tiny, make_batch, mode, proportional
):
    """A text of 5: token 3 merges into 1 at once, and what is left of it into 2 before layer 1.

    Sizes: 1 1 1 1 1, then 1 2 1 1, then 1 3 1.  The state of three is (2 a + b) / 3.
    """
    batch = make_batch([5])
    plan = merging({0: [0, 1, 2, 1, 4], 1: [0, 2, 2, 3]}, proportional=proportional)
    found = ReducedEncoder(tiny, Fixed(3, plan))(batch, mode)
    plain = Plain(tiny.model)
    h = plain.embed(batch.input_ids[None], batch.token_type_ids[None])
    h = torch.stack([h[:, 0], (h[:, 1] + h[:, 3]) / 2, h[:, 2], h[:, 4]], 1)
    sizes = torch.tensor([[1.0, 2, 1, 1]]).double() if proportional else torch.ones(1, 4).double()
    h = plain.layer(0, h, sizes, Soft())
    h = torch.stack([h[:, 0], (2 * h[:, 1] + h[:, 2]) / 3, h[:, 3]], 1)
    sizes = torch.tensor([[1.0, 3, 1]]).double() if proportional else torch.ones(1, 3).double()
    for layer in (1, 2):
        h = plain.layer(layer, h, sizes, Soft())
    torch.testing.assert_close(found.hidden, h[0], rtol=0, atol=1e-10)
    assert found.rows.tolist() == [0, 2, 4]
    assert [t.tolist() for t in found.trace.shown] == [[5], [4], [3]]
    assert [t.tolist() for t in found.trace.keys] == [[4], [3], [3]]


def test_a_merge_within_a_layer_is_between_attention_and_feed_forward(tiny, make_batch, mode):
    batch = make_batch([3])
    plan = merging({0: [0, 1, 1]}, "after_attention")
    found = ReducedEncoder(tiny, Fixed(1, plan))(batch, mode)
    layer, plain = tiny.layers[0], Plain(tiny.model)
    h = plain.embed(batch.input_ids[None], batch.token_type_ids[None])
    heads = plain.attention("bert.encoder.layer.0.attention", h, torch.ones(1, 3).double())
    x = plain.norm("bert.encoder.layer.0.attention.output.LayerNorm", h + heads)[0]
    merged = torch.stack([x[0], (x[1] + x[2]) / 2])
    torch.testing.assert_close(found.hidden, layer.feed_forward(merged), rtol=0, atol=1e-10)
    assert (found.trace.queries[0].item(), found.trace.feed_forward[0].item()) == (3, 2)


def test_merging_nothing_is_the_untouched_model(tiny, make_batch, mode):
    batch, decide = make_batch([7, 1, 30]), lambda *given: Merge(torch.arange(len(given[2].rows)))
    logits = ReducedEncoder(tiny, Fixed(3, decide))(batch, mode).logits
    wanted = tiny.model(**padded(tiny.model, batch)).logits
    torch.testing.assert_close(logits, wanted, rtol=0, atol=1e-10)


@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    script=st.lists(
        st.tuples(*map(st.sampled_from, (["", "leap", "drop", "merge"], ["", "drop", "merge"]))),
        min_size=3,
        max_size=3,
    ),
    seed=st.integers(0, 999),
)
@pytest.mark.slow
def test_sizes_sum_to_the_length_of_the_text(tiny, make_batch, lengths, script, seed):
    batch = make_batch(lengths, seed)
    for kind in (PackedRun, ReferenceRun):
        run = kind(tiny, Scripted(script, seed, 32), batch)
        outputs = run.outputs()
        if any("merge" in pair for pair in script):
            assert segment_sum(run.merging.sizes, batch.layout).tolist() == lengths
            assert (run.merging.sizes[outputs.rows] > 0).all()


def test_a_mean_of_all_tokens_weighs_merged_ones_by_size(make_batch, mode):
    backbone = pooled_backbone(2).double().eval()
    batch = make_batch([5, 2])
    plan = merging({0: [0, 1, 2, 1, 1, 5, 6]})
    found = ReducedEncoder(backbone, Fixed(2, plan))(batch, mode)
    assert found.rows.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert found.hidden[3].equal(found.hidden[1]) and not found.trace.mapped
    mean = (found.hidden[0] + 3 * found.hidden[1] + found.hidden[2]) / 5
    torch.testing.assert_close(found.logits[0], mean / mean.norm(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [Leap, Drop])
def test_what_a_merged_token_stands_for_leaps_and_leaves_with_it(make_batch, mode, kind):
    """Token 3 is part of 1, which leaps over the last layer or is dropped."""

    def decide(layer: int, point: str, tokens: Tokens) -> Decision | None:
        if point == "after_attention":
            return None
        return kind(tokens.position != 1) if layer else Merge(torch.tensor([0, 1, 2, 1]))

    backbone = pooled_backbone(2).double().eval()
    found = ReducedEncoder(backbone, Fixed(2, decide))(make_batch([4]), mode)
    assert found.rows.tolist() == ([0, 1, 2, 3] if kind is Leap else [0, 2])
    if kind is Leap:
        assert found.behind.tolist() == [False, True, False, True]


def test_an_absorbed_token_is_restored_with_the_one_that_stands_for_it(tiny, make_batch, mode):
    """Token 3 merges into 1, layer 1 drops 4 for good, and layer 2 drops 1 and restores it."""
    decisions = [
        lambda tokens: Merge(torch.tensor([0, 1, 2, 1, 4])),
        lambda tokens: Drop(tokens.position != 4),
        lambda tokens: Drop(tokens.position != 1, restore=True),
    ]

    def decide(layer: int, point: str, tokens: Tokens) -> Decision | None:
        return decisions[layer](tokens) if point == "before_layer" else None

    found = ReducedEncoder(tiny, Fixed(3, decide))(make_batch([5]), mode, inputs=True)
    assert found.rows.tolist() == [0, 1, 2, 3]
    assert found.hidden[3].equal(found.hidden[1]) and found.hidden[1].equal(found.inputs[2][1])


def test_a_protected_token_is_not_absorbed(tiny, make_batch, mode):
    """Tokens 0 to 2 are the first text; token 1 stays, and 4 merges into 3."""
    batch = make_batch([5])
    batch.input_ids = torch.tensor([5, 6, 9, 7, 8])
    plan = merging({0: [0, 3, 2, 3, 3]})
    found = ReducedEncoder(tiny, Fixed(3, plan), protect=9)(batch, mode)
    assert found.trace.events[0].decision.groups.tolist() == [0, 1, 2, 3, 3]
    assert found.rows.tolist() == [0, 1, 2, 3]


def test_a_merge_before_the_embedding_is_refused(tiny, make_batch):
    reducer = Fixed(3, merging({}))
    reducer.before_embedding = lambda batch, words: Merge(batch.layout.rows)
    words = (
        "'fixed': before_embedding: returned a Merge, but no token has a state yet; merge before"
    )
    with pytest.raises(ValueError, match=words):
        ReducedEncoder(tiny, reducer)(make_batch([3]))


def test_keys_are_the_mean_of_the_heads_of_the_tokens_that_are_computed(tiny, make_batch, mode):
    """Two texts, of which places 1 leap but are seen, and a context is a key, too."""
    seen: list[Tensor | None] = []
    before: list[Tensor] = []

    def decide(layer: int, point: str, tokens: Tokens) -> Decision | None:
        if point == "after_attention":
            seen.append(tokens.keys)
            return None
        keep = tokens.position != 1
        before.append(tiny.layers[0].key(tokens.hidden[keep]).unflatten(1, (tiny.heads, -1)))
        return Leap(keep, keys=~keep, context=tokens.hidden[tokens.layout.first])

    reducer = Fixed(1, decide)
    ReducedEncoder(tiny, reducer)(make_batch([3, 4]), mode)
    reducer.needs = frozenset({"keys"})
    ReducedEncoder(tiny, reducer)(make_batch([3, 4]), mode)
    assert seen[0] is None and seen[1] is not None
    torch.testing.assert_close(seen[1], before[1].mean(1), rtol=0, atol=1e-12)


def test_an_earlier_leap_does_not_fit_after_a_merge(tiny, make_batch, mode):
    shown = []

    def decide(layer: int, point: str, tokens: Tokens) -> Decision | None:
        if point == "before_layer":
            shown.append(tokens.previous is not None)
            return Leap(torch.ones_like(tokens.rows, dtype=torch.bool))
        return Merge(tokens.layout.rows) if layer == 0 else None

    ReducedEncoder(tiny, Fixed(3, decide))(make_batch([5]), mode)
    assert shown == [False, False, True]


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ([0, 2, 3, 3, 4, 5], "row 1 of text 0 merges into row 2, which itself merges"),
        ([0, 1, 2, 3, 4, 3], "row 5 of text 1 merges into row 3, which is of another text"),
        ([0, 1, 2, 9, 4, 5], "row 3 of text 0 merges into row 9, but rows end at 5"),
        ([1, 1, 2, 3, 4, 5], "a first token merges into another"),
    ],
)
def test_wrong_groups_name_method_and_layer(tiny, make_batch, groups, says):
    with pytest.raises(ValueError, match=f"'fixed': before_layer of layer 1: .*{says}"):
        ReducedEncoder(tiny, Fixed(3, merging({1: groups})))(make_batch([4, 2]))

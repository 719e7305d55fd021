"""The counts in the trace, the effect of drops, and decisions of wrong types and shapes."""

import pytest
import torch
from scripted import Fixed, at, keep_places

from lotbench.engine.encoder import ReducedEncoder
from lotbench.ragged import segment_mean
from lotbench.reducer import Decision, Drop, Leap, Merge, Tokens


def test_counts_of_a_leap_with_context(tiny, make_batch, mode):
    """Sequences of 5 and 2; places 0 and 1 stay, so only the first has a leap and a context.

    Queries 2, 2; the context adds a key to the first: 3, 2.  Everybody is shown again.
    """

    def decide(tokens: Tokens) -> Decision:
        return keep_places({0, 1}, context=segment_mean(tokens.hidden, tokens.layout))(tokens)

    trace = ReducedEncoder(tiny, Fixed(3, at(None, decide)))(make_batch([5, 2]), mode).trace
    for layer in range(3):
        assert trace.shown[layer].tolist() == [5, 2]
        assert trace.queries[layer].tolist() == [2, 2]
        assert trace.keys[layer].tolist() == [3, 2]
        assert trace.feed_forward[layer].tolist() == [2, 2]


def test_counts_of_drops_at_both_points(tiny, make_batch, mode):
    """Sequences of 5 and 2; layer 0 drops place 4 before, layer 1 place 3 after attention.

    Layer 0: shown 5, 2, computed 4, 2.  Layer 1: shown and computed 4, 2, feed-forward 3, 2.
    Layer 2: 3, 2 throughout.
    """
    plan = {(0, "before_layer"): {0, 1, 2, 3}, (1, "after_attention"): {0, 1, 2}}

    def decide(layer: int, point: str, tokens: Tokens) -> Decision | None:
        places = plan.get((layer, point))
        return keep_places(places, Drop)(tokens) if places else None

    outputs = ReducedEncoder(tiny, Fixed(3, decide))(make_batch([5, 2]), mode)
    trace = outputs.trace
    assert [t.tolist() for t in trace.shown] == [[5, 2], [4, 2], [3, 2]]
    assert [t.tolist() for t in trace.queries] == [[4, 2], [4, 2], [3, 2]]
    assert [t.tolist() for t in trace.keys] == [[4, 2], [4, 2], [3, 2]]
    assert [t.tolist() for t in trace.feed_forward] == [[4, 2], [3, 2], [3, 2]]
    assert outputs.rows.tolist() == [0, 1, 2, 5, 6]


@pytest.mark.parametrize("point", ["before_layer", "after_attention"])
def test_a_drop_of_every_token_names_method_layer_and_text(tiny, make_batch, point):
    decide = at(1, lambda tokens: Drop(tokens.layout.sequence != 1), point)
    encoder = ReducedEncoder(tiny, Fixed(3, decide))
    words = rf"method 'fixed': {point} of layer 1: drops every token of text 1; keep its first"
    with pytest.raises(ValueError, match=words):
        encoder(make_batch([3, 2, 4]))


@pytest.mark.parametrize(
    ("decision", "complaint"),
    [
        (True, "returned bool; a Leap, a Drop, a Merge or None is needed"),
        (Merge(torch.ones(5) > 0), r"groups has shape \(5,\) and dtype torch.bool; .* int64 are"),
        (Drop(None), "keep is NoneType, not a tensor"),
        (
            Drop(torch.ones(4, dtype=torch.bool)),
            r"keep has shape \(4,\) .* \(T,\) = \(5,\) and bool",
        ),
        (Leap(torch.ones(5)), r"keep has shape \(5,\) and dtype torch.float32"),
        (Leap(torch.ones(5) > 0, weight=torch.ones(5) > 0), "weight has .* floating are needed"),
        (Leap(torch.ones(5) > 0, keys=torch.ones(5)), "keys has .* and bool are needed"),
        (Leap(torch.ones(5) > 0, keys=torch.ones(4) > 0), r"keys has shape \(4,\)"),
        (
            Leap(torch.ones(5) > 0, context=torch.ones(1, 32)),
            r"context has shape \(1, 32\) .* \(B, D\) = \(2, 32\) and floating",
        ),
    ],
)
def test_a_malformed_decision_is_a_clear_error(tiny, make_batch, mode, decision, complaint):
    encoder = ReducedEncoder(tiny, Fixed(3, at(1, lambda tokens: decision)))
    where = "method 'fixed': before_layer of layer 1: "
    with pytest.raises(ValueError, match=where + complaint):
        encoder(make_batch([3, 2]), mode)

"""Leap-of-Thought against numbers computed by hand from the paper's equations."""

import math

import pytest
import torch
from parts import lot
from torch import Tensor

from lotbench.engine.encoder import ReducedEncoder
from lotbench.lot import LeapOfThought, Params
from lotbench.ragged import Ragged
from lotbench.reducer import Leap, Tokens
from lotbench.routers import Router, margins, mean_leaping


def undecided(method: LeapOfThought) -> LeapOfThought:
    """Routers that keep about half of what they see, each with random weights."""
    for router in method.routers:
        torch.nn.init.normal_(router.inner.weight, std=1.0)
        torch.nn.init.normal_(router.outer.weight, std=0.5)
        torch.nn.init.zeros_(router.outer.bias)
    return method


def shown(hidden: Tensor, lengths: list[int], previous: Leap | None = None) -> Tokens:
    layout = Ragged.from_lengths(lengths)
    return Tokens(hidden, layout, torch.arange(layout.total), None, previous)


# The router


def hand_router(context: bool) -> Router:
    """LN plain, W1 = (0, 1), b1 = 0, W2 = (1, 2), b2 = (-5, 5)."""
    router = Router(2, 1, 5.0, context).double()
    with torch.no_grad():
        router.inner.weight.copy_(torch.tensor([[0.0, 1.0]]))
        router.inner.bias.zero_()
        router.outer.weight.copy_(torch.tensor([[1.0], [2.0]]))
    return router


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        # The means are (0, 4) and (0, 6), so the router sees (2, 4), (-2, 12) and (0, 12).
        (True, [(-4.1586553, 6.6826895)] * 3),
        # Alone, (2, 0) is 1, -1 after the norm: gelu(-1) = -0.1586553, and z = (-0.16 - 5, ...).
        (False, [(-5.1586553, 4.6826895), *[(-4.1586553, 6.6826895)] * 2]),
    ],
)
def test_router_by_hand(context, expected):
    """Two tokens (2, 0) and (-2, 8), and a second sequence with the token (0, 6).

    Layer norm of two numbers is -1, 1 (the smaller first), so W1 reads 1: gelu(1) = 0.8413447 and
    z = (0.8413447 - 5, 2 * 0.8413447 + 5) = (-4.1586553, 6.6826895).
    """
    hidden = torch.tensor([[2.0, 0.0], [-2.0, 8.0], [0.0, 6.0]]).double()
    logits = hand_router(context)(hidden, Ragged.from_lengths([2, 1]))
    # layer norm's epsilon of 1e-5 moves the 1 of (2, 4), whose variance is 1, by 5e-6
    torch.testing.assert_close(logits, torch.tensor(expected).double(), rtol=0, atol=2e-5)


def test_routers_that_share_their_products_give_the_same_margins():
    torch.manual_seed(0)
    routers = [Router(8, 4, 2.0, context=False).double() for _ in range(3)]
    for router in routers:
        for each in router.parameters():
            torch.nn.init.normal_(each)
    x = torch.randn(5, 8, dtype=torch.float64)
    expected = torch.stack([router.scores(x).diff()[:, 0] for router in routers], 1)
    torch.testing.assert_close(margins(routers, x), expected, rtol=0, atol=1e-12)


def test_router_sees_its_own_sequence_only():
    router = Router(8, 4, 1.0, True).double()
    hidden = torch.randn(9, 8, dtype=torch.float64)
    together = router(hidden, Ragged.from_lengths([4, 5]))
    alone = router(hidden[4:], Ragged.from_lengths([5]))
    torch.testing.assert_close(together[4:], alone)


@pytest.mark.parametrize("lengths", [[700, 600, 1100], [2400]])
@pytest.mark.parametrize("context", [True, False])
def test_router_is_the_same_in_cache_sized_parts(lengths, context):
    """Without gradients 2,400 tokens are three parts, and a sequence lies in two of them."""
    router = Router(8, 4, 1.0, context).double()
    hidden, layout = torch.randn(2400, 8, dtype=torch.float64), Ragged.from_lengths(lengths)
    with torch.inference_mode():
        parts = router(hidden, layout)
    torch.testing.assert_close(parts, router(hidden, layout))


def test_no_gradient_through_the_mean():
    """The mean is detached: token 1's logits have no gradient in token 0's state."""
    hidden = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    logits = Router(8, 4, 1.0, True).double()(hidden, Ragged.from_lengths([3]))
    (gradient,) = torch.autograd.grad(logits[1].sum(), hidden)
    assert gradient[[0, 2]].abs().max() == 0
    assert gradient[1].abs().max() > 0


def test_initial_weights():
    router = LeapOfThought(Params(preset="paper"), 12, 768).routers[3]
    assert router.inner.weight.shape == (256, 768)
    assert router.outer.bias.tolist() == [-5, 5]
    # 512 draws: the standard deviation is known to 0.02 / sqrt(1024) = 0.0006
    assert router.outer.weight.std().item() == pytest.approx(0.02, abs=5 * 0.0006)


@pytest.mark.parametrize("preset", ["paper", "recommended"])
def test_training_starts_from_processing_everything(minilm, make_batch, preset):
    """At the start, P(process) is about sigmoid(2b): sigmoid(10) = 0.99995, sigmoid(4) = 0.98."""
    method = lot(6, 384, preset=preset)
    batch = make_batch([[101, *range(2000, 2050), 102], [101, 2500, 102]])
    with torch.no_grad():
        outputs = ReducedEncoder(minilm, method.eval())(batch)
    expected = {"paper": 10.0, "recommended": 4.0}[preset]
    for event in outputs.trace.decisions():
        assert event.decision.keep.all()
        difference = event.decision.aux["logits"] @ torch.tensor([-1.0, 1.0])
        assert (difference - expected).abs().max() < 2
    assert [q.tolist() for q in outputs.trace.queries] == [[52, 3]] * 6


# Deciding


def test_threshold_by_hand():
    """P(process) of every token is sigmoid(2b) = sigmoid(2 * 0.2) = 0.598688."""
    method = lot(1, 4, router_bias=0.2).eval()
    torch.nn.init.zeros_(method.routers[0].outer.weight)
    tokens = shown(torch.randn(4, 4, dtype=torch.float64), [4])
    method.threshold = 0.5986
    assert method.before_layer(0, tokens).keep.tolist() == [True, True, True, True]
    method.threshold = 0.5988
    assert method.before_layer(0, tokens).keep.tolist() == [True, False, False, False]


def test_raising_the_threshold_keeps_a_subset(tiny, make_batch):
    method = undecided(lot())
    tokens = shown(torch.randn(60, 32, dtype=torch.float64), [20, 1, 39])
    method.eval()
    before = torch.ones(60, dtype=torch.bool)
    counts = []
    for threshold in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0):
        method.threshold = threshold
        keep = method.before_layer(0, tokens).keep
        assert not (keep & ~before).any()
        assert keep[tokens.layout.is_first].all()
        counts.append(int(keep.sum()))
        before = keep
    assert counts[0] == 60
    assert counts[-1] == 3
    assert len(set(counts)) > 4


def test_threshold_is_the_post_hoc_budget():
    method = lot(threshold=0.7)
    assert method.threshold == 0.7
    assert method.budget == method.threshold


def test_context_is_the_mean_of_the_leaping_tokens():
    """Sequence 1: places 1 and 2 leap, (2, 4) and (4, 8): mean (3, 6); sequence 2: no token."""
    hidden = torch.tensor([[1.0, 1.0], [2, 4], [4, 8], [9, 9], [5, 5]])
    keep = torch.tensor([True, False, False, True, True])
    context = mean_leaping(hidden, keep, Ragged.from_lengths([4, 1]))
    assert context.tolist() == [[3, 6], [0, 0]]


@pytest.mark.parametrize("straight_through", [True, False])
@pytest.mark.parametrize("leaping_keys", ["context", "all", "none"])
def test_what_layers_see_of_leaping_tokens(leaping_keys, straight_through):
    tokens = shown(torch.randn(4, 32, dtype=torch.float64), [4])
    method = lot(leaping_keys=leaping_keys, straight_through=straight_through)
    decision = method.before_layer(0, tokens)
    assert (decision.context is not None) == (leaping_keys == "context")
    assert (decision.weight is not None) == straight_through
    if leaping_keys == "all":
        assert decision.keys.all()
        assert decision.key_sizes == (4,)
    else:
        assert decision.keys is None


ROUTING = {"drop": {"routing": "drop"}, **{k: {"leaping_keys": k} for k in ("context", "all")}}


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("routing", list(ROUTING))
def test_packed_equals_reference(tiny, make_batch, routing, every):
    torch.manual_seed(8)  # routers that neither keep nor pass over everything, at any interval
    encoder = ReducedEncoder(tiny, undecided(lot(decision_every=every, **ROUTING[routing]))).eval()
    batch = make_batch([30, 8, 1, 17])
    with torch.no_grad():
        packed, reference = encoder(batch, "packed"), encoder(batch, "reference")
    torch.testing.assert_close(packed.logits, reference.logits, rtol=0, atol=1e-8)
    for one, other in zip(packed.trace.events, reference.trace.events, strict=True):
        assert one.decision.keep.equal(other.decision.keep)
    shares = torch.stack(packed.trace.queries)[:, 0] / 30
    assert ((shares > 1 / 30) & (shares < 0.9)).any()  # more than [CLS], and not everything


def test_decision_every_reuses_the_decision(make_backbone, make_batch):
    """Five layers, a decision every two: routers at 0, 2 and 4; 1 and 3 repeat, context and all."""
    backbone = make_backbone(num_hidden_layers=5)
    method = undecided(lot(5, decision_every=2)).eval()
    assert len(method.routers) == 3
    batch = make_batch([40, 9])
    with torch.no_grad():
        outputs = ReducedEncoder(backbone, method)(batch, inputs=True)
    decisions = [event.decision for event in outputs.trace.decisions()]
    assert ["logits" in decision.aux for decision in decisions] == [True, False, True, False, True]
    for first, again in ((0, 1), (2, 3)):
        assert decisions[again].keep.equal(decisions[first].keep)
        # Those who leap carry the same states, so the context is what it would be made anew.
        context = mean_leaping(outputs.inputs[again], decisions[again].keep, batch.layout)
        assert context.any()
        assert decisions[again].context.equal(context)
    assert not decisions[2].keep.equal(decisions[0].keep)


@pytest.mark.parametrize("mode", ["packed", "reference"])
def test_dropped_tokens_never_return(make_backbone, make_batch, mode):
    """Decisions at layers 0, 2 and 4; layers 1 and 3 compute what the one before them did.

    Whoever a router sees was kept by all before it, and is all that the layer sees as keys.
    """
    backbone = make_backbone(num_hidden_layers=5)
    method = undecided(lot(5, decision_every=2, routing="drop")).eval()
    batch = make_batch([40, 9])
    with torch.no_grad():
        trace = ReducedEncoder(backbone, method)(batch, mode).trace
    first, second, third = trace.decisions()
    assert [event.layer for event in trace.decisions()] == [0, 2, 4]
    assert second.rows.equal(first.rows[first.decision.keep])
    assert third.rows.equal(second.rows[second.decision.keep])
    assert 2 < third.rows.numel() < second.rows.numel() < 49
    assert torch.stack(trace.keys).equal(torch.stack(trace.queries))
    assert trace.queries[1].equal(trace.queries[0])
    # The router reads the tokens that are left: 32 wide, 2 * 32 * 32 + 2 * 32 * 2 = 2,176 each.
    assert method.overhead_flops(2, trace.shown[2]).equal(trace.shown[2] * 2_176)


def test_a_leap_that_sees_all_differs_from_one_that_sees_none(tiny, make_batch):
    """In the first layer, the same tokens are queries, and keys are all or the queries alone."""
    counts = {}
    for keys in ("all", "none"):
        torch.manual_seed(1)
        encoder = ReducedEncoder(tiny, undecided(lot(leaping_keys=keys))).eval()
        with torch.no_grad():
            trace = encoder(make_batch([30, 8])).trace
        counts[keys] = (trace.queries[0].tolist(), trace.keys[0].tolist())
    queries, seen = counts["none"]
    assert seen == queries
    assert queries[0] < 30
    assert counts["all"] == (queries, [30, 8])


@pytest.mark.parametrize("detach", [True, False])
def test_guidance_trains_the_backbone_unless_the_router_is_detached(tiny, make_batch, detach):
    batch = make_batch([20, 8])
    batch.saliency = torch.rand(28)
    method = lot(detach_router=detach)
    outputs = ReducedEncoder(tiny, method)(batch)
    method.loss(outputs, batch, outputs.trace)["guidance"].backward()
    reached = any(p.grad is not None and bool(p.grad.any()) for p in tiny.parameters())
    tiny.zero_grad()
    assert reached != detach
    assert all(p.grad is not None for p in method.parameters())


# Straight-through Gumbel-softmax


def test_straight_through_is_exactly_hard_in_value():
    """In single precision (1 + p) - p is not 1 for a quarter of all p."""
    method = LeapOfThought(Params(preset="paper", router_bias=0.0), 1, 32)
    weight = method.before_layer(0, shown(torch.randn(4000, 32), [4000])).weight
    assert set(weight.tolist()) == {0.0, 1.0}


def test_straight_through_gradient_by_hand(monkeypatch):
    """Without noise: p = sigmoid((z1 - z0) / t), and d weight / d z = (-1, 1) p (1 - p) / t.

    Logits (0, log 3) at temperature 1: p = 3/4, p (1 - p) = 3/16; (log 4, 0): p = 1/5, 4/25.
    [CLS] has weight 1 and no gradient.
    """
    monkeypatch.setattr(torch.nn.functional, "gumbel_softmax", lambda z, tau: (z / tau).softmax(-1))
    method = lot(preset="paper")
    logits = torch.tensor([[3.0, 0.0], [0.0, math.log(3)], [math.log(4), 0.0]]).requires_grad_()
    sampled = method._sample(logits, Ragged.from_lengths([3]))
    keep, weight = sampled.keep, sampled.weight
    assert keep.tolist() == [True, True, False]
    assert weight.tolist() == [1, 1, 0]
    (gradient,) = torch.autograd.grad(weight.sum(), logits)
    expected = torch.tensor([[0, 0], [-3 / 16, 3 / 16], [-4 / 25, 4 / 25]])
    torch.testing.assert_close(gradient, expected)


def test_gumbel_noise_keeps_a_token_with_its_probability():
    """The larger of two logits with Gumbel noise is a draw from their softmax.

    Logits (0, log 3): 3/4 of 20,000; the standard deviation is sqrt(3/16 / 20000) = 0.0031.
    """
    method = lot(preset="paper")
    logits = torch.tensor([0.0, math.log(3)]).expand(20_001, 2)
    keep = method._sample(logits, Ragged.from_lengths([20_001])).keep
    assert keep[1:].double().mean().item() == pytest.approx(0.75, abs=5 * 0.0031)


def test_task_gradient_reaches_routers_only_with_straight_through(tiny, make_batch):
    batch = make_batch([20, 8])
    cases = [(True, routing) for routing in ROUTING] + [(False, "context")]
    for straight_through, routing in cases:
        method = lot(straight_through=straight_through, **ROUTING[routing])
        (stage,) = method.stages()
        assert stage.soft == straight_through
        mode = "reference" if stage.soft else "packed"
        outputs = ReducedEncoder(tiny, method)(batch, mode)
        outputs.logits.square().sum().backward()
        got = [
            {p.grad is not None and bool(p.grad.any()) for p in router.parameters()}
            for router in method.routers
        ]
        # If all tokens are keys, what the others do in the last layer is nothing to [CLS].
        last = straight_through and routing != "all"
        assert got == [{straight_through}, {straight_through}, {last}]
        tiny.zero_grad()

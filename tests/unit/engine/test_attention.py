"""Weighted attention against its definition, computed sequence by sequence."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lotbench.engine import attention
from lotbench.engine.attention import attend, attend_and_receive, log_weight
from lotbench.ragged import Ragged

HEADS, DEPTH = 2, 3


def probabilities(query: Tensor, key: Tensor, weight: Tensor) -> Tensor:
    """``w_j exp(s_ij) / sum_k w_k exp(s_ik)`` of one sequence, (H, q, k), by the formula."""
    scores = torch.einsum("ihd,jhd->hij", query, key) / math.sqrt(query.shape[-1])
    weighted = weight * (scores - scores.detach().amax(-1, keepdim=True)).exp()
    return weighted / weighted.sum(-1, keepdim=True)


def plain_attention(
    query: Tensor, key: Tensor, value: Tensor, queries: Ragged, keys: Ragged, weight: Tensor
) -> Tensor:
    """The attention output, (Tq, H, d), one sequence at a time."""
    parts = []
    for q, k, v, w in zip(
        query.split(queries.sizes),
        key.split(keys.sizes),
        value.split(keys.sizes),
        weight.split(keys.sizes),
        strict=True,
    ):
        parts.append(torch.einsum("hij,jhd->ihd", probabilities(q, k, w), v))
    return torch.cat(parts)


def qkv(queries: Ragged, keys: Ragged, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(n, HEADS, DEPTH, generator=generator, dtype=torch.float64)
        for n in (queries.total, keys.total, keys.total)
    )


def weights_for(keys: Ragged, seed: int = 0) -> Tensor:
    """Weights: a third are 0, a third 1, a third in between; the first of a sequence is 1."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(0, 3, (keys.total,), generator=generator)
    between = torch.rand(keys.total, generator=generator, dtype=torch.float64)
    weight = torch.where(kind == 2, between, kind.double())
    return weight.masked_fill(keys.is_first, 1.0)


lengths_strategy = st.lists(st.integers(1, 40), min_size=1, max_size=5)


# Weighted softmax


def test_weighted_softmax_by_hand():
    # One query of depth 1 with score log 2 for each of three keys, weights 1, 0.5 and 0:
    # p = (1, 0.5, 0) * 2 / 3 = (2/3, 1/3, 0); values 3, 6, 100 give 2 + 2 + 0 = 4.
    query = torch.ones(1, 1, 1, dtype=torch.float64)
    key = torch.full((3, 1, 1), math.log(2), dtype=torch.float64)
    value = torch.tensor([3.0, 6.0, 100.0], dtype=torch.float64).view(3, 1, 1)
    weight = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
    out = attend(query, key, value, Ragged.from_lengths([1]), Ragged.from_lengths([3]), weight)
    assert out.item() == pytest.approx(4.0)


def test_weight_n_equals_n_copies_of_the_token():
    # A key of weight 2 is that key twice.
    queries, keys, doubled = (Ragged.from_lengths([n]) for n in (2, 3, 4))
    query, key, value = qkv(queries, keys)
    again = torch.tensor([0, 1, 1, 2])
    merged = attend(query, key, value, queries, keys, torch.tensor([1.0, 2.0, 1.0]).double())
    torch.testing.assert_close(merged, attend(query, key[again], value[again], queries, doubled))


@given(lengths_strategy, st.integers(0, 99), st.booleans())
@pytest.mark.slow
def test_attention_equals_the_definition(lengths, seed, weighted):
    queries = Ragged.from_lengths(lengths)
    # A context token in every second sequence makes keys of other lengths than queries.
    keys = Ragged.from_lengths([n + b % 2 for b, n in enumerate(lengths)])
    query, key, value = qkv(queries, keys, seed)
    weight = weights_for(keys, seed) if weighted else None
    expected = plain_attention(
        query, key, value, queries, keys, torch.ones(keys.total) if weight is None else weight
    )
    torch.testing.assert_close(attend(query, key, value, queries, keys, weight), expected)


def test_hard_weights_equal_removing_the_token():
    queries = keys = Ragged.from_lengths([5, 2, 30])
    query, key, value = qkv(queries, keys)
    weight = (torch.rand(keys.total, dtype=torch.float64) > 0.5).double()
    weight[keys.first] = 1
    kept = weight > 0
    fewer = Ragged.from_lengths([int(part.sum()) for part in kept.split(keys.sizes)])
    removed = attend(query, key[kept], value[kept], queries, fewer)
    torch.testing.assert_close(attend(query, key, value, queries, keys, weight), removed)
    # What an absent token holds cannot be seen at all: not a trace of it, not even of a NaN's kin.
    huge = torch.where(kept[:, None, None], value, 1e300)
    torch.testing.assert_close(attend(query, key, huge, queries, keys, weight), removed)


# Gradients


def received_too(q: Tensor, k: Tensor, v: Tensor, queries: Ragged, keys: Ragged, w: Tensor):
    heads, received = attend_and_receive(q, k, v, queries, keys, w)
    return heads, received.mean, received.own


@pytest.mark.parametrize("function", [attend, received_too])
@pytest.mark.parametrize("lengths", [[3], [2, 2], [3, 1, 2], [1, 14]])
def test_gradients_pass_gradcheck(lengths, function):
    layout = Ragged.from_lengths(lengths)
    weight = torch.rand(layout.total, dtype=torch.float64) * 0.8 + 0.1
    inputs = [x.requires_grad_() for x in (*qkv(layout, layout), weight)]
    assert torch.autograd.gradcheck(lambda q, k, v, w: function(q, k, v, layout, layout, w), inputs)


@pytest.mark.parametrize("lengths", [[6], [4, 4], [5, 1, 20]])
def test_gradient_at_every_weight_is_that_of_the_weighted_softmax(lengths):
    """Weights at 0, in between and at 1: autograd of the formula and finite differences agree."""
    layout = Ragged.from_lengths(lengths)
    query, key, value = qkv(layout, layout)
    weight = weights_for(layout, seed=3).requires_grad_()
    assert (weight == 0).any()
    assert (weight == 1).any()
    downstream = torch.randn(layout.total, HEADS, DEPTH, dtype=torch.float64)

    def through(function, w: Tensor) -> Tensor:
        return (function(query, key, value, layout, layout, w) * downstream).sum()

    (gradient,) = torch.autograd.grad(through(attend, weight), weight)
    (by_formula,) = torch.autograd.grad(through(plain_attention, weight), weight)
    torch.testing.assert_close(gradient, by_formula, rtol=1e-8, atol=1e-10)

    step = 1e-6
    for j in range(layout.total):
        moved = weight.detach().clone()
        moved[j] += step  # one-sided at 0, where a weight cannot go lower
        slope = (through(attend, moved) - through(attend, weight.detach())) / step
        assert gradient[j].item() == pytest.approx(slope.item(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("dtype", "lengths", "absent", "rtol", "atol"),
    # bfloat16 has 8 bits: a few percent of the largest.
    [(torch.float32, [4, 9], [2, 7], 1e-3, 1e-4), (torch.bfloat16, [8], [1, 4], 0, None)],
)
def test_gradient_at_zero_in_lower_precision(dtype, lengths, absent, rtol, atol):
    layout = Ragged.from_lengths(lengths)
    query, key, value = (x.to(dtype) for x in qkv(layout, layout))
    weight = torch.ones(layout.total)
    weight[absent] = 0
    gradients = []
    for function, cast in ((attend, lambda x: x), (plain_attention, torch.Tensor.float)):
        w = weight.clone().requires_grad_()
        out = function(cast(query), cast(key), cast(value), layout, layout, w)
        gradients += torch.autograd.grad(out.float().square().sum(), w)
    atol = atol or 0.05 * gradients[1].abs().max().item()
    torch.testing.assert_close(*gradients, rtol=rtol, atol=atol)


def test_straight_through_gives_the_hard_value_and_the_soft_gradient():
    layout = Ragged.from_lengths([4, 3])
    query, key, value = qkv(layout, layout)
    soft = torch.tensor([0.9, 0.3, 0.7, 0.2, 0.8, 0.6, 0.4]).double().requires_grad_()
    hard = (soft > 0.5).double()
    out = attend(query, key, value, layout, layout, hard + (soft - soft.detach()))
    torch.testing.assert_close(out, attend(query, key, value, layout, layout, hard))

    at_hard = hard.clone().requires_grad_()
    formula = plain_attention(query, key, value, layout, layout, at_hard)
    (expected,) = torch.autograd.grad(formula.square().sum(), at_hard)
    (gradient,) = torch.autograd.grad(out.square().sum(), soft)
    torch.testing.assert_close(gradient, expected)


def test_log_weight_is_exact_where_no_gradient_passes():
    weight = torch.tensor([0.0, 0.25, 1.0])
    assert log_weight(weight).tolist() == [-math.inf, pytest.approx(math.log(0.25)), 0.0]
    assert log_weight(weight - 1e-9)[0] == -math.inf  # rounding is no NaN
    # With a gradient 0 has a floor, and 1 is still exactly 1.
    floored = log_weight(weight.requires_grad_())
    assert floored.isfinite().all()
    assert floored[2] == 0


def absent_against(score: float, dtype: torch.dtype, n: int) -> float:
    """The share of n absent tokens whose scores lie this far above that of the one present."""
    keys = Ragged.from_lengths([n + 1])
    query = torch.ones(1, 1, 1, dtype=dtype)
    value = torch.ones(n + 1, 1, 1, dtype=dtype)
    value[0] = 0
    weight = torch.zeros(n + 1, dtype=dtype)
    weight[0] = 1
    out = attend(
        query, value * score, value, Ragged.from_lengths([1]), keys, weight.requires_grad_()
    )
    return out.item()


@pytest.mark.parametrize(
    ("score", "dtype", "n", "most"),
    [
        # Rounding, 1.2e-7, would be too high a floor: 1.2e-7 * e^12 = 0.02.
        (12.0, torch.float32, 1, 1e-6),
        (12.0, torch.float64, 1, 1e-15),
        # The floor of bfloat16 itself would let 500 absent tokens weigh 500 * 0.008 = 4 together.
        (0.0, torch.bfloat16, 500, 1e-3),
        (0.0, torch.float16, 500, 1e-3),
    ],
)
def test_an_absent_token_stays_absent_whatever_its_score(score, dtype, n, most):
    assert absent_against(score, dtype, n) < most


# Runs


@given(lengths_strategy, st.integers(0, 99), st.booleans(), st.sampled_from([0, 8, 40]))
def test_runs_give_the_result_of_one_padded_call(lengths, seed, weighted, call):
    layout = Ragged.from_lengths(lengths)
    query, key, value = (x.requires_grad_() for x in qkv(layout, layout, seed))
    weight = weights_for(layout, seed) if weighted else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "CALL_CELLS", call)
        cut = attend(query, key, value, layout, layout, weight)
    bias = log_weight(weight) if weighted else None
    padded = attention._padded(attention.Heads(query, key, value, layout, layout, bias))
    torch.testing.assert_close(cut, padded)
    with torch.no_grad():
        torch.testing.assert_close(attend(query, key, value, layout, layout, weight), padded)
    for one, other in zip(
        torch.autograd.grad(cut.square().sum(), (query, key, value)),
        torch.autograd.grad(padded.square().sum(), (query, key, value)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_a_run_ends_where_padding_costs_more_than_a_call(monkeypatch):
    # Two of 3 tokens and one of 5 are 9 + 9 + 25 = 43 cells; all three at 5 tokens are 75.
    layout, cpu = Ragged.from_lengths([3, 3, 5]), torch.device("cpu")
    monkeypatch.setattr(attention, "CALL_CELLS", 31)
    assert attention._runs(layout, layout, cpu) == [0, 2, 3]
    monkeypatch.setattr(attention, "CALL_CELLS", 32)
    assert attention._runs(layout, layout, cpu) == [0, 3]
    with torch.no_grad():
        assert attention._runs(layout, layout, cpu) == [0, 2, 3]


@pytest.mark.parametrize("function", [attend, attend_and_receive])
def test_nothing_is_padded_outside_training(function, monkeypatch):
    layout, plain = Ragged.from_lengths([5, 5, 7]), Ragged.pad

    def spy(own, values, fill=0.0):
        assert own.uniform
        return plain(own, values, fill)

    monkeypatch.setattr(Ragged, "pad", spy)
    with torch.no_grad():
        function(*qkv(layout, layout), layout, layout)
    with pytest.raises(AssertionError):
        function(*qkv(layout, layout), layout, layout)  # training pads so little


# The context token


@pytest.mark.parametrize("present", [[True, False, True], [True] * 3, [False] * 3])
def test_context_comes_last_in_its_own_sequence(present):
    layout = Ragged.from_lengths([3, 1, 2])
    values, context = torch.arange(6.0).view(6, 1), 100 + torch.arange(3.0).view(3, 1)
    longer, sizes = layout.append(values, context, present)
    rows = [[0, 1, 2], [3], [4, 5]]
    for b, owner in enumerate(present):
        rows[b] += [100 + b] * owner
    assert [part.flatten().tolist() for part in longer.split(sizes.sizes)] == rows


# Attention received


def plain_received(
    query: Tensor, key: Tensor, layout: Ragged, keys: Ragged, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean over present queries and own part, each (Tq,), one sequence at a time."""
    means, owns = [], []
    for n, q, k, w in zip(
        layout.sizes,
        query.split(layout.sizes),
        key.split(keys.sizes),
        weight.split(keys.sizes),
        strict=True,
    ):
        p = probabilities(q, k, w).mean(0)
        voters = w[:n] > 0
        means.append(p[voters].mean(0)[:n])
        owns.append(p.diagonal()[:n])
    return torch.cat(means), torch.cat(owns)


def received_by(query, key, layout, keys, weight=None):
    """What `attend_and_receive` says of the attention received; the values do not matter."""
    return attend_and_receive(query, key, torch.zeros_like(key), layout, keys, weight)[1]


def test_received_by_hand():
    # Two tokens of depth 1, key 0 for both: everybody gives 1/2 to each; mean 1/2, own 1/2.
    # Beside them a sequence of three keys, one of them a context token with key log 2 and query
    # 1 for both: weights 1 : 1 : 2, so each token receives 1/4 and the context the rest.
    layout, keys = Ragged.from_lengths([2, 2]), Ragged.from_lengths([2, 3])
    query = torch.ones(4, 1, 1, dtype=torch.float64)
    key = torch.tensor([0, 0, 0, 0, math.log(2)]).double().view(5, 1, 1)
    received = received_by(query, key, layout, keys)
    torch.testing.assert_close(received.mean, torch.tensor([0.5, 0.5, 0.25, 0.25]).double())
    torch.testing.assert_close(received.own, received.mean)


@given(lengths_strategy, st.integers(0, 99), st.integers(0, 1), st.booleans())
def test_received_equals_the_definition(lengths, seed, context, weighted):
    layout = Ragged.from_lengths(lengths)
    keys = Ragged.from_lengths([n + context * (b % 2) for b, n in enumerate(lengths)])
    query, key, _ = qkv(layout, keys, seed)
    weight = torch.ones(keys.total, dtype=torch.float64)
    if weighted:
        weight = weights_for(keys, seed)
        for part, n in zip(weight.split(keys.sizes), layout.sizes, strict=True):
            part[n:] = 1  # a context token weighs 1
    received = received_by(query, key, layout, keys, weight if weighted else None)
    mean, own = plain_received(query, key, layout, keys, weight)
    torch.testing.assert_close(received.mean, mean)
    torch.testing.assert_close(received.own, own)


def test_received_of_absent_tokens_equals_removing_them():
    layout = Ragged.from_lengths([4, 6])
    query, key, _ = qkv(layout, layout)
    weight = torch.tensor([1.0, 0, 1, 1, 1, 0, 0, 1, 1, 0]).double()
    kept = weight > 0
    fewer = Ragged.from_lengths([3, 3])
    among_all = received_by(query, key, layout, layout, weight)
    alone = received_by(query[kept], key[kept], fewer, fewer)
    torch.testing.assert_close(among_all.mean[kept], alone.mean)
    torch.testing.assert_close(among_all.own[kept], alone.own)
    assert among_all.mean[~kept].abs().max() == 0


@given(lengths_strategy, st.integers(0, 99))
def test_explicit_attention_equals_the_kernel_and_its_gradients(lengths, seed):
    layout = Ragged.from_lengths(lengths)
    inputs = [*qkv(layout, layout, seed), weights_for(layout, seed)]
    inputs = [x.requires_grad_() for x in inputs]
    query, key, value, weight = inputs
    fused = attend(query, key, value, layout, layout, weight)
    explicit, _ = attend_and_receive(query, key, value, layout, layout, weight)
    torch.testing.assert_close(explicit, fused)
    for one, other in zip(
        torch.autograd.grad(explicit.square().sum(), inputs),
        torch.autograd.grad(fused.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)

"""Presets and FLOPs of Leap-of-Thought, and its fixed budget, by hand."""

import pytest
import torch
from parts import lot
from torch import Tensor

from lotbench.batch import Batch
from lotbench.engine.encoder import ReducedEncoder
from lotbench.lot import FixedBudget, FixedBudgetParams, LeapOfThought, Params
from lotbench.measure.flops import reduced_flops


def test_paper_preset_has_the_published_values():
    params = Params(preset="paper")
    assert (params.top_p, params.loss_weight, params.threshold) == (0.3, 0.05, 0.5)
    assert (params.router_width, params.router_bias, params.temperature) == (256, 5.0, 1.0)
    assert params.straight_through
    assert (params.routing, params.leaping_keys) == ("leap", "context")
    assert params.router_context
    assert (params.guidance, params.share_normalisation) == ("gradient", "softmax")
    assert params.saliency_length == 128
    assert params.decision_every == 1
    (stage,) = LeapOfThought(params, 2, 8).stages()
    assert stage.learning_rates == {}  # one rate for everything
    assert stage.soft


def test_given_values_override_the_preset():
    params = Params(preset="paper", router_width=16, straight_through=False)
    assert (params.router_width, params.straight_through, params.router_bias) == (16, False, 5.0)


def test_defaults_follow_the_routing_and_the_shares():
    assert Params().leaping_keys == "context"
    assert Params(routing="drop").leaping_keys == "none"
    assert Params(preset="paper", share_normalisation="sum").saliency_length is None
    assert Params(preset="paper", saliency_length=64).saliency_length == 64


def test_a_router_rate_names_the_routers_parameters():
    method = lot(router_learning_rate=0.01)
    (stage,) = method.stages()
    ((prefix, rate),) = stage.learning_rates.items()
    assert rate == 0.01
    assert all(name.startswith(prefix) for name, _ in method.named_parameters())


def test_overhead_by_hand():
    """Width 384, router width 256, 10 tokens: 10 * (2 * 384 * 256 + 2 * 256 * 2) = 1,976,320."""
    method = lot(6, 384, preset="paper")
    counts = torch.tensor([10, 1])
    assert method.overhead_flops(0, counts).tolist() == [1_976_320, 197_632]


def test_overhead_counts_only_layers_with_a_router():
    method = lot(5, 384, decision_every=2)
    costs = [float(method.overhead_flops(layer, 1)) for layer in range(5)]
    # router width 32: 2 * 384 * 32 + 2 * 32 * 2 = 24,704
    assert costs == [24_704, 0, 24_704, 0, 24_704]


def test_flops_of_a_whole_text_by_hand(make_backbone, make_batch):
    """One layer, D = 8, D_ff = 16, three labels; four tokens of which [CLS] alone is processed.

    q = 1, and the context makes k = k' = 2: projections 2 * 64 * (2 * 1 + 2 * 2) = 768,
    attention 4 * 1 * 2 * 8 = 64, feed-forward 4 * 1 * 8 * 16 = 512; router of width 3 on four
    tokens 4 * (2 * 8 * 3 + 2 * 3 * 2) = 240; pooler 2 * 64 = 128, head 2 * 8 * 3 = 48.
    Total 1,760.
    """
    backbone = make_backbone(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    method = lot(1, 8, router_width=3, threshold=1.0).eval()
    trace = ReducedEncoder(backbone, method)(make_batch([4])).trace
    assert reduced_flops(trace, backbone, method).tolist() == [1760]


def batch_of(lengths: list[int]) -> Batch:
    return Batch.from_ids([[1] * length for length in lengths])


def fixed(n_layers: int = 3, width: int = 32, **params: object) -> FixedBudget:
    return FixedBudget(FixedBudgetParams(**params), n_layers, width)


def test_the_best_tokens_of_each_text_by_hand():
    """Half of 5 is 2.5, so 3: [CLS] and the margins 4 and 2.  Half of 2 is 1: [CLS] alone.

    Half of 4 is 2: [CLS] and, of the two equal margins, the earlier.
    """
    texts = batch_of([5, 2, 4])
    margin = torch.tensor([-9.0, 2.0, 1.0, 4.0, -1.0, -9.0, 7.0, -9.0, 0.0, 3.0, 3.0])
    decision = fixed(keep_ratio=0.5).choose(margin, texts.layout, texts)
    assert decision.keep.int().tolist() == [1, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert decision.sizes == (3, 1, 2)


@pytest.mark.parametrize(("ratio", "sizes"), [(0.1, (1, 1)), (0.3, (3, 1)), (1.0, (10, 2))])
def test_the_budget_can_change_after_training(ratio, sizes):
    """0.3 * 10 counts as 3, despite floating-point error."""
    method = fixed()
    method.keep_ratio = ratio
    texts = batch_of([10, 2])
    assert method.choose(torch.zeros(12), texts.layout, texts).sizes == sizes


@pytest.mark.parametrize("keys", ["context", "all", "none"])
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.slow
def test_packing_needs_no_synchronisation_and_compiles_as_one_graph(
    reduced, batch, monkeypatch, every, keys
):
    encoder = reduced(
        FixedBudget, layers=3, keep_ratio=0.4, decision_every=every, leaping_keys=keys
    )
    for router in encoder.reducer.routers:
        torch.nn.init.normal_(router.outer.weight, std=0.5)
    texts = batch([9, 4, 7])
    with torch.inference_mode():
        wanted = encoder(texts, "reference")
        compiled = torch.compile(encoder, fullgraph=True, dynamic=False, backend="eager")(texts)
        monkeypatch.setattr(Tensor, "nonzero", None)
        monkeypatch.setattr(Tensor, "item", None)
        monkeypatch.setattr(Tensor, "tolist", None)
        packed = encoder(texts)
    for outputs in (compiled, packed):
        torch.testing.assert_close(outputs.logits, wanted.logits, rtol=0, atol=1e-8)
        assert [event.decision.sizes for event in outputs.trace.events] == [(4, 2, 3)] * 3

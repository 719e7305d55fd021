"""Leap-of-Thought with a fixed budget: the kept tokens, and static shapes."""

import pytest
import torch
from torch import Tensor

from lotbench.lot import FixedBudget, FixedBudgetParams
from lotbench.ragged import Ragged


def fixed(n_layers: int = 3, width: int = 32, **params: object) -> FixedBudget:
    return FixedBudget(FixedBudgetParams(**params), n_layers, width)


def test_the_best_tokens_of_each_text_by_hand():
    """Half of 5 is 2.5, so 3: [CLS] and the margins 4 and 2.  Half of 2 is 1: [CLS] alone.

    Half of 4 is 2: [CLS] and, of the two equal margins, the earlier.
    """
    layout = Ragged.from_lengths([5, 2, 4])
    margin = torch.tensor([-9.0, 2.0, 1.0, 4.0, -1.0, -9.0, 7.0, -9.0, 0.0, 3.0, 3.0])
    decision = fixed(keep_ratio=0.5).choose(margin, layout)
    assert decision.keep.int().tolist() == [1, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert decision.sizes == (3, 1, 2)


@pytest.mark.parametrize(("ratio", "sizes"), [(0.1, (1, 1)), (0.3, (3, 1)), (1.0, (10, 2))])
def test_the_budget_can_change_after_training(ratio, sizes):
    """0.3 * 10 counts as 3, despite floating-point error."""
    method = fixed()
    method.keep_ratio = ratio
    assert method.choose(torch.zeros(12), Ragged.from_lengths([10, 2])).sizes == sizes


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

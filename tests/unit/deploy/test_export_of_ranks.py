"""Which tokens a graph keeps: the highest scores, and of equal ones the first, in every runtime."""

import pytest
import torch
from test_export import make_encoder

from baselines.static import Static
from lotbench.batch import Batch
from lotbench.deploy.graph import export
from lotbench.deploy.session import feed, open_session
from lotbench.engine.encoder import ReducedEncoder
from lotbench.lot import FixedBudget

IDS = [[2, *range(4, 36), 3], [2, 3], [2, 9, 8, 9, 8, 9, 8, 9, 3]]


def equal_scores() -> ReducedEncoder:
    encoder = make_encoder(Static)
    encoder.reducer.importance = torch.tensor([1.0, 2.0]).repeat(20)
    return encoder


def routers_of_states() -> ReducedEncoder:
    torch.manual_seed(0)
    values = {"router_context": False, "leaping_keys": "none"}
    encoder = make_encoder(FixedBudget, layers=2, **values)
    for router in encoder.reducer.routers:
        torch.nn.init.normal_(router.norm.weight)
        torch.nn.init.normal_(router.norm.bias)
    return encoder


@pytest.mark.slow
@pytest.mark.parametrize("make", [equal_scores, routers_of_states])
def test_a_graph_keeps_the_same_tokens_in_every_runtime(make):
    encoder = make()
    graph = export(encoder).model.SerializeToString()
    for backend in ("onnx-fp32", "openvino-fp32"):
        session = open_session(graph, backend, threads=1)
        for ratio in (0.01, 0.2, 0.5, 0.9, 1.0):
            types = [[0] * len(row) for row in IDS]
            found = session(feed(session.inputs, IDS, types, [], budget=ratio))
            with torch.no_grad(), encoder.reducer.at_budget(ratio):
                expected = encoder(Batch.from_ids(IDS)).logits
            torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-4)

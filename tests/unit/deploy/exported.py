"""Exported graphs against the engine."""

from collections.abc import Sequence

import torch
from onnx import ModelProto

from lotbench.batch import Batch
from lotbench.deploy.graph import export
from lotbench.deploy.session import feed, open_session
from lotbench.engine.encoder import ReducedEncoder

RUNTIMES = ("onnx-fp32", "openvino-fp32")


def assert_answers(
    encoder: ReducedEncoder,
    ids: list[list[int]],
    types: list[list[int]] | None = None,
    graph: ModelProto | None = None,
    budgets: Sequence[float | None] = (None,),
    runtimes: Sequence[str] = RUNTIMES,
    close: float = 1e-4,
) -> None:
    """Fails where the graph of an encoder answers otherwise, in a runtime at a budget."""
    graph = graph or export(encoder).model
    types = types or [[0] * len(row) for row in ids]
    padding = encoder.backbone.config.pad_token_id or 0
    for runtime in runtimes:
        session = open_session(graph.SerializeToString(), runtime, threads=1)
        for budget in budgets:
            found = session(feed(session.inputs, ids, types, [0] * len(ids), padding, budget))
            with torch.no_grad(), encoder.reducer.at_budget(budget):
                expected = encoder(Batch.from_ids(ids, types)).logits
            torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=close)

"""Graphs of methods that merge tokens, in every runtime."""

import pytest
import torch
from test_export import make_encoder

from baselines.tome import TokenMerging
from lotbench.batch import Batch
from lotbench.deploy.graph import export
from lotbench.deploy.session import feed, open_session


@pytest.mark.slow
@pytest.mark.long
def test_merges_run_in_every_runtime():
    """Sizes are carried over two layers; also a text of one token, and texts that merge nothing."""
    encoder = make_encoder(TokenMerging, score="energy")
    ids = [[2, 9, 8, 7, 3, 11, 12, 13, 3], [2], [2, 5, 3, 7, 3], [2, 6]]
    graph = export(encoder).model.SerializeToString()
    for backend in ("onnx-fp32", "openvino-fp32"):
        session = open_session(graph, backend, threads=1)
        for ratio, rows in ((0.4, ids), (0.0, ids), (1.0, ids[1:2])):
            types = [[0] * len(row) for row in rows]
            found = session(feed(session.inputs, rows, types, [], budget=ratio))
            with torch.no_grad(), encoder.reducer.at_budget(ratio):
                expected = encoder(Batch.from_ids(rows)).logits
            torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-4)

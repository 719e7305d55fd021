"""Padding in an exported graph: its score is finite, and no text sees it."""

import numpy as np
import pytest
import torch
from onnx import numpy_helper
from test_export import make_encoder

from baselines.dense import DensePacked
from lotbench.deploy.graph import export
from lotbench.deploy.session import feed, open_session

TEXTS = [[2, 3], [2, *range(4, 30), 3], [2, 5, 3]]


@pytest.mark.parametrize("scale", [pytest.param(1, marks=pytest.mark.long), 300])
@pytest.mark.slow
def test_padding_has_a_finite_score_and_changes_nothing(scale):
    encoder = make_encoder(DensePacked)
    with torch.no_grad():  # at the larger scale, scores of keys are hundreds apart
        for layer in encoder.backbone.layers:
            layer.query.weight *= scale
    graph = export(encoder).model
    values = [*map(numpy_helper.to_array, graph.graph.initializer)]
    for node in graph.graph.node:
        values += [numpy_helper.to_array(own.t) for own in node.attribute if own.name == "value"]
    assert all(np.isfinite(each).all() for each in values)
    session = open_session(graph.SerializeToString(), "onnx-fp32", threads=1)

    def outputs(texts: list[list[int]]) -> np.ndarray:
        types = [[0] * len(text) for text in texts]
        return session(feed(session.inputs, texts, types, [0] * len(texts)))

    for text, found in zip(TEXTS, outputs(TEXTS), strict=True):
        assert np.abs(outputs([text])[0] - found).max() < 1e-6

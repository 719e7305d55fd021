"""An exported graph answers as the engine does, in every runtime."""

from typing import Any

import numpy as np
import pytest
import torch
from exported import RUNTIMES, assert_answers
from onnx import numpy_helper
from test_export import make_encoder
from tiny_models import random_model

from baselines.dense import DensePacked
from baselines.first_k import FirstK
from baselines.static import Static
from baselines.tome import TokenMerging
from baselines.window import Window
from lotbench.deploy.graph import export
from lotbench.deploy.session import feed, open_session
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.lot import FixedBudget

long = pytest.mark.long


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "modernbert, mean",
        *(
            pytest.param(kind, marks=long)
            for kind in ("bert", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta")
        ),
    ],
)
def test_every_backbone_exports_and_pairs_keep_the_same_tokens(kind):
    # In a pair, tokens of both texts have equal ranks.
    torch.manual_seed(0)
    backbone = Backbone(random_model(kind, layers=1))
    encoder = ReducedEncoder(backbone, FirstK(FirstK.Params(k=3), 1, 32)).eval()
    ids = [[2, 9, 8, 7, 3, 11, 12, 13, 3], [2, 6, 3], [2, 5, 3, 7, 3]]
    types = [[0] * 5 + [1] * 4, [0] * 3, [0] * 3 + [1] * 2]
    assert_answers(encoder, ids, types, budgets=(1, 2, 3, 5))


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["roberta", *(pytest.param(x, marks=long) for x in ("bert", "distilbert", "mpnet"))]
)
@pytest.mark.parametrize("name", ["window", "state", "table", "balance"])
def test_a_graph_tells_texts_apart_with_and_without_segments(kind, name):
    torch.manual_seed(0)
    backbone = Backbone(random_model(kind, layers=1))
    method: Any = Window(Window.Params(neighbours=1), 1, 32)
    if name != "window":
        chosen = {"router": "table", "balance": "chosen"} if name == "balance" else {"router": name}
        method = FixedBudget(FixedBudget.Params(reads="match", first_share=0.5, **chosen), 1, 32)
        router = method.word_router or method.routers[0]
        if name == "balance":
            method.balance.copy_(torch.tensor([0.75, 1.0]))
        else:
            torch.nn.init.normal_(router.match)
    encoder = ReducedEncoder(backbone, method).eval()
    method.after_training(backbone.words)
    encoder.reducer.idf = torch.linspace(0, 2, 100)
    encoder.reducer.importance = torch.linspace(2, 0, 100)
    # Words 8 and 7 stand in both texts; 2 begins and 3 ends a text.
    ids = [[2, 9, 8, 7, 3, 3, 11, 8, 13, 14, 7, 15, 3], [2, 6, 9, 3], [2, 5, 3, 7, 5, 3]]
    types = [[0] * 5 + [1] * 8, [0] * 4, [0] * 3 + [1] * 3] if kind == "bert" else None
    assert_answers(encoder, ids, types, budgets=(0.1, 0.5, 0.6, 0.7, 0.9))


@pytest.mark.slow
@long
def test_merges_run_in_every_runtime():
    """Sizes are carried over two layers; also a text of one token, and texts that merge nothing."""
    encoder = make_encoder(TokenMerging, score="energy")
    ids = [[2, 9, 8, 7, 3, 11, 12, 13, 3], [2], [2, 5, 3, 7, 3], [2, 6]]
    graph = export(encoder).model
    assert_answers(encoder, ids, graph=graph, budgets=(0.4, 0.0))
    assert_answers(encoder, ids[1:2], graph=graph, budgets=(1.0,))


def equal_scores() -> ReducedEncoder:
    encoder = make_encoder(Static)
    encoder.reducer.importance = torch.tensor([1.0, 2.0]).repeat(20)
    return encoder


def routers_of_states() -> ReducedEncoder:
    torch.manual_seed(0)
    encoder = make_encoder(FixedBudget, router_context=False, leaping_keys="none")
    for router in encoder.reducer.routers:
        torch.nn.init.normal_(router.norm.weight)
        torch.nn.init.normal_(router.norm.bias)
    return encoder


@pytest.mark.slow
@pytest.mark.parametrize("make", [pytest.param(equal_scores, marks=long), routers_of_states])
def test_a_graph_keeps_the_highest_scores_and_of_equal_ones_the_first(make):
    ids = [[2, *range(4, 36), 3], [2, 3], [2, 9, 8, 9, 8, 9, 8, 9, 3]]
    assert_answers(make(), ids, budgets=(0.01, 0.2, 0.5, 0.9, 1.0))


@pytest.mark.parametrize("scale", [pytest.param(1, marks=long), 300])
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
    session = open_session(graph.SerializeToString(), RUNTIMES[0], threads=1)

    def outputs(texts: list[list[int]]) -> np.ndarray:
        types = [[0] * len(text) for text in texts]
        return session(feed(session.inputs, texts, types, [0] * len(texts)))

    texts = [[2, 3], [2, *range(4, 30), 3], [2, 5, 3]]
    for text, found in zip(texts, outputs(texts), strict=True):
        assert np.abs(outputs([text])[0] - found).max() < 1e-6

"""Exported embedding models and cross-encoders, in the libraries that users run them with."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from exported import assert_answers
from tiny_models import random_model
from torch import Tensor, nn

import lotbench
from baselines.bag import Bag
from lotbench import registry
from lotbench.batch import Batch
from lotbench.conformance.tiny import tiny_backbone
from lotbench.deploy import folder as deploy
from lotbench.deploy.graph import export
from lotbench.deploy.quantise import quantised
from lotbench.deploy.session import feed
from lotbench.engine import checkpoint
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.pooling import Kind, Pooling
from lotbench.errors import InputError
from lotbench.reducer import Drop, TokenReducer, Tokens

OTHER = "SENTENCE_TRANSFORMERS_PYTHON"
TEXTS = ["a b c d e f g h a b c", "h", "b a d c", "", "c d " * 30]
"""Of many lengths; the last is cut."""
PAIRS = [("a b", text) for text in TEXTS]


class Restores(TokenReducer):
    """Drops all but every third token before each layer, and restores them."""

    name = "restores"

    def before_layer(self, layer: int, tokens: Tokens) -> Drop:
        return Drop(tokens.position % 3 == 0, restore=True)


class DropsForGood(Restores):
    """Drops one token for good before the first layer, and restores what the second drops."""

    def before_layer(self, layer: int, tokens: Tokens) -> Drop:
        return Drop(tokens.position != 1) if layer == 0 else super().before_layer(layer, tokens)


def make(
    method: str | type[TokenReducer], kind: Kind | None, model: Any = None, **params: Any
) -> ReducedEncoder:
    """A random encoder for vectors, or for one label without a pooling."""
    torch.manual_seed(0)
    if model is None:
        model = tiny_backbone(2, max_position_embeddings=40, num_labels=1).model
    backbone = Backbone(model)
    if kind is not None:
        pooling = Pooling(32, kind, normalise=kind == "mean")
        if pooling.map is not None:
            nn.init.normal_(pooling.map.weight, std=0.3)
        backbone = Backbone(model.base_model, pooling)
    cls = registry.get(method) if isinstance(method, str) else method
    reducer = cls(cls.Params(**params), len(backbone.layers), 32)
    for weight in reducer.parameters():  # methods that keep all would hide faults
        nn.init.normal_(weight, std=0.5)
    return ReducedEncoder(backbone, reducer).eval()


CASES: dict[str, tuple[str, Kind | None, dict[str, Any]]] = {
    "dense": ("dense", "mean", {}),
    "first-k": ("first-k", "mean", {"k": 3}),
    "lot": ("lot", "mean", {}),
    "lot-drop": ("lot", "mean", {"routing": "drop"}),
    "lot-cls": ("lot", "cls", {}),
    # Its tokens leap before the embedding, and are embedded for the mean.
    "lot-table": ("lot", "mean", {"decision_every": 2, "router": "table"}),
    "power-bert": ("power-bert", "mean", {}),
    "pairs": ("first-k", None, {"k": 4}),
}
VECTORS = [name for name in CASES if name != "pairs"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tokenizer) -> Callable[[str], tuple[Path, Path]]:
    """A function that returns the folders of a saved and of an exported model, by name."""
    root = tmp_path_factory.mktemp("models")

    def write(name: str) -> tuple[Path, Path]:
        source, folder = root / f"{name}-saved", root / name
        if not folder.exists():
            method, kind, params = CASES[name]
            checkpoint.save(source, make(method, kind, **params), tokenizer, [], 30)
            deploy.write(source, folder, "onnx-fp32", None, "")
        return source, folder

    return write


RUN = """
import json, sys
from pathlib import Path
from optimum.onnxruntime import ORTModelForSequenceClassification
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import AutoTokenizer

folders, texts, pairs = json.loads(sys.argv[1])
found = {}
for folder in folders:
    if (Path(folder) / "modules.json").exists():
        found[folder] = SentenceTransformer(folder, backend="onnx").encode(texts).tolist()
    else:
        found[folder] = CrossEncoder(folder, backend="onnx").predict(pairs).tolist()
        given = AutoTokenizer.from_pretrained(folder)(
            *map(list, zip(*pairs)), padding=True, truncation=True, return_tensors="pt"
        )
        model = ORTModelForSequenceClassification.from_pretrained(folder)
        found["optimum"] = model(**given).logits.tolist()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def elsewhere(folders) -> dict[str, Tensor]:
    """What sentence-transformers and optimum make of each folder, in an environment of their own.

    Optimum needs transformers 4, and LoTBench transformers 5.
    """
    python = os.environ.get(OTHER)
    if python is None:
        pytest.skip(f"{OTHER} does not name a Python with 'sentence-transformers[onnx]'")
    places = {name: str(folders(name)[1]) for name in CASES}
    done = in_other(python, RUN, json.dumps([list(places.values()), TEXTS, PAIRS]))
    names = {place: name for name, place in places.items()}
    return {names.get(key, key): torch.tensor(value) for key, value in json.loads(done).items()}


def in_other(python: str, code: str, *arguments: str, cwd: Path | None = None) -> str:
    """The last line that code prints in another Python."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", VECTORS)
def test_sentence_transformers_gives_the_same_vectors(name, folders, elsewhere):
    expected = lotbench.load(folders(name)[0]).encode(TEXTS)
    torch.testing.assert_close(elsewhere[name], expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_cross_encoder_and_optimum_give_the_same_scores(folders, elsewhere):
    expected = lotbench.load(folders("pairs")[0])(PAIRS)
    torch.testing.assert_close(elsewhere["pairs"], expected[:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(elsewhere["optimum"], expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_the_snippet_of_a_card_runs_where_it_says(folders, elsewhere):
    folder = folders("first-k")[1]
    text = (folder / "README.md").read_text()
    first, second = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    expected = lotbench.load(folder).encode(["the first text", "another one"])
    show = "print = lambda vectors: __import__('builtins').print(vectors.tolist())\n"
    for python, code in ((os.environ[OTHER], first), (sys.executable, second)):
        found = torch.tensor(json.loads(in_other(python, show + code, cwd=folder)))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_an_exported_model_gives_the_same_vectors(folders):
    source, folder = folders("lot")
    trained, model = lotbench.load(source), lotbench.load(folder)
    expected = trained.encode(TEXTS)
    assert expected.dtype == torch.float32
    for batch_size in (1, 32):
        vectors = model.encode(TEXTS, batch_size)
        torch.testing.assert_close(vectors, expected, rtol=0, atol=1e-5)
    assert model([]).shape == trained([]).shape == (0, 32)


IDS = [[2, 9, 8, 7, 3, 11, 10, 9, 3, 4, 5, 6, 9], [2, 3], [2, 5, 3, 7, 3, 9, 9]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("dense", "cls"),
        pytest.param("lot", "mean", marks=pytest.mark.long),
        pytest.param(Restores, "mean", marks=pytest.mark.long),
        (DropsForGood, "mean"),
    ],
)
def test_the_states_of_a_graph_pool_to_the_vector(method, kind):
    encoder = make(method, kind)
    session = onnxruntime.InferenceSession(export(encoder).model.SerializeToString())
    outputs = [(each.name, each.shape) for each in session.get_outputs()]
    assert outputs == [
        ("last_hidden_state", ["batch", "length", 32]),
        ("sentence_embedding", ["batch", 32]),
    ]
    given = feed([each.name for each in session.get_inputs()], IDS, [[0] * len(x) for x in IDS], [])
    states, vectors = session.run(None, given)
    batch = Batch.from_ids(IDS)
    with torch.no_grad():
        own = encoder(batch)
    np.testing.assert_allclose(vectors, own.logits, rtol=0, atol=1e-5)
    if kind == "cls":
        np.testing.assert_allclose(states[:, 0], vectors, rtol=0, atol=1e-5)
    else:
        total = (states * given["attention_mask"][..., None]).sum(1)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        np.testing.assert_allclose(total / length, vectors, rtol=0, atol=1e-5)
    # The states of tokens that the last layer computed are as they are.
    computed = slice(None) if own.behind is None else ~own.behind
    flat = torch.from_numpy(states)[batch.layout.inside][own.rows[computed]]
    torch.testing.assert_close(flat, own.hidden[computed], rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "mpnet",
        *(
            pytest.param(kind, marks=pytest.mark.long)
            for kind in ("electra, narrow embeddings", "distilbert", "modernbert")
        ),
    ],
)
def test_every_backbone_gives_vectors_in_every_runtime(kind):
    encoder = make("lot-fixed", "mean", random_model(kind, layers=1), keep_ratio=0.4)
    graph = export(encoder).model
    small = quantised(graph)
    for runtime, model, close in (
        ("onnx-fp32", graph, 1e-5),
        ("openvino-fp32", graph, 1e-4),
        ("onnx-int8", small, 0.1),
    ):
        assert_answers(encoder, IDS, graph=model, runtimes=[runtime], close=close)
    # The router and the map of the pooling are not quantised.
    products = sum(node.op_type == "MatMulInteger" for node in small.graph.node)
    assert products == 6 + ("narrow" in kind)


@pytest.mark.slow
def test_vectors_without_any_layer_run_in_both_runtimes():
    assert_answers(make("truncated", "mean", layers=0), IDS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [None, "mean"])
def test_a_bag_of_pairs_runs_in_both_runtimes(kind):
    """A pair, one whose second text is its separator, a text alone, and one token."""
    ids = [[1, 5, 6, 2, 7, 8, 9, 2], [1, 5, 2, 2], [1, 6, 7, 2], [1]]
    types = [[0] * 4 + [1] * 4, [0, 0, 0, 1], [0] * 4, [0]]
    encoder = make(Bag, kind)
    reducer, texts = encoder.reducer, Batch.from_ids(ids, types)
    with torch.no_grad():
        reducer.before_training([texts], encoder.backbone.words)
        nn.init.normal_(reducer.pair, std=0.3)
        assert_answers(encoder, ids, types)


@pytest.mark.slow
def test_a_protected_text_is_protected_in_the_graph():
    encoder = make("first-k", None, tiny_backbone(1).model, k=1)
    free = ReducedEncoder(encoder.backbone, encoder.reducer).eval()
    encoder.protect = 3
    assert_answers(encoder, IDS, runtimes=["onnx-fp32"], close=1e-5)
    batch = Batch.from_ids(IDS)
    with torch.no_grad():
        protected, other = encoder(batch).logits, free(batch).logits
    assert (protected - other).abs().max() > 1e-3


def test_a_classifier_has_no_vectors(save):
    with pytest.raises(InputError, match=r"gives logits, not sentence vectors; call it: model\("):
        lotbench.load(save()).encode(["a"])

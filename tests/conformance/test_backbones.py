"""Every method keeps the rules on encoders that have positions within attention."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from lotbench import registry
from lotbench.conformance import subject, texts
from lotbench.conformance.checklist import RULES, examine
from lotbench.conformance.tiny import CLASSES, VOCABULARY, WIDTH
from lotbench.engine.backbone import Backbone
from lotbench.engine.pooling import Pooling

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 66,
    "num_labels": CLASSES,
    "initializer_range": 0.3,
}
SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
KINDS: dict[str, dict[str, Any]] = {
    "MPNet": SIZES,
    "ModernBert": {
        **SIZES,
        **dict.fromkeys(SPECIAL, 0),
        "local_attention": 12,
        "global_attn_every_n_layers": 2,
        "classifier_pooling": "mean",
    },
}


def model(kind: str, layers: int) -> Any:
    """A random model, the same each time, whose norms and biases are not ones and zeros."""
    config = getattr(transformers, f"{kind}Config")(num_hidden_layers=layers, **KINDS[kind])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = getattr(transformers, f"{kind}ForSequenceClassification")(config)
        for parameter in made.parameters():
            if parameter.dim() == 1:
                nn.init.normal_(parameter, mean=float(parameter.all()), std=0.3)
    return made


def pooled(kind: str, layers: int) -> Backbone:
    """The same as an encoder of sentence vectors."""
    pooling = Pooling(WIDTH, "mean", normalise=True)
    assert pooling.map is not None
    nn.init.normal_(pooling.map.weight, std=0.3, generator=torch.Generator().manual_seed(1))
    states = model(kind, layers).base_model
    states.pooler = None
    return Backbone(states, pooling)


@pytest.fixture(params=KINDS)
def _kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = request.param
    monkeypatch.setattr(subject, "tiny_backbone", lambda layers: Backbone(model(kind, layers)))
    monkeypatch.setattr(subject, "pooled_backbone", lambda layers: pooled(kind, layers))
    # MPNet takes 1 for padding, whatever its place.
    ids = [[max(i, 2) for i in row] for row in texts.TEXTS.input_ids]
    monkeypatch.setattr(texts, "TEXTS", replace(texts.TEXTS, input_ids=ids))


@pytest.mark.parametrize("name", registry.names())
@pytest.mark.usefixtures("_kind", "_rotate_exactly")
@pytest.mark.slow
@pytest.mark.long
def test_a_method_keeps_its_rules_on_another_encoder(name):
    cheap = RULES[:-2]  # without the graph of sentence vectors, and real text
    verdicts = list(examine(subject.Subject(registry.get(name)), among=cheap))
    assert [v for v in verdicts if v.outcome != "ok"] == []

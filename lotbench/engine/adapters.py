"""The adapter of each supported Hugging Face model type."""

from __future__ import annotations

from lotbench.engine.adapter import Adapter
from lotbench.engine.bert import (
    BertAdapter,
    DistilBertAdapter,
    ElectraAdapter,
    MPNetAdapter,
    RobertaAdapter,
)
from lotbench.engine.modernbert import ModernBertAdapter
from lotbench.errors import InputError

ADAPTERS: dict[str, type[Adapter]] = {
    "bert": BertAdapter,
    "camembert": RobertaAdapter,
    "distilbert": DistilBertAdapter,
    "electra": ElectraAdapter,
    "modernbert": ModernBertAdapter,
    "mpnet": MPNetAdapter,
    "roberta": RobertaAdapter,
    "xlm-roberta": RobertaAdapter,
}


def adapter_of(kind: str, name: str = "the model") -> type[Adapter]:
    """The adapter of a ``model_type``; ``name`` is the model's, for a message."""
    if kind not in ADAPTERS:
        supported = ", ".join(sorted(ADAPTERS))
        raise InputError(
            f"{name} is of type {kind!r}, which is not supported; supported: {supported}"
        )
    return ADAPTERS[kind]

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

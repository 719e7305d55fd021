"""The adapter of each supported Hugging Face model type."""

from __future__ import annotations

from lotbench.engine.adapter import Adapter
from lotbench.engine.bert import BertAdapter, DistilBertAdapter, ElectraAdapter, RobertaAdapter

ADAPTERS: dict[str, type[Adapter]] = {
    "bert": BertAdapter,
    "camembert": RobertaAdapter,
    "distilbert": DistilBertAdapter,
    "electra": ElectraAdapter,
    "roberta": RobertaAdapter,
    "xlm-roberta": RobertaAdapter,
}

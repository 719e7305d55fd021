"""`Backbone`: one interface to every supported Hugging Face encoder.

It wraps the Hugging Face model itself, so a trained backbone is saved as a Hugging Face model.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from lotbench.engine.adapter import Layer
from lotbench.engine.adapters import adapter_of
from lotbench.engine.attention import attend, attend_and_receive
from lotbench.engine.pooling import Pooling
from lotbench.kinds.kind import SPANS

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Backbone(nn.Module):
    """A Hugging Face encoder as embedding, layers and classifier, or pooling.

    The model is for sequence classification, and its head makes logits; or for question answering,
    and its head makes a start and an end logit of each token; with a ``pooling``, which makes a
    sentence vector, it gives states alone.
    """

    def __init__(self, model: PreTrainedModel, pooling: Pooling | None = None) -> None:
        super().__init__()
        self.model, self.pooling = model, pooling
        adapter = adapter_of(model.config.model_type)(model)
        self.layers: tuple[Layer, ...] = tuple(adapter.layers())
        self.embed, self.classify = adapter.embed, adapter.classify
        self.last_norm = adapter.last_norm
        self.spans = type(model).__name__.endswith("ForQuestionAnswering")
        self.mean_head = pooling is None and adapter.mean_head and not self.spans
        # Not [CLS] alone.
        self.reads_all = pooling is not None or self.mean_head or self.spans
        self.input_modules = adapter.input_modules()
        head: nn.Linear | None = getattr(model, "qa_outputs", None)
        if head is None:  # ModernBERT reads spans with the modules of its classifier
            self.head_modules = [] if pooling else adapter.head_modules()
        else:
            self.classify, self.head_modules = head, [head]
        self.config = model.config
        self.width, self.heads = adapter.width, adapter.heads
        self.ffn_weights = adapter.ffn_weights()
        self.vocabulary = adapter.vocabulary
        labels = SPANS if self.spans else model.config.num_labels or 0
        self.n_labels: int = 0 if pooling else labels

    @property
    def outputs(self) -> int:
        """Numbers that the model answers for a text, or, of spans, for each of its tokens."""
        return 2 if self.spans else self.n_labels or self.width

    @property
    def words(self) -> Tensor:
        """The table of word embeddings, shape (V, E)."""
        embedding: Any = self.model.get_input_embeddings()
        return embedding.weight

    # Attributes, so that `lotbench.measure.breakdown` can replace them with timed ones.
    attend = staticmethod(attend)
    attend_and_receive = staticmethod(attend_and_receive)

    def split_heads(self, x: Tensor) -> Tensor:
        """The states split into heads, ``(T, D) -> (T, H, d)``."""
        return x.view(-1, self.heads, self.width // self.heads)

    def height(self, name: str) -> int:
        """Depth of the parameter: 0 in the embeddings, l + 1 in layer l, L + 1 in the head."""
        if "embeddings" in name or "relative_attention_bias" in name:  # of all layers
            return 0
        layer = re.search(r"\.layers?\.(\d+)\.", name)
        return int(layer[1]) + 1 if layer else len(self.layers) + 1

"""`Backbone`: one interface to every supported Hugging Face encoder.

It wraps the Hugging Face model itself, so a trained backbone is saved as a Hugging Face model.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from torch import Tensor, nn

from lotbench.engine.adapters import ADAPTERS, Layer
from lotbench.engine.attention import attend, attend_and_receive
from lotbench.errors import InputError
from lotbench.ragged import Ragged

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Backbone(nn.Module):
    """A Hugging Face sequence classifier as embedding, layers and classifier.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A model for sequence classification of a supported ``model_type``.

    Raises
    ------
    InputError
        If the model's type is not supported.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        kind = model.config.model_type
        if kind not in ADAPTERS:
            raise InputError(
                f"backbone of type {kind!r} is not supported; supported: "
                + ", ".join(sorted(ADAPTERS))
            )
        self.model = model
        self._adapter = ADAPTERS[kind](model)
        self.layers: tuple[Layer, ...] = tuple(self._adapter.layers())
        self.config = model.config
        self.width = self._adapter.width
        self.heads = self._adapter.heads
        self.ffn_width = self._adapter.ffn_width
        self.vocabulary = self._adapter.vocabulary
        self.n_labels = self._adapter.n_labels

    # Attributes, so that `lotbench.measure.breakdown` can replace them with timed ones.
    attend = staticmethod(attend)
    attend_and_receive = staticmethod(attend_and_receive)

    def embed(self, input_ids: Tensor, token_type_ids: Tensor, layout: Ragged) -> Tensor:
        """Input of the first layer, ``(T,), (T,) -> (T, D)``."""
        return self._adapter.embed(input_ids, token_type_ids, layout)

    def classify(self, first: Tensor) -> Tensor:
        """Logits from the [CLS] states, ``(B, D) -> (B, C)``."""
        return self._adapter.classify(first)

    def input_modules(self) -> list[nn.Linear]:
        """Linear layers that every token passes before the first layer."""
        return self._adapter.input_modules()

    def head_modules(self) -> list[nn.Linear]:
        """Linear layers after the last transformer layer."""
        return self._adapter.head_modules()

    def split_heads(self, x: Tensor) -> Tensor:
        """The states split into heads, ``(T, D) -> (T, H, d)``."""
        return x.view(-1, self.heads, self.width // self.heads)

    def height(self, name: str) -> int:
        """Depth of the parameter: 0 in the embeddings, l + 1 in layer l, L + 1 in the head."""
        if "embeddings" in name:
            return 0
        layer = re.search(r"\.layer\.(\d+)\.", name)
        return int(layer[1]) + 1 if layer else len(self.layers) + 1

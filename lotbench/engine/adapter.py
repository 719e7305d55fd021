"""`Adapter`: what the engine needs of a Hugging Face model; `Layer`: the parts of one layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from lotbench.engine.positions import Position
from lotbench.ragged import Ragged

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class Layer:
    """The parts of one transformer layer, each a callable on flat ``(T, D)`` rows.

    ``query``, ``key``, ``value`` project to ``(T, D)``; ``attention_output(heads, residual)`` and
    ``feed_forward(x)`` include dropout, residual and LayerNorm.  ``position`` is None if attention
    knows no places, as where the embeddings have them.
    """

    query: Callable[[Tensor], Tensor]
    key: Callable[[Tensor], Tensor]
    value: Callable[[Tensor], Tensor]
    attention_output: Callable[[Tensor, Tensor], Tensor]
    feed_forward: Callable[[Tensor], Tensor]
    position: Position | None = None


class Adapter(ABC):
    """The embedding, layers and classifier of a Hugging Face model.

    It calls the model's own submodules and copies no weights.  The model is one for sequence
    classification or question answering, or gives states alone.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.encoder = model.base_model
        # Copied, because reading a configuration of transformers takes microseconds each time.
        self.width: int = model.config.hidden_size
        self.heads: int = model.config.num_attention_heads
        self.vocabulary: int = model.config.vocab_size
        self.first_position = self.position_offset(model.config)
        self.mean_head = False  # True if the head reads the mean of the states, not that of [CLS]

    @staticmethod
    def position_offset(config: PretrainedConfig) -> int:
        """Row of the position table for the first token of a text."""
        return 0

    @abstractmethod
    def layers(self) -> list[Layer]:
        """The transformer layers, first to last."""

    @abstractmethod
    def embed(
        self, input_ids: Tensor, token_type_ids: Tensor, layout: Ragged, at: Tensor | None = None
    ) -> Tensor:
        """Input of the first layer, ``(T,), (T,) -> (T, D)``, or of its rows ``at`` (K,) alone."""

    def last_norm(self, hidden: Tensor) -> Tensor:
        """The states behind the norm after the last layer, if the model has one."""
        return hidden

    @abstractmethod
    def classify(self, first: Tensor) -> Tensor:
        """Logits from the states that the head reads, ``(B, D) -> (B, C)``."""

    def input_modules(self) -> list[nn.Linear]:
        """Linear layers that every token passes before the first layer."""
        return []

    @abstractmethod
    def head_modules(self) -> Sequence[nn.Module]:
        """The linear layers and norms of the head."""

    @abstractmethod
    def ffn_weights(self) -> int:
        """Number of weights in the matrices of a feed-forward."""

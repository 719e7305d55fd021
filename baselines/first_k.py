"""Control: keep the first k tokens of a text, and fine-tune.

It is often strong on news, where the first sentences suffice.  A pair of texts is shortened as a
tokenizer does it, from the end of the longer text.  [CLS] is the first token, so it is always kept.
All steps train the final model.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from lotbench import reducer
from lotbench.batch import Batch
from lotbench.ragged import Ragged, segment_count, segment_rank
from lotbench.reducer import Drop, Look, TokenReducer


class Params(reducer.Params):
    """Hyper-parameters."""

    k: int = Field(64, ge=1, le=65_536, description="tokens kept, [CLS] included")


class FirstK(TokenReducer):
    """Keeps the first ``k`` tokens in all layers."""

    params: Params
    name = "first-k"
    version = 2
    source = "control"
    look = Look(label="first-k", colour="#56B4E9", marker="P", role="control", order=1)
    budget_name = "k"
    budget_range = (1, 512)

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.k = params.k

    def before_embedding(self, batch: Batch, words: Tensor) -> Drop:
        return Drop(first_tokens(batch.text_of_token, batch.layout, self.k))


def first_tokens(text_of_token: Tensor, layout: Ragged, k: float | Tensor) -> Tensor:
    """Mask of the first ``k`` tokens of each sequence, shape (T,), bool.

    Two texts are cut at the same position; a shorter one is kept whole.
    """
    second = text_of_token > 0
    length_of_first = segment_count(~second, layout)[layout.sequence]
    place = layout.position - length_of_first * second
    return segment_rank(-place, layout) < k

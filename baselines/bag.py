"""Control: a weighted mean of the embeddings of a text, and no layer.

Source: the weights of Arora, Liang and Ma (ICLR 2017), "A simple but tough-to-beat baseline for
sentence embeddings", as start values.

Implemented: the weight of a vocabulary id starts at ``a / (a + p)``, with p its share of the tokens
of the training text, and is learned as its logarithm, so it stays positive.  The head, or the
pooling, reads the weighted mean m of a text's embeddings.  If the training text has pairs, with the
weighted means u and v of both texts, it reads ``m + W [u, v, u * v, |u - v|]``, where W (D, 4D)
starts at 0.  A text without a second one is read as m alone.

Deviations from the paper: weights are learned, because all methods train; the first principal
component is not removed, because a trained head can ignore it.

If the bag ties with the dense model, a task needs no encoder, and a speed-up there means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from lotbench import reducer
from lotbench.batch import Batch
from lotbench.ragged import segment_softmax, segment_sum, segment_weighted_sum
from lotbench.reducer import Look, Stage, TokenReducer, Tokens


class Params(reducer.Params):
    """Hyper-parameters."""

    a: float = Field(1e-3, gt=0, le=1, description="share of the tokens at which a weight is 1/2")
    bag_learning_rate: float = Field(
        2e-3, gt=0, le=10, description="of the weights and of the map of pairs"
    )


class Bag(TokenReducer):
    """Averages the embeddings by learned weights.

    ``log_weight`` (V,) is that of each vocabulary id, and ``pair`` (D, 4D) the map of pairs; both
    are empty before training, ``pair`` for good where no text has a second one.
    """

    params: Params
    name = "bag"
    source = "control"
    look = Look(label="bag", colour="#A6761D", marker="h", role="control", order=5)

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.active_layers = 0
        self.log_weight = nn.Parameter(torch.zeros(0))
        self.pair = nn.Parameter(torch.zeros(0, 4 * width))

    def stages(self) -> list[Stage]:
        rate = self.params.bag_learning_rate
        return [Stage("fine-tune", learning_rates={"log_weight": rate, "pair": rate})]

    def before_training(self, batches: Iterable[Batch], words: Tensor) -> None:
        count, pairs = words.new_zeros(len(words), dtype=torch.float64), False
        for batch in batches:
            count += torch.bincount(batch.input_ids, minlength=len(words))
            pairs = pairs or bool(batch.text_of_token.any())
        a = self.params.a
        self.log_weight.data = (a / (a + count / count.sum())).log().to(words.dtype)
        if pairs:
            self.pair.data = words.new_zeros(self.width, 4 * self.width)

    def summary(self, tokens: Tokens) -> Tensor:
        hidden, layout, batch = tokens.hidden, tokens.layout, tokens.batch
        ids = batch.input_ids[tokens.rows]
        known = self.log_weight[ids] if len(self.log_weight) else hidden.new_zeros(ids.shape)
        share = segment_softmax(known, layout).to(hidden.dtype)
        if not len(self.pair):
            return segment_weighted_sum(share, hidden, layout)
        second = batch.text_of_token[tokens.rows] > 0
        parts = [share.masked_fill(second, 0.0), share.masked_fill(~second, 0.0)]
        sums = [segment_weighted_sum(part, hidden, layout) for part in parts]
        shares = [segment_sum(part, layout).unsqueeze(1) for part in parts]
        u, v = (x / torch.where(w > 0, w, 1.0) for x, w in zip(sums, shares, strict=True))
        read = F.linear(torch.cat([u, v, u * v, (u - v).abs()], 1), self.pair)
        return sums[0] + sums[1] + torch.where(shares[1] > 0, read, 0.0)

    def overhead_flops(self, layer: int, n_tokens: Tensor) -> float:
        return 2.0 * self.pair.numel() if layer < 0 else 0.0

"""ToMe: in each layer the most similar tokens of a text merge, between attention and feed-forward.

Sources: Bolya, Fu, Dai, Zhang, Feichtenhofer and Hoffman, "Token Merging: Your ViT But Faster",
ICLR 2023, section 3; code: facebookresearch/ToMe.  With ``score: energy``: Tran, Nguyen, Nguyen,
Nguyen, Le, Xie, Sonntag, Zou, Nguyen and Niepert, "Accelerating Transformers with
Spectrum-Preserving Token Merging" (PiToMe), NeurIPS 2024, section 3.2; code: hchautran/PiToMe.

Implemented
- Similarity of two tokens: the cosine of their keys in the attention of the layer, mean over heads.
- ``score: similarity``: the tokens at even places of a text each find the most similar one at an
  odd place.  The r most similar pairs merge, and the token at the odd place stands for both.
- ``score: energy``: the energy of a token is the mean of ``f(cosine)`` over the other tokens, where
  f(x) is x from a margin upwards and exp(x - margin) - 1 below; the margin is 0.9 (1 - l / L).  The
  2r tokens of highest energy are near many others.  Every second of them, by energy, merges into
  the most similar one of the rest of them.  The tokens of low energy stay.
- The merged state is the mean weighted by size, and keys weigh by size (proportional attention).
- It has no parameters, so it also works without training (``train.epochs: 0``); a training goes
  through the merges.  All steps train the final model.

Deviations from the papers
- ToMe is for images.  Here the tokens are those of a text; [CLS] never merges, and neither do the
  tokens that `protect` keeps.
- r is ``merge_ratio`` of the text's own length, rounded down, since texts have many lengths.  It is
  a number of tokens in ToMe, and a share of the tokens that are left in PiToMe.
- At most half of the tokens that are left merge in a layer, [CLS] not counted.  This is as in ToMe,
  and limits the FLOPs speed-up: to about 4.5x with 6 layers, and 9x with 12.
- Similarities and energies are rounded to 1e-5, so that rounding does not choose among equal tokens
  (the same word twice).  Of equal ones the earlier is taken.

- The cosines of all pairs are computed and counted; ``similarity`` needs a quarter of them.

Deviations from the released codes
- Even and odd places are those in the text.  In ToMe's code tokens are reordered by each merge.
- Proportional attention is also on in training, so that a model is trained as it is used.  ToMe's
  code says to switch it off there.
- Keys are those before positions are applied, where a backbone rotates them (ModernBERT).
- PiToMe's code for text has a Gaussian kernel as energy, splits the 2r tokens into the upper and
  the lower half, has the margin 0.9 - 0.25 l / L, and merges in its last three layers.  Here it is
  as in the paper, in every layer.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from lotbench import reducer
from lotbench.ragged import Ragged, pad, segment_count, segment_rank, segment_topk, unpad
from lotbench.reducer import Look, Merge, Received, TokenReducer, Tokens

ROUNDING = 1e-5


class Params(reducer.Params):
    """Hyper-parameters (published for ToMe: 4% to 8% of an image's tokens in each of 12 layers)."""

    merge_ratio: float = Field(
        0.1, ge=0, le=1, description="share of a text's tokens that merge in each layer, up to half"
    )
    score: Literal["similarity", "energy"] = Field(
        "similarity", description="how tokens to merge are chosen: as in ToMe or in PiToMe"
    )


class TokenMerging(TokenReducer):
    """Token Merging; see the docstring of this module."""

    params: Params
    name = "tome"
    source = "Bolya et al., ICLR 2023"
    look = Look(label="ToMe", colour="#117733", marker="p", order=6)
    needs = frozenset({"keys"})
    budget_name = "merge_ratio"
    budget_range = (0, 1)

    @classmethod
    def look_with(cls, params: Params, n_layers: int) -> Look:
        energy = Look(label="PiToMe", colour="#2F7F86", marker="h", order=7)
        return energy if params.score == "energy" else super().look_with(params, n_layers)

    def __init__(self, params: Params, n_layers: int, width: int) -> None:
        super().__init__(params, n_layers, width)
        self.merge_ratio = params.merge_ratio
        self.key_width = 0  # of the backbone, known from the first pass

    def after_attention(self, layer: int, tokens: Tokens, received: Received | None) -> Merge:
        layout, keys = tokens.layout, tokens.keys
        assert keys is not None, "in needs"
        self.key_width = keys.shape[1]
        free = ~layout.is_first
        if tokens.protected is not None:
            free = free & ~tokens.protected
        # A share refers to the length of the whole text, not to the remaining tokens.
        wanted = (tokens.batch.layout.lengths.double() * self.merge_ratio + 1e-6).floor().long()
        count = torch.minimum(wanted, segment_count(free, layout) // 2)
        similarity = similarities(keys.detach(), layout)
        if self.params.score == "energy":
            energy = energies(similarity, free, layout, 0.9 * (1 - layer / self.n_layers))
            order = segment_rank(energy, layout)
            free = free & (order < 2 * count[layout.sequence])
        else:
            order = layout.position
        source, target = free & (order % 2 == 0), free & (order % 2 == 1)
        return Merge(match(similarity, source, target, count, layout))

    def overhead_flops(self, layer: int, n_tokens: Tensor) -> Tensor:
        return 2 * self.key_width * n_tokens**2


def similarities(keys: Tensor, layout: Ragged) -> Tensor:
    """Cosine of each two tokens of a text, padded, ``(T, d) -> (B, N, N)``."""
    wide = keys.to(torch.promote_types(keys.dtype, torch.float32))  # most cosines are near 1
    unit = pad(F.normalize(wide, dim=1), layout)
    with torch.autocast(keys.device.type, enabled=False):  # it would round cosines to 1/256
        return _rounded(unit @ unit.transpose(1, 2))


def energies(similarity: Tensor, free: Tensor, layout: Ragged, margin: float) -> Tensor:
    """Mean of ``f(cosine)`` over the other ``free`` (T,) tokens, (T,); -inf where not free."""
    near = torch.where(similarity >= margin, similarity, (similarity - margin).exp() - 1)
    others = 1 - torch.eye(layout.max_length, dtype=near.dtype, device=near.device)
    counted = pad(free.to(near.dtype), layout)[:, None, :] * others
    mean = (near * counted).sum(2) / counted.sum(2).clamp(min=1)
    return unpad(_rounded(mean), layout).masked_fill(~free, -torch.inf)


def match(
    similarity: Tensor, source: Tensor, target: Tensor, count: Tensor, layout: Ragged
) -> Tensor:
    """The groups (T,) after the best ``count`` (B,) sources of each text merge into a target.

    A token of ``source`` may merge into the token of ``target`` that is most similar to it.
    """
    barred = torch.where(target, 0.0, -torch.inf).to(similarity.dtype)
    best, place = (similarity + pad(barred, layout, fill=-torch.inf)[:, None, :]).max(2)
    best = unpad(best, layout).masked_fill(~source, -torch.inf)
    merges = segment_topk(best, count, layout) & best.isfinite()
    into = layout.first[layout.sequence] + unpad(place, layout)
    return torch.where(merges, into, layout.rows)


def _rounded(values: Tensor) -> Tensor:
    return (values / ROUNDING).round() * ROUNDING

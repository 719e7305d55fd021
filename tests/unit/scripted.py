"""Methods with scripted decisions, and a plain encoder on padded tensors to compare with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lotbench.ragged import segment_mean
from lotbench.reducer import Decision, Drop, Leap, Merge, Params, Received, TokenReducer, Tokens

MODES = ("packed", "reference")


class Fixed(TokenReducer):
    """Returns the decision of a function of (layer, point, tokens)."""

    name = "fixed"

    def __init__(self, n_layers: int, decide: Callable[[int, str, Tokens], Decision | None]):
        super().__init__(Params(), n_layers, 0)
        self.decide = decide

    def before_layer(self, layer: int, tokens: Tokens) -> Decision | None:
        return self.decide(layer, "before_layer", tokens)

    def after_attention(
        self, layer: int, tokens: Tokens, received: Received | None
    ) -> Decision | None:
        return self.decide(layer, "after_attention", tokens)


class Scripted(TokenReducer):
    """One kind of decision per (layer, point), from what it is shown: hidden states, attention.

    Since the choice depends on the states shown, two modes can only agree on it if they show the
    same ones.  ``script[layer]`` is a pair of kinds: "", "drop", "restore", "merge" (what is not
    kept, into the last kept token before it), and before a layer "leap", "context", "keys", "both".
    """

    name = "scripted"
    needs = frozenset({"received_attention"})

    def __init__(self, script: list[tuple[str, str]], seed: int, width: int, share: float = 0.5):
        super().__init__(Params(), len(script), width)
        self.script, self.share = script, share
        generator = torch.Generator().manual_seed(seed)
        self.directions = torch.randn(
            len(script), 2, width, generator=generator, dtype=torch.float64
        )

    def before_layer(self, layer: int, tokens: Tokens) -> Decision | None:
        return self._decide(layer, 0, tokens, 0.0)

    def after_attention(
        self, layer: int, tokens: Tokens, received: Received | None
    ) -> Decision | None:
        votes = (received.mean - received.own) * tokens.layout.lengths[tokens.layout.sequence]
        return self._decide(layer, 1, tokens, votes)

    def _decide(
        self, layer: int, point: int, tokens: Tokens, votes: Tensor | float
    ) -> Decision | None:
        kind = self.script[layer][point]
        if not kind:
            return None
        direction = self.directions[layer, point].to(tokens.hidden.dtype)
        scores = tokens.hidden.detach() @ direction + votes
        # A share p of a standard normal lies above sqrt(2) erfinv(1 - 2p).
        bar = math.sqrt(2 * self.width) * torch.erfinv(torch.tensor(1 - 2 * self.share)).item()
        keep = (scores > bar) | tokens.layout.is_first
        if kind in ("drop", "restore"):
            return Drop(keep, restore=kind == "restore")
        if kind == "merge":
            last_kept = torch.where(keep, tokens.layout.rows, 0).cummax(0).values
            return Merge(last_kept, proportional=layer % 2 == 0)
        context = keys = None
        if kind in ("context", "both"):
            context = segment_mean(tokens.hidden, tokens.layout)
        if kind in ("keys", "both"):  # among the kept as among the leaping
            keys = tokens.position % 2 == 1
        return Leap(keep, context=context, keys=keys, aux={"scores": scores})


@dataclass
class Soft:
    """Soft weights of one layer, each (B, L), 1 where not given."""

    leap: Tensor | None = None
    key: Tensor | None = None
    drop: Tensor | None = None
    drop_output: Tensor | None = None
    inner_drop: Tensor | None = None
    inner_drop_output: Tensor | None = None


@dataclass
class Plain:
    """A BERT classifier on padded tensors, from its weights alone, with soft decisions."""

    model: nn.Module
    states: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.states = dict(self.model.named_parameters())

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.states[f"{name}.weight"], self.states[f"{name}.bias"])

    def norm(self, name: str, x: Tensor) -> Tensor:
        mean = x.mean(-1, keepdim=True)
        spread = (x - mean).square().mean(-1, keepdim=True)
        scaled = (x - mean) / (spread + self.model.config.layer_norm_eps).sqrt()
        return scaled * self.states[f"{name}.weight"] + self.states[f"{name}.bias"]

    def embed(self, ids: Tensor, types: Tensor) -> Tensor:
        at = "bert.embeddings"
        places = torch.arange(ids.shape[1]).expand_as(ids)
        total = sum(
            self.states[f"{at}.{table}_embeddings.weight"][index]
            for table, index in (("word", ids), ("token_type", types), ("position", places))
        )
        return self.norm(f"{at}.LayerNorm", total)

    def attention(self, at: str, h: Tensor, weight: Tensor) -> Tensor:
        heads = self.model.config.num_attention_heads
        q, k, v = (
            self.linear(f"{at}.self.{part}", h).unflatten(-1, (heads, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        share = weight[:, None, None, :] * scores.exp()
        mixed = share @ v / share.sum(-1, keepdim=True)
        return self.linear(f"{at}.output.dense", mixed.transpose(1, 2).flatten(2))

    def layer(self, index: int, h: Tensor, mask: Tensor, soft: Soft) -> Tensor:
        at = f"bert.encoder.layer.{index}"
        if soft.drop is not None:
            h = h * soft.drop[..., None]
        key_weight = mask
        for weight in (soft.leap, soft.key):
            key_weight = key_weight if weight is None else key_weight * weight
        x = self.norm(
            f"{at}.attention.output.LayerNorm",
            h + self.attention(f"{at}.attention", h, key_weight),
        )
        if soft.inner_drop is not None:
            x = x * soft.inner_drop[..., None]
        inner = F.gelu(self.linear(f"{at}.intermediate.dense", x))
        y = self.norm(f"{at}.output.LayerNorm", x + self.linear(f"{at}.output.dense", inner))
        for factor in (soft.drop_output, soft.inner_drop_output):
            if factor is not None:
                y = y * factor[..., None]
        if soft.leap is not None:
            y = soft.leap[..., None] * y + (1 - soft.leap[..., None]) * h
        return y

    def __call__(
        self, ids: Tensor, types: Tensor, mask: Tensor, plan: list[Soft]
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, C) and final states (B, L, D)."""
        h = self.embed(ids, types)
        for index, soft in enumerate(plan):
            h = self.layer(index, h, mask, soft)
        pooled = self.linear("bert.pooler.dense", h[:, 0]).tanh()
        return self.linear("classifier", pooled), h


def at(
    layer: int | None, decide: Callable[[Tokens], Decision | None], point: str = "before_layer"
) -> Callable[[int, str, Tokens], Decision | None]:
    """Decides at this point of one layer, or of every layer."""

    def own(index: int, where: str, tokens: Tokens) -> Decision | None:
        return decide(tokens) if where == point and layer in (None, index) else None

    return own


def keep_places(places: set[int], kind: type[Leap] | type[Drop] = Leap, **more):
    """Keeps the tokens at these positions of their sequence."""

    def decide(tokens: Tokens) -> Decision:
        keep = torch.tensor([int(p) in places for p in tokens.position])
        return kind(keep, **more)

    return decide

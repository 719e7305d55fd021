"""Attention in a graph that is exported: texts are padded in two groups of similar length.

A graph has no sizes, so it cannot give every text a call of its own, as `attention` does.  Where
few of many texts keep many tokens, padding all texts to the longest took about a quarter of a
graph's time (32 texts, int8).  Two groups avoid most of that.  More of them gain little, and each
adds operators to every layer, also for one text.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lotbench.engine.attention import Heads, log_weight, mask_of, probabilities, received_by
from lotbench.engine.traced import Traced
from lotbench.reducer import Received


def attend_in_groups(
    whole: Heads, receive: bool, asking: Tensor | None = None
) -> tuple[Tensor, Received | None]:
    """The result of `attend`, or, to ``receive``, of `attend_and_receive`, in a graph."""
    queries, keys, weight = whole.queries, whole.keys, whole.weight
    assert isinstance(queries, Traced) and isinstance(keys, Traced)
    bias = None if weight is None else log_weight(weight).to(whole.query.dtype)
    count = whole.query.shape[1]
    # Gathering rows of heads needs no transposed copy before and after the products.
    query, key, value = (x.flatten(0, 1) for x in whole[:3])
    results: list[list[Tensor]] = []
    for number, (part, seen) in enumerate(queries.parts_with(keys)):
        pairs = whole.pairs and whole.pairs.part(number)
        group = whole._replace(queries=part, keys=seen, pairs=pairs)
        asked, shown = part.places_of_heads(count), seen.places_of_heads(count)
        shares = probabilities(query[asked], key[shown], mask_of(group, bias, query))
        results.append([(shares @ value[shown]).flatten(0, 2)])
        if receive:
            results[-1] += [x.flatten() for x in received_by(shares.mean(1), group, asking)]
    heads, *received = map(torch.cat, zip(*results, strict=True))
    heads = heads[queries.joined(count)]
    if not receive:
        return heads, None
    rows = queries.joined(1).flatten()
    return heads, Received(*(x.index_select(0, rows) for x in received))

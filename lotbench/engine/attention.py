"""Attention over ragged batches with key weights.

Weighted softmax: ``p_ij = w_j exp(s_ij) / sum_k w_k exp(s_ik)``.  A key of weight 1 is a normal
token; a key of weight 0 is absent.  The weight enters as an additive ``log w``, so fused kernels
remain usable.

On a GPU, attention without key weights uses the variable-length kernel if the installed torch has
it.  Everything else uses padded ``scaled_dot_product_attention``.  On a CPU, training cuts the
batch into runs: neighbouring sequences of similar length that share one padded call.  Inference on
a CPU pads nothing: each sequence gets a call of its own on views, which costs far less than
padding.

In bf16 training on a CPU, attention consists of explicit matrix products at every length, as in
the eager attention of Hugging Face.  Forward and backward together are at least twice as fast as
the fused kernel (measured up to 512 tokens).  They keep two bytes per head and pair of tokens.

Attention probabilities have no dropout in training: no fused CPU kernel supports it, and a random
number for every head and pair of tokens takes longer than attention itself.  All other dropout
of the backbone is applied as configured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lotbench.engine.positions import Pairs
from lotbench.ragged import Ragged, pad, unpad
from lotbench.reducer import Received

# Cost of a kernel call in training, forward and backward, in padded query-key pairs.
CALL_CELLS = 2048


class Heads(NamedTuple):
    """The tensors and layouts of one call: ``(Tq, H, d)``, and twice ``(Tk, H, d)``.

    ``weight`` (Tk,) has the weights of the keys or their logarithms.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    queries: Ragged
    keys: Ragged
    weight: Tensor | None
    pairs: Pairs | None = None


def log_weight(weight: Tensor) -> Tensor:
    """``log w``, shape (T,): -inf at w = 0, or a finite floor if ``w`` needs a gradient.

    With a floor f, the weight is ``f + (1 - f) w``.  A weight of 1 stays exactly 1, and the
    gradient at 0 equals that of the weighted softmax.  f is far below rounding, because an absent
    token may score far above the others.  Half precision uses the floor of single precision.
    """
    weight = weight.clamp(min=0)  # rounding may leave a little less
    if weight.requires_grad:
        weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
        floor = torch.finfo(weight.dtype).eps ** 2
        weight = floor + (1 - floor) * weight
    return weight.log()


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    queries: Ragged,
    keys: Ragged,
    key_weight: Tensor | None = None,
    pairs: Pairs | None = None,
) -> Tensor:
    """Attention output of every query token, shape ``(Tq, H, d)``.

    ``query`` is of shape (Tq, H, d), ``key`` and ``value`` are of shape (Tk, H, d); sequence b of
    ``queries`` attends to sequence b of ``keys``.  The weighted softmax takes ``key_weight`` (Tk,),
    None for all ones.  ``pairs`` are scores to add.
    """
    if varlen := _varlen(query, key_weight, pairs):
        starts = (layout.cu_seqlens.to(torch.int32) for layout in (queries, keys))
        heads = varlen(query, key, value, *starts, queries.max_length, keys.max_length)
        assert isinstance(heads, Tensor)  # a pair only where the normaliser is asked for
        return heads
    bias = None if key_weight is None else log_weight(key_weight).to(query.dtype)
    heads = Heads(query, key, value, queries, keys, bias, pairs)
    cuts = _runs(queries, keys, query.device)
    if len(cuts) == 2:  # one run
        return _padded(heads)
    if not torch.is_grad_enabled():
        return _one_by_one(heads)
    return torch.cat([_padded(run) for run in _split_into_runs(cuts, heads)])


def attend_and_receive(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Ragged,
    keys: Ragged,
    key_weight: Tensor | None = None,
    pairs: Pairs | None = None,
    asking: Tensor | None = None,
) -> tuple[Tensor, Received]:
    """Attention output ``(T, H, d)`` and what each query token receives as a key.

    The numbers equal those of `attend`, but the probabilities are explicit: the received attention
    needs them, and an additional fused kernel would compute ``QK^T`` twice.

    It takes what `attend` takes; ``layout`` is that of the queries.  The keys of a sequence begin
    with its query tokens; others may follow (tokens that leap, a context token).  ``asking`` (T,)
    bool has the queries that are present: attention that others give is not counted.  None is
    those whose ``key_weight`` is above 0.
    """
    heads = Heads(query, key, value, layout, keys, key_weight, pairs)
    cuts = _runs(layout, keys, query.device)
    if len(cuts) == 2:  # one run
        return _explicit(heads, asking)
    runs = list(_split_into_runs(cuts, heads))
    rows = [run.queries.total for run in runs]
    present = [None] * len(runs) if asking is None else asking.split(rows)
    parts = [_explicit(run, part) for run, part in zip(runs, present, strict=True)]
    means, selves = zip(*((received.mean, received.own) for _, received in parts), strict=True)
    return torch.cat([output for output, _ in parts]), Received(torch.cat(means), torch.cat(selves))


def _explicit(run: Heads, asking: Tensor | None) -> tuple[Tensor, Received]:
    """`attend_and_receive` by explicit products on one padded batch."""
    layout, key_weight = run.queries, run.weight
    q, k, v = batched(run)
    bias = None if key_weight is None else log_weight(key_weight).to(q.dtype)
    shares = probabilities(q, k, mask_of(run, bias, q))
    heads = (shares.to(v.dtype) @ v).transpose(1, 2)
    mean, diagonal = received_by(shares.mean(1), run, asking)
    return unpad(heads, layout), Received(unpad(mean, layout), unpad(diagonal, layout))


def received_by(shares: Tensor, run: Heads, asking: Tensor | None) -> tuple[Tensor, Tensor]:
    """Attention that padded tokens receive, as a mean over queries and from themselves, ``(B, q)``.

    ``shares`` are attention probabilities, ``(B, q, k)``, as the mean over heads.
    """
    layout, keys, key_weight = run.queries, run.keys, run.weight
    if layout.uniform and asking is None and key_weight is None:  # every query counts
        number = shares.new_full((), max(1, layout.max_length))
    else:
        counted = pad(shares.new_ones(layout.total), layout)
        if asking is not None:
            counted = counted * pad(asking, layout, fill=False)
        elif key_weight is not None:
            counted = counted * (pad(key_weight.detach(), keys)[:, : layout.max_length] > 0)
        shares = shares * counted.unsqueeze(-1)
        number = counted.sum(1, keepdim=True).clamp(min=1)
    mean = shares.sum(1)[:, : layout.max_length] / number
    return mean, shares.diagonal(dim1=1, dim2=2)


def probabilities(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """Attention probabilities ``(B, H, q, k)`` of padded heads."""
    scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-1, -2)
    return (scores if mask is None else scores + mask).softmax(-1)


def _runs(queries: Ragged, keys: Ragged, device: torch.device) -> list[int]:
    """First sequence of each run, then the batch size; a run shares one padded kernel call.

    A sequence joins the run before it unless the padding costs more than a call of its own.
    """
    uniform = queries.uniform and keys.uniform
    if device.type != "cpu" or uniform:
        return [0, queries.batch_size]
    call = CALL_CELLS if torch.is_grad_enabled() else 0
    cuts = [0]
    count = longest_query = longest_key = 0
    for b, (query, key) in enumerate(zip(queries.sizes, keys.sizes, strict=True)):
        separate = count * longest_query * longest_key + query * key + call
        longest_query, longest_key = max(longest_query, query), max(longest_key, key)
        if count and (count + 1) * longest_query * longest_key > separate:
            cuts.append(b)
            count, longest_query, longest_key = 0, query, key
        count += 1
    return [*cuts, queries.batch_size]


def _split_into_runs(cuts: list[int], whole: Heads) -> Iterator[Heads]:
    """Each run, as views."""
    query, key, value, queries, keys, weight, pairs = whole
    ends = list(pairwise(cuts))
    query_sizes = [queries.sizes[start:end] for start, end in ends]
    key_sizes = [keys.sizes[start:end] for start, end in ends]
    query_rows, key_rows = [[sum(run) for run in sizes] for sizes in (query_sizes, key_sizes)]
    weights = [None] * len(ends) if weight is None else weight.split(key_rows)
    scores = [None] * len(ends) if pairs is None else pairs.split(query_rows, key_rows)
    parts = (query.split(query_rows), key.split(key_rows), value.split(key_rows))
    for q, k, v, nq, nk, w, s in zip(*parts, query_sizes, key_sizes, weights, scores, strict=True):
        yield Heads(q, k, v, Ragged.from_lengths(nq), Ragged.from_lengths(nk), w, s)


def _one_by_one(whole: Heads) -> Tensor:
    """`attend` by one kernel call per sequence, on views."""
    query, key, value, queries, keys, bias, pairs = whole
    q, k, v = (x.unsqueeze(0).transpose(1, 2) for x in (query, key, value))
    masks: Sequence[Tensor | None] = [None] * keys.batch_size
    if bias is not None:
        masks = bias.view(1, -1).split(keys.sizes, 1)
    if pairs is not None:
        scores = [part.alone(query.dtype) for part in pairs.split(queries.sizes, keys.sizes)]
        masks = [s if m is None else s + m for s, m in zip(scores, masks, strict=True)]
    parts = (q.split(queries.sizes, 2), k.split(keys.sizes, 2), v.split(keys.sizes, 2), masks)
    heads = [F.scaled_dot_product_attention(*one) for one in zip(*parts, strict=True)]
    return torch.cat([head.transpose(1, 2) for head in heads], 1)[0]


def _varlen(
    query: Tensor, key_weight: Tensor | None, pairs: Pairs | None
) -> Callable[..., Any] | None:
    """The variable-length kernel, if it can run.

    It needs half precision, no weights or scores to add, and a head width of 8, 16, ... or 256.
    """
    half = query.dtype in (torch.float16, torch.bfloat16)
    fits = query.shape[-1] % 8 == 0 and query.shape[-1] <= 256
    plain = key_weight is None and pairs is None
    return _flash(query.device) if query.is_cuda and half and fits and plain else None


@cache
def _flash(device: torch.device) -> Callable[..., Any] | None:
    """The kernel of torch 2.10 and later, for an Ampere GPU or newer.

    Imported here, since the import takes seconds.
    """
    if torch.cuda.get_device_capability(device) < (8, 0):
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn


def mask_of(run: Heads, bias: Tensor | None, query: Tensor) -> Tensor | None:
    """Additive mask ``(B, 1, 1, max key)``: log weights, `Ragged.absent` on padding; None if
    all zero.

    With the scores of pairs it is ``(B, H, max query, max key)``.
    """
    keys = run.keys
    if run.pairs is not None:
        scores = run.pairs.padded(run.queries, keys, query.dtype)
        return scores if bias is None else scores + pad(bias, keys).unsqueeze(1).unsqueeze(1)
    if bias is not None:
        return pad(bias, keys, fill=keys.absent).unsqueeze(1).unsqueeze(1)
    if keys.uniform:
        return None
    return torch.where(keys.inside, query.new_zeros(()), keys.absent).unsqueeze(1).unsqueeze(1)


def batched(run: Heads) -> tuple[Tensor, Tensor, Tensor]:
    """Padded queries, keys and values, each ``(B, H, longest, d)``."""
    query, key, value, queries, keys, *_ = run
    q, k, v = queries.pad_any(query), keys.pad_any(key), keys.pad_any(value)
    return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)


def _padded(run: Heads) -> Tensor:
    """`attend` by one padded kernel call."""
    q, k, v = batched(run)
    mask = mask_of(run, run.weight, q)
    if q.is_cpu and q.dtype == torch.bfloat16 and torch.is_grad_enabled():
        with torch.autocast("cpu", enabled=False):  # autocast would keep the softmax in float32
            heads = probabilities(q, k, mask) @ v
    else:
        heads = F.scaled_dot_product_attention(q, k, v, mask)
    return unpad(heads.transpose(1, 2), run.queries)

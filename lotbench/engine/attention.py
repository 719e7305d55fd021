"""Attention over ragged batches with key weights.

Weighted softmax: ``p_ij = w_j exp(s_ij) / sum_k w_k exp(s_ik)``.  A key of weight 1 is a normal
token, 0 is absent.  As an additive ``log w`` it keeps the fused kernels usable.

On a GPU, hard weights run through variable-length attention where the installed torch has it,
everything else through padded ``scaled_dot_product_attention``.  On a CPU, outside training,
sequences of different lengths run one by one, on views: nothing is padded, masked or copied, and a
kernel call there costs far less than padding does.

Attention probabilities are not dropped out in training: no fused CPU kernel does that, and the
explicit one takes four times as long.  The other dropouts of the backbone stay as configured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lotbench.ragged import Ragged, pad, unpad
from lotbench.reducer import Received

# The fused CPU kernel's backward pass in bf16 loses to explicit products up to about this length
# (four times slower at 27 tokens, equal at 256).
EXPLICIT_LENGTH = 192

try:  # torch 2.10 and later
    from torch.nn.attention.varlen import varlen_attn
except ImportError:
    varlen_attn = None


def log_weight(weight: Tensor) -> Tensor:
    """``log w``: exactly -inf at 0, but a floor where a gradient must pass through w = 0.

    With floor f the weight used is ``f + (1 - f) w``: 1 stays exactly 1, and the gradient at 0 is
    that of the weighted softmax itself.  f is far below rounding, since an absent token may have
    a score far above the others', and half precision takes that of single.
    """
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
) -> Tensor:
    """Attention output of every query token, shape ``(Tq, H, d)``.

    Parameters
    ----------
    query : Tensor, shape (Tq, H, d)
    key, value : Tensor, shape (Tk, H, d)
    queries, keys : Ragged
        Layouts of the two; sequence b attends to sequence b.
    key_weight : Tensor, shape (Tk,), or None
        Weights of the weighted softmax; None is all ones.
    """
    if _varlen_fits(query, key_weight):
        return varlen_attn(
            query,
            key,
            value,
            queries.cu_seqlens.to(torch.int32),
            keys.cu_seqlens.to(torch.int32),
            queries.max_length,
            keys.max_length,
        )
    bias = None if key_weight is None else log_weight(key_weight).to(query.dtype)
    if _one_by_one(query, queries, keys):
        return torch.cat(
            [_padded(*one) for one in _sequences(query, key, value, queries, keys, bias)]
        )
    return _padded(query, key, value, queries, keys, bias)


def attend_and_receive(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Ragged,
    keys: Ragged,
    key_weight: Tensor | None = None,
) -> tuple[Tensor, Received]:
    """Attention output ``(T, H, d)`` and what each query token receives as a key.

    The same numbers as `attend`, from explicit probabilities: methods that look at the attention
    need those anyway, and a fused kernel beside them would multiply ``QK^T`` twice.

    Parameters
    ----------
    query : Tensor, shape (T, H, d)
    key, value : Tensor, shape (Tk, H, d)
    layout, keys : Ragged
        Layouts of queries and keys.  ``keys`` may hold more keys than ``layout`` at the end of
        each sequence (a context token).
    key_weight : Tensor, shape (Tk,), or None
        Queries of weight 0 are absent and do not vote.
    """
    if not _one_by_one(query, layout, keys):
        return _explicit(query, key, value, layout, keys, key_weight)
    parts = [_explicit(*one) for one in _sequences(query, key, value, layout, keys, key_weight)]
    received = Received(
        torch.cat([each.mean for _, each in parts]), torch.cat([each.own for _, each in parts])
    )
    return torch.cat([heads for heads, _ in parts]), received


def _explicit(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Ragged,
    keys: Ragged,
    key_weight: Tensor | None,
) -> tuple[Tensor, Received]:
    """`attend_and_receive` of one padded batch."""
    q, k, v = (
        pad(x, sizes).transpose(1, 2) for x, sizes in ((query, layout), (key, keys), (value, keys))
    )
    bias = None if key_weight is None else log_weight(key_weight).to(query.dtype)
    probabilities = _probabilities(q, k, _mask(keys, bias, query.dtype, query.device))
    heads = (probabilities.to(v.dtype) @ v).transpose(1, 2)

    voice = pad(probabilities.new_ones(layout.total), layout)
    if key_weight is not None:
        voice = voice * (pad(key_weight.detach(), keys)[:, : layout.max_length] > 0)
    shared = probabilities.mean(1) * voice.unsqueeze(-1)
    mean = shared.sum(1)[:, : layout.max_length] / voice.sum(1, keepdim=True).clamp(min=1)
    own = shared.diagonal(dim1=1, dim2=2)
    return unpad(heads, layout), Received(unpad(mean, layout), unpad(own, layout))


def _probabilities(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """Attention probabilities ``(B, H, q, k)`` of padded heads."""
    scores = (query @ key.transpose(-1, -2)) / math.sqrt(query.shape[-1])
    return (scores if mask is None else scores + mask).softmax(-1)


def append_context(
    values: Tensor, context: Tensor, layout: Ragged, present: Sequence[bool]
) -> tuple[Tensor, Ragged]:
    """Rows with one context row at the end of each sequence that has one, and their layout.

    Parameters
    ----------
    values : Tensor, shape (T, ...)
    context : Tensor, shape (B, ...)
    present : sequence of B bool
        The sequences that have a context.
    """
    if not any(present):
        return values, layout
    pieces: list[Tensor] = []
    for b, part in enumerate(values.split(layout.sizes)):
        pieces += [part, context[b : b + 1]] if present[b] else [part]
    sizes = tuple(size + one for size, one in zip(layout.sizes, present, strict=True))
    if all(present):  # the usual case, in which nothing has to be copied to the device
        shift = torch.arange(layout.batch_size + 1, device=values.device)
        return torch.cat(pieces), Ragged(layout.cu_seqlens + shift, sizes)
    return torch.cat(pieces), Ragged.from_lengths(sizes, device=values.device)


def _one_by_one(query: Tensor, queries: Ragged, keys: Ragged) -> bool:
    # Not in training: the many small steps back cost more than padding bucketed batches does.
    ragged = not (queries.uniform and keys.uniform)
    return ragged and query.device.type == "cpu" and not torch.is_grad_enabled()


def _sequences(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    queries: Ragged,
    keys: Ragged,
    weight: Tensor | None,
) -> Iterator[tuple[Tensor, Tensor, Tensor, Ragged, Ragged, Tensor | None]]:
    """The same arguments for each sequence alone, as views."""
    weights = [None] * keys.batch_size if weight is None else weight.split(keys.sizes)
    parts = (query.split(queries.sizes), key.split(keys.sizes), value.split(keys.sizes), weights)
    for q, k, v, w in zip(*parts, strict=True):
        yield q, k, v, Ragged.from_lengths([len(q)]), Ragged.from_lengths([len(k)]), w


def _varlen_fits(query: Tensor, key_weight: Tensor | None) -> bool:
    return (
        varlen_attn is not None
        and query.is_cuda
        and query.dtype in (torch.float16, torch.bfloat16)
        and key_weight is None
    )


def _mask(
    keys: Ragged, bias: Tensor | None, dtype: torch.dtype, device: torch.device
) -> Tensor | None:
    """Additive mask ``(B, 1, 1, max key)``: log weights, -inf on padding; None if all zero."""
    if bias is None:
        if keys.uniform:
            return None
        bias = torch.zeros(keys.total, dtype=dtype, device=device)
    return pad(bias, keys, fill=-torch.inf)[:, None, None, :]


def _padded(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    queries: Ragged,
    keys: Ragged,
    bias: Tensor | None,
) -> Tensor:
    """`attend` by one padded kernel call."""
    q, k, v = (
        pad(x, layout).transpose(1, 2)
        for x, layout in ((query, queries), (key, keys), (value, keys))
    )
    mask = _mask(keys, bias, query.dtype, query.device)
    slow = query.device.type == "cpu" and query.dtype == torch.bfloat16 and torch.is_grad_enabled()
    if slow and keys.max_length <= EXPLICIT_LENGTH:
        heads = _probabilities(q, k, mask).to(v.dtype) @ v
    else:
        heads = F.scaled_dot_product_attention(q, k, v, mask)
    return unpad(heads.transpose(1, 2), queries)

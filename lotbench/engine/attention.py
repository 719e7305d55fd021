"""Attention over ragged batches with key weights.

Weighted softmax: ``p_ij = w_j exp(s_ij) / sum_k w_k exp(s_ik)``.  A key of weight 1 is a normal
token, 0 is absent.  As an additive ``log w`` it keeps the fused kernels usable.

On a GPU, hard weights run through variable-length attention where the installed torch has it;
everything else runs through padded ``scaled_dot_product_attention``, in groups of similar length.

Attention probabilities are not dropped out in training: no fused CPU kernel does that, and the
explicit one takes four times as long.  The other dropouts of the backbone stay as configured.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lotbench.ragged import Ragged, pad, unpad
from lotbench.reducer import Received

# A group of sequences may pad its shorter members up to this factor, or this many tokens: below
# that a kernel call of its own costs more than the padding.
GROUP_RATIO, GROUP_SLACK = 1.25, 8

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
    if queries.uniform and keys.uniform:
        return unpad(_padded(query, key, value, queries, keys, bias), queries)
    if query.device.type == "cpu" and queries.batch_size > 1:
        groups = length_groups(queries.sizes, keys.sizes)
        if len(groups) > 1:
            return _grouped(query, key, value, queries, keys, bias, groups)
    return unpad(_padded(query, key, value, queries, keys, bias), queries)


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
    if query.device.type == "cpu" and layout.batch_size > 1:
        groups = length_groups(layout.sizes, keys.sizes)
    else:
        groups = [list(range(layout.batch_size))]
    if len(groups) == 1:
        return _explicit(query, key, value, layout, keys, key_weight)
    rows, heads, means, owns = [], [], [], []
    for group in groups:
        rows_q, layout_q = _rows(layout, group)
        rows_k, layout_k = _rows(keys, group)
        weight = None if key_weight is None else key_weight[rows_k]
        q, k, v = query[rows_q], key[rows_k], value[rows_k]
        out, received = _explicit(q, k, v, layout_q, layout_k, weight)
        rows.append(rows_q)
        heads.append(out)
        means.append(received.mean)
        owns.append(received.own)
    order = torch.cat(rows)

    def in_order(parts: list[Tensor]) -> Tensor:
        joined = torch.cat(parts)
        return torch.empty_like(joined).index_copy(0, order, joined)

    return in_order(heads), Received(in_order(means), in_order(owns))


def _explicit(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Ragged,
    keys: Ragged,
    key_weight: Tensor | None,
) -> tuple[Tensor, Received]:
    """`attend_and_receive` of one padded group."""
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
    key: Tensor, value: Tensor, context: tuple[Tensor, Tensor], layout: Ragged, present: Tensor
) -> tuple[Tensor, Tensor, Ragged]:
    """Keys and values with one context token at the end of each sequence that has one.

    Parameters
    ----------
    key, value : Tensor, shape (T, H, d)
    context : pair of Tensor, each (C, H, d)
        Context keys and values of the C sequences for which ``present`` (B,) is true, in order.
    """
    owners = present.nonzero().squeeze(1)
    if owners.numel() == 0:
        return key, value, layout
    if layout.batch_size == 1:
        sizes: Tensor | list[int] = [layout.total + 1]
    else:
        sizes = layout.lengths + present.to(torch.int64)
    longer = Ragged.from_lengths(sizes, device=key.device)
    if layout.batch_size == 1:
        return torch.cat([key, context[0]]), torch.cat([value, context[1]]), longer
    order = longer.position + layout.cu_seqlens[longer.sequence]
    at_end = longer.cu_seqlens[1:][owners] - 1
    order = order.index_copy(
        0, at_end, layout.total + torch.arange(owners.numel(), device=key.device)
    )
    return torch.cat([key, context[0]])[order], torch.cat([value, context[1]])[order], longer


def length_groups(queries: tuple[int, ...], keys: tuple[int, ...]) -> list[list[int]]:
    """Sequences grouped so that nobody is padded far beyond its own length.

    Sorted by key length, a group ends where padding to its longest member would exceed
    ``GROUP_RATIO`` and ``GROUP_SLACK``.
    """
    order = sorted(range(len(keys)), key=lambda b: (keys[b], queries[b]))
    groups: list[list[int]] = []
    shortest = -1
    for b in order:
        limit = max(shortest * GROUP_RATIO, shortest + GROUP_SLACK)
        if not groups or keys[b] > limit:
            groups.append([])
            shortest = keys[b]
        groups[-1].append(b)
    return groups


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
    """Attention of one padded group, shape ``(B, max query, H, d)``."""
    q, k, v = (
        pad(x, layout).transpose(1, 2)
        for x, layout in ((query, queries), (key, keys), (value, keys))
    )
    mask = _mask(keys, bias, query.dtype, query.device)
    slow = query.device.type == "cpu" and query.dtype == torch.bfloat16 and torch.is_grad_enabled()
    if slow and keys.max_length <= EXPLICIT_LENGTH:
        return (_probabilities(q, k, mask).to(v.dtype) @ v).transpose(1, 2)
    return F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2)


def _grouped(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    queries: Ragged,
    keys: Ragged,
    bias: Tensor | None,
    groups: list[list[int]],
) -> Tensor:
    """`_padded` group by group; gathers each group's rows and puts the outputs back in order."""
    q_rows, parts = [], []
    for group in groups:
        rows_q, layout_q = _rows(queries, group)
        rows_k, layout_k = _rows(keys, group)
        part_bias = None if bias is None else bias[rows_k]
        part = _padded(query[rows_q], key[rows_k], value[rows_k], layout_q, layout_k, part_bias)
        parts.append(unpad(part, layout_q))
        q_rows.append(rows_q)
    return torch.empty_like(query).index_copy(0, torch.cat(q_rows), torch.cat(parts))


def _rows(layout: Ragged, group: list[int]) -> tuple[Tensor, Ragged]:
    """Rows of the sequences in ``group``, in order, and their layout."""
    part = Ragged.from_lengths([layout.sizes[b] for b in group], device=layout.cu_seqlens.device)
    start = layout.cu_seqlens[torch.tensor(group, device=layout.cu_seqlens.device)]
    return part.position + start[part.sequence], part

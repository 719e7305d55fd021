"""Ragged attention against torch's own on padded tensors.

The reference is `scaled_dot_product_attention` on heads that are padded already, with the mask
that Hugging Face gives it; the ragged side starts from rows and pays for its own layout.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lotbench.engine.attention import attend, attend_and_receive
from lotbench.ragged import Ragged, pad

RATIO = "padded SDPA / ragged"
HEADS, HEAD_WIDTH = 12, 32
LENGTHS = {
    "32 of 3 to 18": [3 + (7 * i) % 16 for i in range(32)],
    "32 of 8 to 39": [8 + (7 * i) % 32 for i in range(32)],
    "32 of 8 to 39, sorted": [*range(8, 40)],
    "16 of 128": [128] * 16,
    "32 of 132 to 256": [132 + 4 * ((7 * i) % 32) for i in range(32)],
}


@pytest.fixture(params=LENGTHS)
def mix(request):
    return request.param, Ragged.from_lengths(LENGTHS[request.param])


def padded_heads(rows: torch.Tensor, layout: Ragged) -> torch.Tensor:
    """``(T, H, d) -> (B, H, max_length, d)``, a new leaf tensor."""
    heads = pad(rows.detach(), layout).transpose(1, 2).contiguous()
    return heads.requires_grad_(rows.requires_grad)


def padding_mask(layout: Ragged) -> torch.Tensor | None:
    """True on tokens, shape (B, 1, 1, max_length); None without padding."""
    if layout.uniform:
        return None
    return (torch.arange(layout.max_length) < layout.lengths[:, None])[:, None, None]


@pytest.mark.parametrize("function", [attend, attend_and_receive])
def test_inference(compare, mix, function):
    name, layout = mix
    query, key, value = torch.randn(3, layout.total, HEADS, HEAD_WIDTH)
    padded = [padded_heads(rows, layout) for rows in (query, key, value)]
    mask = padding_mask(layout)

    def ragged():
        return function(query, key, value, layout, layout)

    def reference():
        return F.scaled_dot_product_attention(*padded, mask)

    compare(f"{function.__name__}, {name}", [reference], [ragged])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_forward_and_backward(compare, mix, dtype):
    name, layout = mix
    rows = [
        torch.randn(layout.total, HEADS, HEAD_WIDTH, dtype=dtype, requires_grad=True)
        for _ in range(3)
    ]
    padded = [padded_heads(each, layout) for each in rows]
    mask = padding_mask(layout)
    step, padded_step = torch.randn_like(rows[0]), torch.randn_like(padded[0])

    def ragged():
        return torch.autograd.grad(attend(*rows, layout, layout), rows, step)

    def reference():
        out = F.scaled_dot_product_attention(*padded, mask)
        return torch.autograd.grad(out, padded, padded_step)

    compare(f"attend, {str(dtype)[6:]} training, {name}", [reference], [ragged], training=True)

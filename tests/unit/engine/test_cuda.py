"""The engine on a GPU: equal results, and no wait for the device with a fixed budget."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.lot import FixedBudget, LeapOfThought
from lotbench.reducer import TokenReducer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@contextmanager
def forbidden_to_wait() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def routed(backbone: Backbone, cls: type[LeapOfThought], dtype: torch.dtype) -> ReducedEncoder:
    """On the GPU, with routers that keep about half of what they see."""
    method = cls(cls.Params(), len(backbone.layers), backbone.width)
    for router in method.routers:
        torch.nn.init.normal_(router.outer.weight, std=0.5)
        torch.nn.init.zeros_(router.outer.bias)
    return ReducedEncoder(backbone, method).to("cuda", dtype).eval()


@pytest.mark.parametrize("cls", [LeapOfThought, FixedBudget])
@pytest.mark.parametrize("lengths", [[30, 4, 17, 9], [12, 12, 12]])
def test_packed_equals_reference(make_backbone, make_batch, cls, lengths):
    encoder = routed(make_backbone(), cls, torch.float64)
    batch = make_batch(lengths).to("cuda")
    with torch.inference_mode():
        packed, reference = encoder(batch), encoder(batch, "reference")
    torch.testing.assert_close(packed.logits, reference.logits, rtol=0, atol=1e-8)
    for one, other in zip(packed.trace.queries, reference.trace.queries, strict=True):
        assert one.equal(other)


def test_variable_length_attention_in_bfloat16_is_near_single(make_backbone, make_batch):
    backbone = make_backbone(hidden_size=64, num_attention_heads=2)
    encoder = ReducedEncoder(backbone, TokenReducer(TokenReducer.Params(), 3, 64)).cuda()
    batch = make_batch([30, 4, 17, 9]).to("cuda")
    with torch.inference_mode():
        single = encoder.float()(batch).logits
        half = encoder.bfloat16()(batch).logits
    torch.testing.assert_close(half.float(), single, rtol=0.1, atol=0.1)


def test_a_fixed_budget_needs_no_synchronisation_and_runs_as_a_cuda_graph(
    make_backbone, make_batch
):
    encoder = routed(make_backbone(), FixedBudget, torch.float32)
    batch = make_batch([24] * 8).to("cuda")
    with torch.inference_mode():
        wanted = encoder(batch).logits
        with forbidden_to_wait():
            encoder(batch)
        compiled = torch.compile(encoder, fullgraph=True, dynamic=False, mode="reduce-overhead")
        for _ in range(3):  # warm up, record, replay
            torch.testing.assert_close(compiled(batch).logits, wanted, rtol=0, atol=1e-4)

"""Training in mixed precision, with dropout, in both modes and with both presets of LoT."""

import pytest
import torch
from scripted import Fixed

from lotbench.batch import Batch
from lotbench.engine.encoder import ReducedEncoder
from lotbench.losses import task_loss
from lotbench.lot import LeapOfThought, Params
from lotbench.ragged import segment_mean
from lotbench.reducer import Leap, Tokens


def with_saliency(batch: Batch) -> Batch:
    batch.saliency = torch.rand(batch.layout.total)
    return batch


@pytest.mark.parametrize("lengths", [[30, 4, 17, 9], [12, 12], [25]])
@pytest.mark.parametrize(
    ("preset", "mode"),
    [("paper", "reference"), ("recommended", "reference"), ("recommended", "packed")],
)
@pytest.mark.parametrize("bias", [None, 0.0])
def test_a_bfloat16_step_trains_backbone_and_routers(
    make_backbone, make_batch, preset, mode, lengths, bias
):
    """With ``bias`` 0 about half of the tokens leap, with the preset's bias none."""
    backbone = make_backbone().float()
    given = {} if bias is None else {"router_bias": bias}
    method = LeapOfThought(Params(preset=preset, **given), 3, 32)
    encoder = ReducedEncoder(backbone, method).train()
    batch = with_saliency(make_batch(lengths))
    batch.teacher_logits = torch.zeros(len(lengths), backbone.config.num_labels)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = encoder(batch, mode)
        terms = method.loss(outputs, batch, outputs.trace)
        loss = task_loss(outputs.logits, batch.labels) + sum(terms.values())
    loss.backward()
    assert loss.isfinite()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    for name, parameter in method.named_parameters():
        assert parameter.grad.any(), name
    if bias == 0.0:
        assert outputs.trace.queries[0].sum() < batch.layout.total


@pytest.mark.parametrize("mode", ["packed", "reference"])
def test_bfloat16_is_close_to_single_precision(make_backbone, make_batch, mode):
    """With the same decisions, logits of about 3 differ by a few percent."""

    def decide(layer: int, point: str, tokens: Tokens) -> Leap | None:
        if point == "after_attention":
            return None
        keep = ((tokens.position + layer) % 3 > 0) | tokens.layout.is_first
        return Leap(keep, context=segment_mean(tokens.hidden, tokens.layout))

    backbone = make_backbone(initializer_range=0.1).float()
    backbone.model.classifier.weight.data.mul_(10)
    encoder, batch = ReducedEncoder(backbone, Fixed(3, decide)), make_batch([30, 4, 17])
    with torch.no_grad():
        single = encoder(batch, mode)
        with torch.autocast("cpu", torch.bfloat16):
            half = encoder(batch, mode)
    assert half.logits.dtype == torch.bfloat16
    assert single.logits.abs().max() > 2
    torch.testing.assert_close(half.logits.float(), single.logits, rtol=0, atol=0.1)

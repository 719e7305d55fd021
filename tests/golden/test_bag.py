"""The control bag, against hand-computed numbers."""

import pytest
import torch

from baselines.bag import Bag
from baselines.truncated import Truncated
from lotbench.batch import Batch
from lotbench.measure.flops import reduced_flops
from lotbench.reducer import Tokens

PAIR = [1, 5, 3, 6, 3]
"""[CLS] 5 [SEP], then 6 [SEP]."""
TYPES = [0, 0, 0, 1, 1]


def read(reducer: Bag, batch: Batch, states: list[list[float]]) -> list[list[float]]:
    """What the head reads of each text."""
    hidden = torch.tensor(states, dtype=torch.float32)
    with torch.no_grad():
        return reducer.summary(Tokens(hidden, batch.layout, batch.layout.rows, batch)).tolist()


@pytest.fixture
def bag():
    """A bag of width 2 with weights 4 of word 5 and 3 of word 6, and 1 of all others."""
    reducer = Bag(Bag.Params(), 2, 2)
    reducer.log_weight.data = torch.tensor([1, 1, 1, 1, 1, 4, 3, 1]).log()
    return reducer


def test_a_weight_starts_by_the_share_of_the_tokens():
    reducer = Bag(Bag.Params(a=0.1), 2, 2)
    texts = [Batch.from_ids([[1, 5, 5, 3], [1, 6, 3]]), Batch.from_ids([[1, 5, 3]])]
    reducer.before_training(iter(texts), torch.zeros(8, 2))
    # Of 10 tokens words 1, 3 and 5 are three each, 6 is one, 7 is none: 0.1 / (0.1 + 0.3), ...
    assert reducer.log_weight.exp()[[1, 3, 5, 6, 7]].tolist() == pytest.approx(
        [0.25, 0.25, 0.25, 0.5, 1]
    )
    assert reducer.pair.numel() == 0  # no text has a second one
    reducer.before_training([Batch.from_ids([PAIR], [TYPES])], torch.zeros(8, 2))
    assert reducer.pair.shape == (2, 8) and not reducer.pair.any()


def test_a_text_is_the_weighted_mean_of_its_tokens(bag):
    # Weights 1, 4, 1: (1 * 6 + 4 * 0 + 1 * 0, 1 * 0 + 4 * 3 + 1 * 6) / 6.  One token is itself.
    texts = Batch.from_ids([[1, 5, 3], [5]])
    (long, short) = read(bag, texts, [[6, 0], [0, 3], [0, 6], [7, -1]])
    assert long == pytest.approx([1, 3]) and short == pytest.approx([7, -1])


@pytest.mark.parametrize("types", [None, [TYPES]], ids=["separators", "token types"])
def test_a_pair_is_also_read_by_both_bags_their_product_and_difference(bag, types):
    states = [[6, 0], [0, 3], [0, 6], [4, 0], [0, 4]]
    # u = (6, 12 + 6) / 6 = (1, 3), v = (3 * 4, 4) / 4 = (3, 1), the mean (6 + 12, 18 + 4) / 10.
    bag.pair.data = torch.zeros(2, 8)
    assert read(bag, Batch.from_ids([PAIR], types), states)[0] == pytest.approx([1.8, 2.2])
    # u v = (3, 3) and |u - v| = (2, 2).
    bag.pair.data[0] = torch.tensor([1, 10, 100, 1000, 0, 0, 0, 0])  # 1 + 30 + 300 + 1000
    bag.pair.data[1] = torch.tensor([0, 0, 0, 0, 1, 10, 100, 1000])  # 3 + 30 + 200 + 2000
    wanted = [1331 + 1.8, 2233 + 2.2]
    assert read(bag, Batch.from_ids([PAIR], types), states)[0] == pytest.approx(wanted)


def test_without_a_second_text_there_is_the_mean_alone(bag):
    """Of the second text nothing is left, or its separator alone, beside a whole pair."""
    bag.pair.data = torch.ones(2, 8)
    ids = [[1, 5, 3], [1, 5, 3, 3], PAIR, [1]]
    types = [[0, 0, 0], [0, 0, 0, 1], TYPES, [0]]
    states = [[6, 0], [0, 3], [0, 6], [6, 0], [0, 3], [0, 6], [2, 2]]
    states += [[6, 0], [0, 3], [0, 6], [4, 0], [0, 4], [5, 5]]
    cut, separator, _, one = read(bag, Batch.from_ids(ids, types), states)
    assert cut == pytest.approx([1, 3]) and one == pytest.approx([5, 5])
    # u = (1, 3), v = (2, 2), u v = (2, 6), |u - v| = (1, 1): 18, and the mean (8, 20) / 7.
    assert separator == pytest.approx([18 + 8 / 7, 18 + 20 / 7])


def test_before_training_it_is_the_mean_of_the_embeddings(reduced, batch):
    texts = batch([4, 7])
    bag, plain = reduced(Bag, layers=2), reduced(Truncated, layers=2)
    plain.reducer.active_layers = 0
    for mode in ("packed", "reference"):
        torch.testing.assert_close(bag(texts, mode).logits, plain(texts).logits, rtol=0, atol=1e-12)


def test_flops_are_those_of_the_head_and_the_map_of_pairs(reduced, batch):
    encoder, texts = reduced(Bag, layers=2), batch([4, 7])
    head = 2 * 32 * 32 + 2 * 32 * 2  # the pooler, and two classes
    for pairs in (0, 2 * 32 * 4 * 32):
        flops = reduced_flops(encoder(texts).trace, encoder.backbone, encoder.reducer)
        assert flops.tolist() == [head + pairs] * 2
        encoder.reducer.pair.data = torch.zeros(32, 4 * 32).double()

"""Leap-of-Thought with `reads: match` and `after`: the features, their place, planted faults."""

import inspect
import sys
from types import ModuleType

import match_by_hand as by_hand
import pytest
import torch

from baselines.window import Window
from lotbench import lot, matching
from lotbench.batch import Batch
from lotbench.lot import FixedBudget, LeapOfThought
from lotbench.reducer import Stage, Step

PAIRS = [[1, 5, 6, 3, 7, 5, 8, 9, 3], [1, 8, 3, 5, 8, 6, 7, 3]]
ONCE = {"after": 1, "decision_every": 1000}

# Fault -> (the check that finds it, the source, what the fault has in its place).
FAULTS = {
    "the wrong text": ("words", "~(second | batch.layout", "second & ~(batch.layout"),
    "[SEP] is a word": ("words", " | batch.is_separator)", ")"),
    "[CLS] is a word": ("words", "batch.layout.is_first | ", ""),
    "words of other texts of the batch": (
        "words",
        "unpad(same.any(2), layout)",
        "torch.isin(batch.input_ids, batch.input_ids[sides.words])",
    ),
    "smoothed over texts of the batch": (
        "words",
        " & (layout.sequence[inside] == layout.sequence.unsqueeze(1))",
        "",
    ),
    "the first text has features": ("words", "number.masked_fill(~second, 0.0)", "number"),
    "single texts are first texts": ("words", " & (count > 0)[layout.sequence]", ""),
    "the place in both texts": ("words", "(layout.position - start)", "layout.position"),
    "idf of occurrences": ("idf", ".unique()", ""),
    "products without normalisation": ("states", "F.normalize(hidden.detach(), dim=1)", "hidden"),
    "cosines with the own text": ("states", ".masked_fill(other, -1.0)", ""),
    "cosines smoothed over the first text": (
        "states",
        "unpad(cosine, layout).masked_fill(~second, 0.0)",
        "unpad(cosine, layout)",
    ),
    "the sum of the neighbours": (
        "states",
        " / smoothed(second.to(best.dtype), layout, 5).clamp(min=1)",
        "",
    ),
    "a layer too early": ("place", "since < 0 or (reused", "since < -1 or (reused"),
    "states of an earlier layer": (
        "place",
        "state_rows(tokens.hidden,",
        "state_rows(vars(self).setdefault('kept', tokens.hidden.clone()),",
    ),
}


def test_the_numbers_of_each_token():
    by_hand.check_words(matching)
    by_hand.check_states(matching)
    by_hand.check_idf(matching)


def test_layers_before_the_decision_compute_all(reduced):
    by_hand.check_place(lot, reduced)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault, reduced, monkeypatch):
    check, right, wrong = FAULTS[fault]
    module = lot if check == "place" else matching
    source = inspect.getsource(module)
    assert source.count(right) == 1
    faulty = ModuleType("faulty")
    monkeypatch.setitem(sys.modules, "faulty", faulty)
    exec(source.replace(right, wrong), vars(faulty))
    with pytest.raises(AssertionError):
        getattr(by_hand, f"check_{check}")(faulty, *[reduced] * (check == "place"))


@pytest.mark.parametrize("values", [{}, {"router": "table"}, ONCE], ids=str)
def test_only_pairs_are_read(reduced, values):
    """At first nothing is; after training the routers of single texts read as they did."""
    own, match = (reduced(LeapOfThought, reads=reads, **values) for reads in ("self", "match"))
    missing, _ = match.reducer.load_state_dict(own.reducer.state_dict(), strict=False)
    assert all(name.endswith("match") for name in missing if name != "idf")
    pairs, single = Batch.from_ids(PAIRS), Batch.from_ids([[1, 5, 6, 5, 3], [1, 3]])

    def equal(batch):
        with torch.no_grad():
            return match(batch).logits.equal(own(batch).logits)

    assert equal(pairs) and equal(single)
    for name, parameter in match.reducer.named_parameters():
        if name.endswith("match"):
            torch.nn.init.constant_(parameter, -3.0)
    assert equal(single) and not equal(pairs)


def test_idf_is_counted_once_and_only_if_it_is_read(reduced):
    method = reduced(LeapOfThought, reads="match").reducer
    method.before_training(iter([Batch.from_ids(PAIRS)]), torch.zeros(20, 4))
    again = reduced(LeapOfThought, reads="match").reducer
    again.load_state_dict(method.state_dict())
    # 3 is in both of two texts, 9 in one, 10 in none.
    assert again.idf[[3, 9, 10]].exp().tolist() == pytest.approx([1, 1.5, 3])
    reduced(LeapOfThought).reducer.before_training(iter([None]), torch.zeros(20, 4))


def test_the_router_can_be_the_window_in_second_texts(reduced):
    window = reduced(Window, static_weight=0.0)
    fixed = reduced(FixedBudget, router="table", reads="match", first_share=0.5)
    window.reducer.idf = fixed.reducer.idf = torch.linspace(0, 3, 20).index_fill(
        0, torch.tensor([1, 3]), 0.0
    )
    router = fixed.reducer.word_router
    for parameter in router.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        router.match.copy_(torch.tensor([0.0, 0, 0, 1, 0]))
    batch = Batch.from_ids(PAIRS)
    for budget in (0.2, 0.5, 0.6, 0.8):
        kept = []
        for encoder in (window, fixed):
            with encoder.reducer.at_budget(budget), torch.no_grad():
                (event, *_) = encoder(batch).trace.events
            kept.append(event.decision.keep[batch.text_of_token > 0])
        assert kept[0].equal(kept[1])


def test_a_balance_by_hand():
    """[CLS] 5 [SEP] 5 6 [SEP] with an idf of 7 for 5: the window is 7, 6, 5 in the second text.

    Its mean is 6 and its spread sqrt(2 / 3).  Margins of 4, 2, 0 there have the mean 2 and twice
    the spread, so both become a, 0, -a with a = sqrt(3 / 2).
    """
    batch = Batch.from_ids([[1, 5, 3, 5, 6, 3], [1, 5, 3]])
    margin = torch.tensor([2.0, 6, 2, 4, 2, 0, 9, 8, 7])
    idf = torch.zeros(10).index_fill(0, torch.tensor([5]), 7.0)
    found = matching.balanced(margin, batch, idf, torch.tensor([0.25, 10.0])).tolist()
    a = 1.5**0.5
    first = [10, 10 + 0.75 * 2 * a, 10]
    assert found == pytest.approx([*first, a, 0, -a, 9, 8, 7], abs=1e-4)


@pytest.mark.parametrize("distilled", [False, True])
def test_the_balance_of_the_lower_loss_is_chosen(reduced, distilled):
    encoder = reduced(FixedBudget, router="table", reads="match", balance="chosen")
    method, batch = encoder.reducer, Batch.from_ids(PAIRS)
    method.before_training(iter([batch]), encoder.backbone.words)
    words, match = matching.BALANCES

    def step(progress, best, factor=1.0):
        class Fixed(Step):
            def objective(self, logits, batch):
                loss = factor * (method.balance - torch.tensor(best)).abs().sum()
                return {"task": -loss, "distillation": loss} if distilled else {"task": loss}

        method.training_step(encoder, batch, Fixed(Stage("route"), progress, torch.Generator()))
        assert encoder.training and method.keep_ratio == 0.25
        return tuple(method.balance.tolist())

    encoder.train()
    assert step(0.0, match) == step(0.02, words, 0.5) == match  # by the sum of both
    assert step(0.04, words, 2.0) == words
    assert step(0.06, match, 9.0) == step(0.9, match, 9.0) == words  # decided


@pytest.mark.parametrize("values", [{"router": "state"}, {"reads": "self"}], ids=str)
def test_a_balance_needs_a_table_and_matches(values):
    with pytest.raises(ValueError, match="balance: chosen needs reads: match and router: table"):
        FixedBudget.Params(**{"router": "table", "reads": "match", "balance": "chosen"} | values)


def test_flops_by_hand(reduced):
    """A router of 2 (32 x 32 + 32 x 2) operations a token, 7 features, and 9 x 9 cosines."""
    method, tokens = reduced(LeapOfThought, reads="match", **ONCE).reducer, torch.tensor([9.0])
    found = [float(method.overhead_flops(layer, tokens)) for layer in range(-1, 4)]
    assert found == [0, 0, 9 * (2 * (32 * 32 + 32 * 2) + 2 * 7) + 81 * 2 * 32, 0, 0]
    table = reduced(LeapOfThought, reads="match", router="table")
    table.reducer.after_training(table.backbone.words)
    found = [float(table.reducer.overhead_flops(layer, tokens)) for layer in range(-1, 1)]
    assert found == [9 * 2 * 5, 0]

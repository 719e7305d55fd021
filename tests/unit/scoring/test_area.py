"""The area under the best models of a method, by hand and against a plain loop."""

import numpy as np
import pytest

from lotbench.scoring.area import AREA_STEPS, FLOOR, FLOOR_OF_VECTORS, area


def area_of(speedups, margins, settings="aaaa", end=8.0, floor=FLOOR):
    """The area of models that are chosen by what is read."""
    return area(speedups, margins, margins, [*settings[: len(speedups)]], end, floor)


def test_area_by_hand():
    # Heights of one setting: 10 at 1x, 6 at 2x, below the floor at 4x, 2 at 32x.
    speedups, margins = np.array([[32.0], [2.0], [4.0]]), np.array([[-8.0], [-4.0], [-20.0]])
    found = area_of(speedups, margins)
    # Up to 2x its line: 8.  Then the line falls to 2 within a quarter of a doubling: 1.  From there
    # on the model of 32x is better than the line through the one of 4x: 2 for 1.75 doublings.
    assert found == pytest.approx([8 + 1 + 3.5], abs=1e-3)
    # Without the model of 4x, the line from 6 to 2 is at 4 half way.
    assert area_of(speedups[:2], margins[:2]) == pytest.approx([8 + 10])
    # A setting with one model has no line, and there is nothing beyond the last one.
    assert area_of(speedups[1:2], margins[1:2]) == pytest.approx([6])
    assert area_of(speedups[:2], margins[:2], "ab") == pytest.approx([6 + 4])
    assert area_of(speedups, margins, end=0.9) == 0
    # A model that is no faster than the reference changes nothing, however good or bad.
    slow = np.vstack([speedups, [[0.9]]]), np.vstack([margins, [[-3.0]]])
    assert area_of(*slow) == pytest.approx(found)


def test_a_deeper_floor_counts_what_lies_below_the_other():
    # 4x at 20 points below: with a floor of 30, heights from 30 to 10 over two doublings.
    speedups, margins = np.array([[2.0], [4.0]]), np.array([[-10.0], [-20.0]])
    assert area_of(speedups, margins, end=4.0, floor=FLOOR_OF_VECTORS) == pytest.approx([25 + 15])
    # With one of 10, from 10 to 0 over the first.
    assert area_of(speedups, margins, end=4.0) == pytest.approx([5])


def test_of_equal_speedups_the_order_does_not_matter():
    speedups, margins = np.array([[2.0], [2.0], [4.0]]), np.array([[-1.0], [-5.0], [-4.0]])
    for order in ([0, 1, 2], [1, 0, 2]):
        found = area_of(speedups[order], margins[order], end=4.0)
        # The line to the worse of the two, at least the better one's 9, and from there to 6.
        assert found == pytest.approx([0.2 * 9.5 + 0.8 * 9 + 7.5], abs=0.01)


def test_a_setting_that_is_worse_changes_no_area():
    speedups = np.array([[2.0], [8.0], [1.9], [2.1], [4.0]])
    margins = np.array([[-1.0], [-5.0], [-7.0], [-8.0], [-9.0]])
    assert area_of(speedups, margins, "aabbb") == pytest.approx(area_of(speedups[:2], margins[:2]))


def test_the_area_of_every_draw_agrees_with_the_best_of_all_models_and_lines():
    generator = np.random.default_rng(0)
    speedups = generator.uniform(0.5, 20, (6, 30))
    deciding, margins = generator.uniform(-13, 2, (2, 6, 30))
    settings = ["a", "b", "a", "c", "b", "a"]
    count = round(AREA_STEPS * np.log2(12))
    expected = np.zeros(30)
    for draw, step in np.ndindex(30, count):
        speed = 2 ** ((step + 0.5) * np.log2(12) / count)
        places, wanted, read = speedups[:, draw], deciding[:, draw], margins[:, draw]
        offers = [(wanted[row], read[row]) for row in range(6) if places[row] > speed]
        for setting in "ab":
            rows = [row for row in np.argsort(places) if settings[row] == setting]
            line = np.log2([1, *np.maximum(places[rows], 1)])
            if np.log2(speed) < line[-1]:
                faster = places[rows] > 1
                ends = [
                    np.interp(np.log2(speed), line, [0, *np.where(faster, own[rows], 0)])
                    for own in (wanted, read)
                ]
                offers.append((ends[0], ends[1]))
        height = max(offers)[1] + FLOOR if offers else 0.0
        expected[draw] += max(height, 0.0) * np.log2(12) / count
    assert area(speedups, deciding, margins, settings, 12.0, FLOOR) == pytest.approx(expected)

"""The texts and seeds that a difference takes, against hand-computed numbers."""

import pytest
from simulated import Rows, hits

from lotbench.statistics.power import needed_for_a_point


def rows(*right: int, texts: int = 200) -> Rows:
    """Method ``a`` is right on all texts; ``b`` on so many of them, seed by seed."""
    found = Rows({"selection": 1.0, "validation": 1.0})
    for seed, own in enumerate(right):
        for method, number in (("a", texts), ("b", own)):
            chosen = hits(number, texts)
            found.add(method, chosen, chosen, target=2, speedups=(2, 2), seed=seed)
    return found


def test_one_seed_needs_what_the_texts_need():
    # A tenth of the texts differs: variance .09, in points 900; 900 x 2.8^2 = 7,056 texts.
    found = needed_for_a_point(rows(180).evidence(), 200)
    assert found is not None and found.seeds is None
    assert found.texts == pytest.approx(7056, rel=0.1)
    assert found.found == pytest.approx(2.8 * (900 / 200) ** 0.5, rel=0.05)
    # The number of texts does not depend on the sample.
    found = needed_for_a_point(rows(360, texts=400).evidence(), 400)
    assert found.texts == pytest.approx(7056, rel=0.1)


def test_texts_and_seeds_have_half_of_the_variance_each():
    # Gaps of 10 and 12 points: variance 2, so 2 x 2 x 2.8^2 = 31.4 seeds.  Of the texts a tenth
    # differs with both seeds and 2% with one: variance .1 + .02 / 4 - .11^2 = .0929, in points 929.
    found = needed_for_a_point(rows(180, 176).evidence(), 200)
    assert found.seeds == pytest.approx(31.4, abs=0.1)
    assert found.texts == pytest.approx(2 * 929 * 2.8**2, rel=0.1)
    # With the 200 texts and two seeds of this store.
    assert found.found == pytest.approx(2.8 * (929 / 200 + 2 / 2) ** 0.5, rel=0.05)


def test_one_method_has_nothing_to_compare():
    found = Rows({"selection": 1.0, "validation": 1.0})
    found.add("a", hits(150), hits(150), target=2, speedups=(2, 2))
    assert needed_for_a_point(found.evidence(), 200) is None

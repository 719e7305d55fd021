"""Which examples a timing pass takes."""

import numpy as np
import pytest

from lotbench.measure.worker import chunks
from lotbench.study.data import Split
from lotbench.study.measuring import pick


def split(lengths) -> Split:
    """A split of these lengths; each text's seed is its row."""
    rows = [[2] * length for length in lengths]
    count = len(rows)
    return Split(rows, rows, np.zeros(count, np.int64), np.arange(count), [("",)] * count)


def lengths(examples) -> list[int]:
    return [len(example["input_ids"]) for example in examples]


# 100 texts of 1 to 100 tokens, in an order that sorting has to mend.
HUNDRED = split((37 * np.arange(100)) % 100 + 1)


def test_two_runs_of_neighbours_stand_at_the_quarters():
    # Centres at 25 and 75 of 100, runs of 10: positions 20 to 29 and 70 to 79.
    assert lengths(pick(HUNDRED, 20, 10)) == [*range(21, 31), *range(71, 81)]


@pytest.mark.parametrize("size", [1, 2, 5, 10])
def test_batches_of_a_size_that_divides_the_run_hold_neighbours_alone(size):
    # As the worker makes them: sorted by length, then cut.
    examples = sorted(pick(HUNDRED, 30, 10), key=lambda example: len(example["input_ids"]))
    for batch in chunks(examples, size):
        found = lengths(batch)
        assert found == list(range(found[0], found[0] + size))


@pytest.mark.parametrize(
    ("count", "run", "runs", "longest"),
    [
        (15, 10, 2, 80),  # rounded up to whole runs
        (100, 10, 10, 100),  # all of it
        (95, 30, 3, 98),  # four runs of 30 are more than there are
        (500, 30, 3, 98),
    ],
)
def test_as_many_whole_runs_as_asked_for_or_as_there_are(count, run, runs, longest):
    found = lengths(pick(HUNDRED, count, run))
    assert len(found) == len(set(found)) == runs * run
    assert found == sorted(found) and found[-1] == longest


def test_fewer_than_a_run_are_the_neighbours_around_the_median():
    assert lengths(pick(HUNDRED, 4, 32)) == [49, 50, 51, 52]
    assert lengths(pick(split([5, 3, 9]), 64, 32)) == [3, 5, 9]


def test_an_example_keeps_its_text_seed():
    (example,) = pick(split([7, 3, 5]), 1, 32)
    assert example == {"input_ids": [2] * 5, "token_type_ids": [2] * 5, "text_seed": 2}

"""Which examples a timing pass takes, and which passes are stored."""

import numpy as np
import pytest
from stores import contender, evaluation, timing, trial
from typer.testing import CliRunner

from lotbench import cli, store
from lotbench.measure.worker import chunks
from lotbench.study import measuring
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


@pytest.fixture
def timed_store(tmp_path, monkeypatch):
    """A store with one model, whose passes are steady at batch 1 and noisy at batch 32."""
    sweep = {"name": "toy", "backbone": "tiny", "tasks": {"sst2": None}, "methods": {"lot": None}}
    store.write_json(tmp_path / "sweep.json", sweep)
    (tmp_path / "models/a").mkdir(parents=True)
    store.write_row(tmp_path, trial("a", "lot", [evaluation(0.9, 2.0)], model="models/a"))

    def passes(**_):
        rows = [contender("dense", 1.0), contender("a", 1.8, "a")]
        yield timing("steady", "2025-01-01", rows, batch_size=1)
        yield timing("noisy", "2025-01-02", [rows[0], rows[1] | {"noisy": True}])

    monkeypatch.setattr(measuring.timing, "run_pass", passes)
    monkeypatch.setattr(measuring, "_inputs", lambda *_: ([], tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("options", "code", "stored"), [([], 0, ["steady", "noisy"]), (["--strict"], 1, ["steady"])]
)
def test_strict_stores_the_passes_that_are_not_noisy(timed_store, options, code, stored):
    done = CliRunner().invoke(cli.app, ["measure", str(timed_store), *options])
    assert done.exit_code == code, done.output
    assert [record["pass_id"] for record in store.read_timings(timed_store)] == stored
    assert f"{len(stored)} timing passes added" in done.output
    complaint = "noisy, not stored: toy, cpu-1t-b32-fp32: a\n"
    assert (complaint in done.output) is bool(options)
    assert ("raise rounds" in done.output) is bool(options)

"""What is too large is refused before any work, with its place and how much it would be."""

from __future__ import annotations

from pathlib import Path

import pytest

from lotbench.config import bounds
from lotbench.config.grid import count, size, variants
from lotbench.config.load import load_sweep
from lotbench.errors import InputError

SWEEP = """\
name: small
backbone: some/encoder
layers: 2
tasks: {sst2: {}, rte: {}}
seeds: [0, 1]
methods:
  dense:
  lot: {top_p: 0.5}
measure: {rounds: 8}
"""


def refusal(folder: Path, text: str) -> str:
    """The message, without the path of the file."""
    path = folder / "file.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_sweep(path)
    assert str(caught.value).startswith(f"{path}:")
    return str(caught.value).removeprefix(f"{path}:")


def numbers(n: int) -> str:
    return ", ".join(map(str, range(n)))


ALIASES = "".join(
    f"b{i}: &b{i} [{', '.join([f'*b{i - 1}' if i else 'x'] * 9)}]\n" for i in range(40)
)
CHAIN = "".join(f"c{i}: &c{i} [{f'*c{i - 1}' if i else 'x'}]\n" for i in range(60))
MERGES = "m0: &m0 {x: 1}\n" + "".join(
    f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}\n" for i in range(1, 30)
)
GRIDS = ", ".join(f"p{i}: {{grid: [{numbers(10)}]}}" for i in range(30))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "layers: 2",
            "layers: 1000000000",
            "3: layers: Input should be less than or equal to 1000",
        ),
        ("[0, 1]", f"[{numbers(1001)}]", "5: seeds: List should have at most 1000 items, not 1001"),
        (
            "top_p: 0.5",
            f"top_p: {{grid: [{numbers(999)}]}}",
            "6: methods: 4,000 trials (tasks x seeds x methods x grids); a sweep has at most 2,000",
        ),
        ("top_p: 0.5", GRIDS, "8: methods.lot: its grids multiply to about 1e30 trials; a sweep"),
        (
            "top_p: 0.5",
            f"top_p: [{numbers(1001)}]",
            "8: methods.lot: 1,003 values among the parameters of one trial; at most 1,000",
        ),
        ("name: small", f"{ALIASES}name: small", "5: 66,430 values or more, aliases written out;"),
        ("name: small", f"{CHAIN}name: small", "50: nested more than 50 levels deep, aliases incl"),
        ("name: small", f"{MERGES}name: small", "5: "),
        (
            "name: small",
            f"name: {'[' * 51}",
            "1: nested more than 50 levels deep, aliases included",
        ),
        ("[0, 1]", f"[{numbers(10_000)}]", "5: 10,001 values or more, aliases written out; at mo"),
        ("name: small", "name: small #" + "x" * 10**6, " larger than 1,000,000 bytes, the most"),
        ("rounds: 8", f"batch_sizes: [{numbers(51)}]", "9: measure.batch_sizes"),
        ("name: small", f"name: {'n' * 101}", "1: name: String should have at most 100 char"),
        (
            "name: small",
            f"name: small\ntargets: [{', '.join(str(i + 2) for i in range(201))}]",
            "2: targets: List should have at most 200 items, not 201",
        ),
    ],
)
def test_what_is_too_large_is_refused_with_its_place(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in SWEEP
    message = refusal(tmp_path, SWEEP.replace(old, new))
    assert message.startswith(expected)
    assert "\n" not in message and len(message) < 300


@pytest.mark.parametrize(
    ("value", "trials", "most"),
    [
        ({}, 1, 1),
        ({"a": {"grid": [1, 2, 3]}, "b": {"grid": [[1, 2], 3]}}, 6, 5),
        ({"grid": [{}, {"a": {"grid": [1, 2]}}]}, 3, 2),
        ([{"grid": [1, 2]}, {"grid": [{"grid": [3, 4]}, 5]}], 6, 3),
        ({"a": {"grid": []}}, 0, 1),
    ],
)
def test_variants_are_counted_without_being_made(value: object, trials: int, most: int) -> None:
    assert (count(value), size(value)) == (trials, most)
    if trials:
        assert len(variants(value)) == trials


def test_what_is_just_small_enough_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    # 2 tasks x 2 seeds x (1 + 499) = 2,000 trials
    path.write_text(SWEEP.replace("top_p: 0.5", f"top_p: {{grid: [{numbers(499)}]}}"))
    load_sweep(path)
    assert bounds.TRIALS == 2000


def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(InputError, match=r"^/dev/zero: larger than 1,000,000 bytes"):
        load_sweep("/dev/zero")


@pytest.mark.parametrize(
    ("number", "text"),
    [(999, "999"), (20_000, "20,000"), (9**40, "about 1e38"), (10**500, "about 1e500")],
)
def test_counts_are_written_for_people(number: int, text: str) -> None:
    assert bounds.written(number) == text

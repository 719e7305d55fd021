"""The numbers that `.ci/house.py` checks, on a small repository."""

from __future__ import annotations

import json
import runpy
import subprocess
from pathlib import Path

import pytest

CI = Path(__file__).parents[2] / ".ci"
HOUSE = runpy.run_path(str(CI / "house.py"))
FILES = {
    "lotbench/__init__.py": "",
    "lotbench/errors.py": "class InputError(Exception): ...\n",
    "lotbench/a/b.py": "@cache\ndef f(x: dict[str, Any]):\n    '''Text.'''\n    raise InputError\n",
    "tests/test_a.py": "def f():\n" + "    pass\n" * 400,
    "docs/a.md": "three plain words\n",
    "README.md": "two words\n",
    "results/x/trials/a.json": "{}" * 250_000,
}
NUMBERS = {
    "lines of lotbench/ and baselines/": 5,
    "lines of tests/": 401,
    "words of docs/": 3,
    "words of README.md": 2,
    "MB of results/": 0.5,
    "stores in results/": 1,
    "raise InputError": 1,
    "dict[str, Any]": 1,
    "root modules of lotbench/": 1,
    "lines of the longest function": 3,
    "files over 400 lines": 1,
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    (tmp_path / "docs" / "untracked.md").write_text("more words")
    return tmp_path


def test_numbers_above_a_bound_fail_and_bounds_are_lowered(house: Path, capsys) -> None:
    bounds = house / "house.json"
    limits = {name: {"bound": value + 1, "aim": 0} for name, value in NUMBERS.items()}
    bounds.write_text(json.dumps(limits))
    assert HOUSE["measure"](house, HOUSE["tracked"](house)) == NUMBERS
    assert HOUSE["main"](house, bounds, lower=True) == 0
    assert {name: own["bound"] for name, own in json.loads(bounds.read_text()).items()} == NUMBERS
    with (house / "README.md").open("a") as file:
        file.write("another")
    assert HOUSE["main"](house, bounds) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "above" in line]
    assert " ".join(line.split()) == "words of README.md 3 2 0 above its bound"


def test_every_number_has_a_bound() -> None:
    assert json.loads((CI / "house.json").read_text()).keys() == NUMBERS.keys()

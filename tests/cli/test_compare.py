"""Two stores against each other: the pages of the reference stores, and what has no partner."""

from pathlib import Path

import pytest
from commands import app

from lotbench.errors import InputError

ROOT = Path(__file__).parents[2]
REFERENCE = Path("results", "reference")
PAGES = sorted(path.relative_to(ROOT) for path in ROOT.glob(f"{REFERENCE}/*/against_*.md"))


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    """A page names the other store as it was given, from the folder of the project."""
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}, {page.stem}")
@pytest.mark.slow
def test_a_page_is_what_the_command_writes(page, tmp_path, capsys):
    other = REFERENCE / page.stem.removeprefix("against_")
    written = tmp_path / "page.md"
    assert not app("compare", page.parent, other, "--output", written)
    assert written.read_text() == page.read_text()
    lines = capsys.readouterr().out.splitlines()
    assert any(line.endswith(f"{page.parent.name} against {other.name}") for line in lines)
    assert len(lines) <= 25 and max(map(len, lines[:-1])) <= 80  # the last one is a path


def test_stores_without_a_shared_model_are_bad_input():
    with pytest.raises(InputError, match="share no model"):
        app("compare", REFERENCE / "pairs", REFERENCE / "reviews")

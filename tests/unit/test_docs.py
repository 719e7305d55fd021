"""Links and commands in the documentation exist."""

from __future__ import annotations

import re
import shlex
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest
import typer

from lotbench import registry
from lotbench.cli import app
from lotbench.cli.options import SHIPPED
from lotbench.conformance.checklist import RULES, examine
from lotbench.conformance.subject import Subject
from lotbench.report.tables.headline import BEGIN, END

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "results" / "README.md"]
STORES = sorted((ROOT / "results" / "reference").iterdir())
COMMANDS = typer.main.get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    names = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
    # A name that occurs again gets a number.
    again = [names[:i].count(name) for i, name in enumerate(names)]
    return {f"{name}-{n}" if n else name for name, n in zip(names, again, strict=True)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.name)
def test_the_page_of_a_store_shows_its_figures_and_no_other(store: Path) -> None:
    page = (store / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\]\(figures/([^)]+)\)", page))
    # The hero is on the front page.
    assert shown == {path.name for path in (store / "figures").iterdir()} - {"hero.png"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`(lotbench [a-z][^`]*)`", text)
    for line in [*"\n".join(blocks).splitlines(), *inline]:
        for call in re.findall(r"lotbench ([a-z-]+.*?)(?:; |$)", line):
            name, *given = shlex.split(call, comments=True)
            assert name in COMMANDS, line
            known = {option for own in COMMANDS[name].params for option in own.opts}
            assert {word for word in given if word.startswith("--")} <= known, line
            if name == "sweep" and given:
                assert given[0].endswith((".yaml", ".json")) or given[0] in SHIPPED, line


def cells(page: str, heading: str) -> list[list[str]]:
    """The cells of each row of the table whose head has this column."""
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if f"| {heading} |" in line)
    rows = takewhile(bool, lines[start + 2 :])
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in rows]


def numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:[.,]\d+)*", text))


def linked_pages(cell: str) -> str:
    """The text of the pages of stores that a cell links to."""
    targets = re.findall(r"\]\((\.\./results/[^)#]+)[^)]*\)", cell)
    return " ".join((ROOT / "docs" / target).read_text(encoding="utf-8") for target in targets)


def test_verdicts_of_claims_are_a_sentence_with_numbers_of_the_page_that_they_link_to() -> None:
    marks = {"\u25cf": "confirmed", "\u25d0": "bounded", "\u25cb": "not seen here"}
    for claim, verdict, page in cells("claims.md", "verdict"):
        mark, _, says = verdict.partition(" ")
        assert says.startswith(f"**{marks[mark]}**"), claim
        assert not re.search(r"[.;] ", says) and "](" not in says, claim
        assert page.count("](") == 1, claim
        known = numbers(claim) if "](#" in page else numbers(claim + linked_pages(page))
        assert numbers(verdict) <= known, f"{claim}: {numbers(verdict) - known}"


@pytest.mark.parametrize("heading", ["what the stored runs say", "finding"])
def test_numbers_of_findings_are_on_the_pages_that_they_link_to(heading: str) -> None:
    rows = cells("findings.md", heading)
    assert 6 <= len(rows) <= 12
    for _, finding, tables in rows:
        known = linked_pages(finding + tables)
        assert known or finding.startswith("No stored run"), finding
        typed = numbers(re.sub(r"`[^`]*`", "", finding))
        assert typed <= numbers(known), f"{finding}: {typed - numbers(known)}"


def test_rules_are_cited_by_name() -> None:
    """A number would change with the next rule."""
    for page in PAGES:
        assert not re.search(r"\brules? \d", page.read_text(encoding="utf-8")), page


def test_the_readme_types_no_result() -> None:
    """Its percentages and factors are in the table that `lotbench plot` writes."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    typed = re.sub(rf"{re.escape(BEGIN)}.*?{re.escape(END)}", "", text, flags=re.DOTALL)
    typed = re.sub(r"^```.*?^```", "", typed, flags=re.MULTILINE | re.DOTALL)
    assert typed != text and not re.findall(r"\d+(?:\.\d+)?\s?(?:%|\u00d7|x\b|ms\b)", typed)


@pytest.mark.slow
def test_the_example_of_a_method_keeps_the_rules(tmp_path: Path, monkeypatch) -> None:
    """All but the last three: two of exported graphs, and the real run."""
    monkeypatch.setattr(registry, "_plugins", {})
    text = (ROOT / "docs" / "add-a-method.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (code,) = (block for block in blocks if "class Params" in block)
    assert len(list(filter(None, code.splitlines()))) <= 25
    path = tmp_path / "method.py"
    path.write_text(code)
    (cls,) = registry.load_plugin(str(path))
    subject = Subject(cls, {"keep_ratio": 0.3}, plugins=[str(path)])
    verdicts = list(examine(subject, among=RULES[:-3]))
    assert [verdict for verdict in verdicts if verdict.outcome != "ok"] == []

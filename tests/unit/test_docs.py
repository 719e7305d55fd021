"""Links and commands in the documentation exist."""

from __future__ import annotations

import re
import runpy
import shlex
from functools import cache
from itertools import islice
from pathlib import Path

import pytest
import typer

from lotbench import registry
from lotbench.cli import app
from lotbench.cli.options import SHIPPED
from lotbench.conformance.checklist import GROUPS, examine
from lotbench.conformance.subject import Subject
from lotbench.report.tables.headline import BEGIN, END

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "results" / "README.md"]
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


def test_claims_link_to_results_and_type_none() -> None:
    lines = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if "| LoTBench measures |" in line)
    for line in lines[start + 2 : lines.index("", start)]:
        claim, _, ours, verdict = [cell.strip() for cell in line.strip("| ").split(" | ")]
        shown = re.sub(r"\]\([^)]*\)", "]", ours)
        assert not re.search(r"\d", shown), claim
        assert "](../results/" in ours or shown == "no page", claim
        assert re.match(r"\*\*(confirmed|bounded|not seen here)\*\*", verdict), claim


def test_numbers_of_findings_are_on_the_pages_that_they_link_to() -> None:
    folder = ROOT / "docs"
    lines = (folder / "findings.md").read_text(encoding="utf-8").splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")][2:]
    assert 8 <= len(rows) <= 12
    for _, finding, tables in rows:
        linked = re.findall(r"\]\(([^)#]+)[^)]*\)", tables)
        assert linked and all("results/" in target for target in linked), finding
        found = " ".join((folder / target).read_text(encoding="utf-8") for target in linked)
        typed, known = (set(re.findall(r"\d+(?:[.,]\d+)*", own)) for own in (finding, found))
        assert typed <= known, f"{finding}: {typed - known}"


def test_the_readme_types_no_result() -> None:
    """Its percentages and factors are in the table that `lotbench plot` writes."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    typed = re.sub(rf"{re.escape(BEGIN)}.*?{re.escape(END)}", "", text, flags=re.DOTALL)
    typed = re.sub(r"^```.*?^```", "", typed, flags=re.MULTILINE | re.DOTALL)
    assert typed != text and not re.findall(r"\d+(?:\.\d+)?\s?(?:%|\u00d7|x\b|ms\b)", typed)


def test_the_tables_of_benchmarks_are_those_of_the_stored_runs() -> None:
    bench = runpy.run_path(str(ROOT / "tests" / "bench" / "tables.py"))
    text = bench["PAGE"].read_text(encoding="utf-8")
    assert bench["page"](text) == text and "###" in text


def example(page: str, name: str) -> str:
    """The one block of Python of a page that defines the class."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (block,) = (block for block in blocks if f"class {name}" in block)
    return block


def test_the_first_method_of_the_readme_is_that_of_methods() -> None:
    assert example("README.md", "LongStates") == example("docs/methods.md", "LongStates")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "values"), [("Neighbours", {}), ("LongStates", {"keep_ratio": 0.3})]
)
def test_the_examples_of_methods_keep_the_rules(
    name: str, values: dict, tmp_path: Path, monkeypatch
) -> None:
    """All but those of the last three groups: two of exported graphs, and the real run."""
    monkeypatch.setattr(registry, "_plugins", {})
    code = example("docs/methods.md", name)
    assert len(list(filter(None, code.splitlines()))) <= 25
    path = tmp_path / "method.py"
    path.write_text(code)
    (cls,) = registry.load_plugin(str(path))
    count = sum(map(len, GROUPS[:-3]))
    verdicts = islice(examine(Subject(cls, values, plugins=[str(path)])), count)
    assert [verdict.outcome for verdict in verdicts] == ["ok"] * count

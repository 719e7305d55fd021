"""Write the report of stores: one HTML file that needs no other, and its tables beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lotbench.errors import InputError
from lotbench.report.html import twins
from lotbench.report.html.chapters import Section, sections
from lotbench.report.html.summary import Summary, summary_of_tasks
from lotbench.report.table import Table

if TYPE_CHECKING:
    from markupsafe import Markup

# In the order in which they need each other.
LIBRARIES = ("vega", "vega-lite", "vega-embed", "dataTables")
# Tables with more rows have a box to filter them.
LONG = 12
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


def write(folders: Sequence[str | Path], output: Path | None = None) -> list[Path]:
    """Write the report of stores and return its files, the HTML file first.

    The same stores give the same bytes.  Without ``output`` it is ``report.html``, in the store if
    there is one, else in the current folder.

    Raises
    ------
    InputError
        If a folder is not a store or is given twice, or if ``output`` is no name of an HTML file.
    """
    paths = [Path(folder) for folder in folders]
    twice = {path for path in paths if [own.resolve() for own in paths].count(path.resolve()) > 1}
    if twice:
        raise InputError(f"{min(twice)}: given twice; name each store once")
    path = output or (paths[0] if len(paths) == 1 else Path()) / "report.html"
    if path.suffix != ".html":
        raise InputError(f"--output: {path} does not end in .html; the tables take its name, too")
    found = sections(paths)
    summary = summary_of_tasks(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(found, summary), encoding="utf-8")
    return [path, *twins.write(found, summary.table if summary else None, path)]


def render(found: list[Section], summary: Summary | None) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    charts: list[Any] = []

    def chart(spec: Any) -> int:
        """Keeps a chart for the page's script and returns its number."""
        charts.append(spec)
        return len(charts) - 1

    def script(value: Any) -> Markup:
        # Without <, no text of a store can end the script.
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return Markup(text.replace("<", r"\u003c"))

    environment = Environment(
        loader=PackageLoader("lotbench.report.html"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["code"] = _code
    environment.globals |= {"chart": chart, "script": script, "charts": charts}
    environment.globals |= {"rank": rank, "is_long": is_long}
    package = files("lotbench.report.html")
    return environment.get_template("report.html.j2").render(
        sections=found,
        summary=summary,
        style=Markup((package / "templates" / "report.css").read_text(encoding="utf-8")),
        code=Markup((package / "templates" / "report.js").read_text(encoding="utf-8")),
        libraries=[
            Markup((package / "vendor" / f"{name}.min.js").read_text(encoding="utf-8"))
            for name in LIBRARIES
        ],
        licences=(package / "vendor" / "LICENSES.txt").read_text(encoding="utf-8"),
    )


def rank(cell: str) -> str:
    """The number by which a cell is sorted: its first; an empty text if it has none."""
    found = NUMBER.search(cell.replace("\N{MINUS SIGN}", "-"))
    return found.group() if found and not cell.startswith("none") else ""


def _code(text: str) -> Markup:
    """A text with what stands between backquotes as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def is_long(table: Table) -> bool:
    return sum(map(len, table.groups)) > LONG

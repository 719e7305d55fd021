"""Write the report of stores: one HTML file that needs no other, and its tables next to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from lotbench.errors import InputError
from lotbench.report.figures import all_tasks, style
from lotbench.report.figures.draw import ALL_TASKS
from lotbench.report.figures.hover import as_svg
from lotbench.report.page import twins
from lotbench.report.page.chapters import StorePage, store_pages
from lotbench.report.tables.all_tasks import all_tasks as drops_table
from lotbench.report.tables.render import Table
from lotbench.statistics.drops import Drops, drops
from lotbench.statistics.store_view import StoreView
from lotbench.store.files import write_file

if TYPE_CHECKING:
    from markupsafe import Markup

PARTS = ("report.css", "report.js")
# Tables with more rows have a box to filter them.
LONG = 12
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


def write(
    studies: Sequence[StoreView],
    output: Path | None = None,
    opening: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write the report of stores and return its files, the HTML file first.

    The same stores give the same bytes.  Without ``output`` it is ``report.html``, in the store if
    there is one, else in the current folder.  The ``opening`` is lines by name that stand first.
    """
    folders = [study.folder for study in studies]
    twice = {own for own in folders if [o.resolve() for o in folders].count(own.resolve()) > 1}
    if twice:
        raise InputError(f"{min(twice)}: given twice; name each store once")
    path = output or (folders[0] if len(folders) == 1 else Path()) / "report.html"
    if path.suffix != ".html":
        raise InputError(f"--output: {path} does not end in .html; the tables take its name, too")
    stores = store_pages(studies)
    compared = _compared(stores)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, render(stores, compared, opening or {}))
    return [path, *twins.write(stores, drops_table(compared) if compared else None, path)]


def _compared(stores: list[StorePage]) -> Drops | None:
    """The mean drops over all tasks; None if fewer than two can be compared.

    A task that several stores have is shown with the name of each.
    """
    names = [chapter.name for store in stores for chapter in store.chapters]
    return drops(
        {
            chapter.name if names.count(chapter.name) == 1 else f"{chapter.name}, {store.name}": own
            for store in stores
            for chapter in store.chapters
            if (own := chapter.evidence)
        }
    )


def render(stores: list[StorePage], compared: Drops | None, opening: Mapping[str, str]) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("lotbench.report.page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["code"] = _code
    environment.globals |= {"rank": rank, "is_long": is_long}
    chart = None
    if compared:
        runs = [run for store in stores for run in store.runs]
        with style.drawing():
            chart = as_svg(all_tasks.figure(compared, runs), ALL_TASKS)
    templates = files("lotbench.report.page") / "templates"
    style_sheet, script = ((templates / name).read_text(encoding="utf-8") for name in PARTS)
    return environment.get_template("report.html.j2").render(
        stores=stores,
        opening=opening,
        compared=drops_table(compared) if compared else None,
        compared_chart=chart,
        style=Markup(style_sheet),
        script=Markup(script),
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

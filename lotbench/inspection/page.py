"""Routes and shares as one HTML file without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lotbench.inspection.route import COLOURS, WORDS, Fate, Route
from lotbench.inspection.split import Kept
from lotbench.store.files import write_file


def write(title: str, routes: Sequence[Route], found: Sequence[Kept], path: Path) -> Path:
    """The routes of one text, or the shares over a split, as a page."""
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("lotbench.inspection")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True)
    environment.globals |= {"fates": [*reversed(Fate)], "colours": COLOURS, "names": WORDS}
    template = environment.get_template("page.html.j2")
    return write_file(path, template.render(title=title, routes=routes, found=found))

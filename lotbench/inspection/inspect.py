"""The output of ``lotbench inspect``, in the terminal and in files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lotbench.errors import InputError
from lotbench.inspection import figure, terminal
from lotbench.inspection.route import COLOURS, WORDS, Fate, Route
from lotbench.inspection.split import Kept
from lotbench.store.files import write_file

if TYPE_CHECKING:
    from rich.console import Group

    from lotbench.inspection.model import Inspected

TEXT, SPLIT = "inspect-text", "inspect-split"
"""Names of the files."""


def of_text(
    folders: Sequence[Path],
    fields: Sequence[str],
    target: float | None,
    output: Path | None,
    evidence: Sequence[str] = (),
) -> tuple[Group, list[Path]]:
    """One text, or a pair, through the layers of every model: for the terminal, and the files.

    ``evidence`` are passages of the last text, whose tokens are marked.  Figure and page are
    written to the folder ``output``, if one is given.
    """
    text = tuple(fields)
    models = _opened(folders, target)
    routes = [model.route(text) for model in models]
    if any(route.tokens != routes[0].tokens for route in routes):
        raise InputError("the models have different tokenizers or lengths; inspect them one by one")
    if evidence:
        marks = models[0].covered(text, evidence)
        routes = [replace(route, evidence=marks) for route in routes]
    routes[0] = replace(routes[0], saliency=models[0].saliency(text))
    files = []
    if output:
        files = figure.of_text(routes, output / TEXT)
        files.append(write_page("One text through the layers", routes, [], output / f"{TEXT}.html"))
    return terminal.of_text(routes), files


def of_split(
    folders: Sequence[Path], split: str, target: float | None, output: Path | None
) -> tuple[Group, list[Path]]:
    """The kinds of tokens, the places and the words that every model computes, over its split."""
    kept = []
    for model in _opened(folders, target):
        own = model.split(split)
        kept.append(Kept(model.name, model.routes(own.texts, own.evidence)))
    files = []
    if output:
        files = figure.of_split(kept, output / SPLIT)
        files.append(write_page(f"Tokens of {split}", [], kept, output / f"{SPLIT}.html"))
    return terminal.of_split(kept), files


def write_page(title: str, routes: Sequence[Route], kept: Sequence[Kept], path: Path) -> Path:
    """The routes of one text, or the shares over a split, as one HTML file without scripts."""
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("lotbench.inspection")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True)
    environment.globals |= {"fates": [*reversed(Fate)], "colours": COLOURS, "names": WORDS}
    template = environment.get_template("page.html.j2")
    return write_file(path, template.render(title=title, routes=routes, kept=kept))


def _opened(folders: Sequence[Path], target: float | None) -> list[Inspected]:
    # Here, so that drawing needs no torch.
    from lotbench.inspection.model import Inspected

    return [Inspected(folder, target) for folder in folders]

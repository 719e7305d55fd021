"""Write the report of stores: one HTML file that needs no other, and its tables next to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from lotbench.errors import InputError
from lotbench.report import text
from lotbench.report.figures import all_tasks, break_even, draw, style
from lotbench.report.findings import answer, findings, over_tasks
from lotbench.report.looks import looks, order
from lotbench.report.readme import summary
from lotbench.report.tables.all_tasks import all_tasks as drops_table
from lotbench.report.tables.models import models
from lotbench.report.tables.of_task import tables
from lotbench.report.tables.origin import Origin, failures, wide_timings
from lotbench.report.tables.render import Table, as_csv, bullets, latex, markdown
from lotbench.statistics.drops import Drops, drops
from lotbench.statistics.store_view import StoreView
from lotbench.store.files import subfolder, write_file

# Tables with more rows have a box to filter them.
LONG = 12
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


class Picture(NamedTuple):
    """A figure of a page."""

    heading: str
    svg: str


class Chapter:
    """One task of a store."""

    def __init__(self, study: StoreView, task: str, store: str) -> None:
        self.id, self.task, self.name = f"{store}-{slug(task)}", task, text.named(task, study)
        self.evidence = study.evidence.get(task)
        self.findings, self.answer = findings(task, study), answer(task, study)
        given = looks(study.methods(task))
        methods = order({own.method for own in study.validated(task)})
        self.colours = {method: given[method].colour for method in methods}
        """The colours of figures, by method."""
        with style.drawing():
            self.pictures = [
                Picture(draw.FIGURES[name].heading, style.as_svg(figure, f"{self.id}-{name}"))
                for name, figure in draw.of_task(study, task)
            ]
        self.tables = tables(task, study)
        self.csv = ""
        """All models, in CSV."""
        if every := models(task, study):
            self.tables["models"], self.csv = every, as_csv(every)


class StorePage:
    """One store."""

    def __init__(self, study: StoreView, id: str, name: str) -> None:
        self.id, self.name, self.runs = id, name, study.runs
        self.summary = summary(study) if study.trials else "No trials."
        self.chapters = [Chapter(study, task, id) for task in study.tasks]
        with style.drawing():
            self.maps = [
                Picture(
                    record.setting.label,
                    style.as_svg(break_even.figure(record), f"{id}-map{place}"),
                )
                for place, record in enumerate(study.maps)
            ]
        self.failures, self.noisy = failures(study), wide_timings(study)
        self.origin = Origin(study)


def store_pages(studies: Sequence[StoreView]) -> list[StorePage]:
    """What the page shows of each store, under a name that no other store of the page has."""
    names = [study.name for study in studies]
    return [
        StorePage(study, f"s{place}", f"{name}-{place}" if names.count(name) > 1 else name)
        for place, (study, name) in enumerate(zip(studies, names, strict=True), 1)
    ]


def write(
    studies: Sequence[StoreView],
    output: Path | None = None,
    opening: Mapping[str, str] | None = None,
    title: str = "",
) -> list[Path]:
    """Write the report of stores and return its files, the HTML file first.

    The same stores give the same bytes.  Without ``output`` it is ``report.html``, in the store if
    there is one, else in the current folder.  The ``opening`` is lines by name that stand first.
    Without a ``title`` it has the name of the store, or their number.
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
    title = title or (stores[0].name if len(stores) == 1 else f"{len(stores)} stores")
    write_file(path, render(stores, compared, opening or {}, title))
    return [path, *write_tables(stores, drops_table(compared) if compared else None, path)]


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


def render(
    stores: list[StorePage], compared: Drops | None, opening: Mapping[str, str], title: str
) -> str:
    """The page as text."""
    tasks = [(chapter.name, store.name, chapter) for store in stores for chapter in store.chapters]
    tasks.sort(key=lambda each: each[:2])
    chart = None
    # Of tasks that share no method, most of a chart would be empty.
    if compared and compared.mean:
        runs = [run for store in stores for run in store.runs]
        with style.drawing():
            chart = style.as_svg(all_tasks.figure(compared, runs), draw.ALL_TASKS)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            stores=stores,
            opening=opening,
            tasks=tasks,
            answer=over_tasks(compared, (chapter.evidence for *_, chapter in tasks)),
            compared=drops_table(compared) if compared else None,
            compared_chart=chart,
            style=part("report.css"),
            script=part("report.js"),
        )
    )


def environment() -> Environment:
    """What reads the templates of pages."""
    found = Environment(
        loader=PackageLoader("lotbench.report.page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    found.filters["code"] = _code
    found.globals |= {"rank": rank, "is_long": is_long, "slug": slug}
    return found


def part(name: str) -> Markup:
    """A style sheet or script, which stands in a page as it is."""
    folder = files("lotbench.report.page") / "templates"
    return Markup((folder / name).read_text(encoding="utf-8"))


def slug(name: str) -> str:
    """A name as part of an address."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def rank(cell: str) -> str:
    """The number by which a cell is sorted: its first; an empty text if it has none."""
    found = NUMBER.search(cell.replace("\N{MINUS SIGN}", "-"))
    return found.group() if found and not cell.startswith("none") else ""


def _code(sentence: str) -> Markup:
    """A text with what stands between backquotes as code."""
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(sentence))))


def is_long(table: Table) -> bool:
    return sum(map(len, table.groups)) > LONG


def write_tables(stores: Sequence[StorePage], compared: Table | None, page: Path) -> list[Path]:
    """Write the tables into a folder next to a page, ``report-tables``, and return their files.

    They are ``tables.md``, ``tables.tex``, ``<store>-<task>-<table>.csv`` and ``all-tasks.csv``.
    """
    folder = subfolder(page.parent, f"{page.stem}-tables")
    named = {"all-tasks": compared} if compared else {}
    named |= {
        f"{store.name}-{task.task}-{name}": table
        for store in stores
        for task in store.chapters
        for name, table in task.tables.items()
    }
    parts = [r"% Needs \usepackage{booktabs,longtable}."]
    parts += [latex(table, f"tab:{name}") for name, table in named.items()]
    texts = {"tables.md": _as_markdown(stores, compared), "tables.tex": "\n\n".join(parts)}
    texts |= {f"{name}.csv": as_csv(table) for name, table in named.items()}
    for name, content in texts.items():
        write_file(folder / name, content)
    return [folder / name for name in texts]


def _as_markdown(stores: Sequence[StorePage], compared: Table | None) -> str:
    """The table over all tasks, then the sentences and tables of all stores."""
    parts = [markdown(compared)] if compared else []
    for store in stores:
        parts += [f"# {store.name}", store.summary]
        for task in store.chapters:
            parts.append(f"## {task.name}")
            parts.append(bullets(task.findings))
            parts += map(markdown, task.tables.values())
    return "\n\n".join(parts) + "\n"

"""The one table of a front page: methods by tasks, at one FLOPs speed-up.

It has the models of `Evidence.at_target`, as the figures and pages of the stores do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lotbench.errors import InputError
from lotbench.report import text
from lotbench.report.looks import order
from lotbench.report.tables.overview import FIRST, NOT_AHEAD, at_target, reference
from lotbench.report.tables.render import Table, markdown
from lotbench.report.text import NONE, TIMES
from lotbench.statistics.evidence import Evidence
from lotbench.statistics.store_view import StoreView
from lotbench.store.files import write_file

BEGIN = "<!-- table: written by lotbench plot -->"
END = "<!-- end of table -->"
TARGET = 4.0
"""The FLOPs speed-up: most stores have it, and methods differ at it."""


def headline(studies: Sequence[StoreView]) -> Table | None:
    """A column per task of the stores; None if no method was scored at the target.

    A method has a line if two tasks have it, or the only one.
    """
    tasks = [
        (task, study, found)
        for study in studies
        for task, found in study.evidence.items()
        if TARGET in found.targets
    ]
    columns = [at_target(found, TARGET) for _, _, found in tasks]
    counts = Counter(method for column in columns for method in column)
    shown = [method for method in order(counts) if counts[method] >= min(2, len(tasks))]
    if not shown:
        return None
    lines = [[method, *(column.get(method, NONE) for column in columns)] for method in shown]
    notes = [
        "a cell: the score minus the reference's, in points of 100, with its 95% interval "
        "over texts and seeds; each method with its best setting on selection, read on validation",
        f"{FIRST} no method is ahead of it there, the others of its store included; {NOT_AHEAD} "
        f"not ahead of the model without layers; {NONE} not scored there at {TARGET:g}{TIMES}",
        "no-layer gap: the reference minus a model without layers",
        *(_column(task, study) for task, study, _ in tasks),
    ]
    if left := [method for method in order(counts) if method not in shown]:
        notes.append(f"on one task alone, so not shown: {text.listed(left)}")
    names = [", ".join(_head(*own)) for own in tasks]
    return Table(f"Scores at {TARGET:g}{TIMES} fewer FLOPs", ["method", *names], [lines], notes)


def _head(task: str, study: StoreView, found: Evidence) -> list[str]:
    """The task, ``6 layers``, and the no-layer gap if there is one."""
    head = [text.named(task, study), _backbone(task, study)[1]]
    return head if found.gap is None else [*head, f"no-layer gap {text.with_interval(found.gap)}"]


def _backbone(task: str, study: StoreView) -> tuple[str, str]:
    """``MiniLM`` and ``6 layers``."""
    name, _, layers = text.backbones(study.runs_on(task)).partition(" (")
    return name, layers.rstrip(")")


def _column(task: str, study: StoreView) -> str:
    """A task: its metric, reference, texts and seeds, and the store."""
    models = study.validated(task)
    metric, found = models[0].metric, study.evidence[task]
    counts = text.listed([str(count) for count in study.texts(task, "validation")])
    return (
        f"{text.named(task, study)}, {_backbone(task, study)[0]}: {metric}, "
        f"{reference(found, metric)}; {counts} {text.unit_of(study.runs_on(task))}, "
        f"{text.seeds(models)}; store {study.name}"
        + "; a task that needs no encoder"
        * (not found.needs_encoder)
    )


def write(studies: Sequence[StoreView], page: Path) -> Path:
    """Write the headline of the stores between the markers of a Markdown page.

    Raises
    ------
    InputError
        If the page has no markers, or no method was scored at the target.
    """
    content = ""
    with suppress(OSError, UnicodeDecodeError):
        content = page.read_text(encoding="utf-8")
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        message = f"no table is marked there in UTF-8; write {BEGIN} and {END}"
        raise InputError(f"--into {page}: {message}")
    table = headline(studies)
    if table is None:
        names = text.listed([str(study.folder) for study in studies])
        raise InputError(f"{names}: no method was scored at {TARGET:g}{TIMES}, so no table")
    return write_file(page, f"{before}{BEGIN}\n{markdown(table)}\n{END}{after}")

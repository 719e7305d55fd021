"""The one table of a front page: what each method saves within one point, and how fast it is."""

from __future__ import annotations

from pathlib import Path

from lotbench.errors import InputError
from lotbench.report import text
from lotbench.report.looks import order
from lotbench.report.tables.clock import TIMED_DROP, calls_timed
from lotbench.report.tables.overview import reference, without_encoder
from lotbench.report.tables.render import Table, markdown
from lotbench.report.text import NONE, TIMES
from lotbench.statistics.bootstrap import Estimate
from lotbench.statistics.evidence import ties
from lotbench.statistics.scored import wheres
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import fastest
from lotbench.store.files import write_file

BEGIN = "<!-- table: written by lotbench plot -->"
END = "<!-- end of table -->"


def headline(task: str, study: StoreView) -> Table | None:
    """A line per method, one number per cell; None if the task has no reference."""
    found, models = study.evidence.get(task), study.validated(task)
    if found is None or not found.curves:
        return None
    choices = found.choices(TIMED_DROP).items()
    kept = {method: own for method, own in choices if own.keeps(TIMED_DROP)}
    tied = ties(kept)
    chosen = {method: own.model for method, own in kept.items() if own.model}
    timed = wheres(chosen.values())
    parts = {where: "call" if calls_timed(chosen.values(), where) else "encoder" for where in timed}
    speeds = {
        where: {
            method: speed
            for method, own in chosen.items()
            if where in own.timed and (speed := getattr(own.timed[where], part))
        }
        for where, part in parts.items()
    }
    lines = []
    for method in order(found.methods):
        if method not in chosen:
            lines.append([method, "none", *[NONE] * len(timed)])
            continue
        cells = [_cell(kept[method].speedup, method in tied)]
        for own in speeds.values():
            tie = len(first := fastest(own)) > 1 and method in first
            cells.append(_cell(own[method], tie) if method in own else NONE)
        lines.append([method, *cells])
    one = len({(where.device, where.threads) for where in timed}) == 1
    settings = {w: f"batch {w.batch_size}" if one else text.timing_setting(w) for w in timed}
    columns = ["method", "FLOPs saved", *(f"{part}, {settings[w]}" for w, part in parts.items())]
    runs = study.runs_on(task)
    machine = text.timed_on(timed, study.device_names(task)) if timed else ""
    notes = [
        f"{text.title(runs, text.trained_on(runs))}; {text.seeds(models)}; reference: "
        f"{reference(found, models[0].metric)}",
        f"FLOPs saved: by the fastest model within {TIMED_DROP:g} point of the reference on "
        "selection, if it is on validation, too; else none",
        "tie: the interval of the ratio to the largest number of the column contains 1 (times: the "
        "intervals overlap)",
    ]
    if (sentence := without_encoder(found)) is not None:
        notes.append(sentence)
    if timed:
        means = {"call": "from text to answer", "encoder": "without tokenisation"}
        used = "; ".join(f"{part}: {means[part]}" for part in sorted({*parts.values()}))
        notes.append(
            f"{used}; wall-clock speed-up of that model in its fastest backend over the fastest "
            f"dense model of any backend, on {machine}; {NONE}: no such model, or not timed"
        )
    title = (
        f"{text.task_name(task)}: speed-up within {TIMED_DROP:g} point of {found.reference.name}"
    )
    return Table(title, columns, [lines], notes)


def write(study: StoreView, page: Path) -> Path:
    """Write the headline of a store's first task between the markers of a Markdown page.

    Raises
    ------
    InputError
        If the page has no markers, or the store no headline.
    """
    content = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"--into {page}: no table is marked there; write {BEGIN} and {END}")
    table = headline(study.tasks[0], study) if study.tasks else None
    if table is None:
        raise InputError(f"{study.folder}: no method can be compared with a reference, so no table")
    return write_file(page, f"{before}{BEGIN}\n{markdown(table)}\n{END}{after}")


def _cell(speedup: Estimate, tie: bool) -> str:
    return f"{text.rounded(speedup.value, 1)}{TIMES}{' tie' * tie}"

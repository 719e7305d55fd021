"""The one table of a front page: what each method saves within one point, and how fast it is.

It has the choices of `Evidence.choices`, as the store's page does.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lotbench.errors import InputError
from lotbench.report import text
from lotbench.report.looks import order
from lotbench.report.tables.clock import TIMED_DROP, calls_timed
from lotbench.report.tables.overview import reference, without_encoder
from lotbench.report.tables.render import Table, markdown
from lotbench.report.text import NONE, TIMES
from lotbench.statistics.evidence import ties
from lotbench.statistics.scored import Scored, wheres
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import Where, fastest
from lotbench.store.files import write_file

BEGIN = "<!-- table: written by lotbench plot -->"
END = "<!-- end of table -->"


def headline(task: str, study: StoreView) -> Table | None:
    """A line per method; None if the task has no reference."""
    found, models = study.evidence.get(task), study.validated(task)
    if found is None or not found.curves:
        return None
    choices = found.choices(TIMED_DROP)
    tied = ties(choices)
    chosen = {method: own.model for method, own in choices.items() if own.model}
    timed = wheres(chosen.values())
    parts = {where: "call" if calls_timed(chosen.values(), where) else "encoder" for where in timed}
    cells = {where: _speeds(chosen, where, part) for where, part in parts.items()}
    lines = [
        [
            method,
            text.chosen(choices.get(method), method in tied),
            *(own.get(method, NONE) for own in cells.values()),
        ]
        for method in order(found.methods)
    ]
    one = len({(where.device, where.threads) for where in timed}) == 1
    settings = {w: f"batch {w.batch_size}" if one else text.timing_setting(w) for w in timed}
    columns = ["method", "FLOPs speed-up", *(f"{part}, {settings[w]}" for w, part in parts.items())]
    runs = study.runs_on(task)
    limit = f"{TIMED_DROP:g} {text.unit(models[0].metric).removesuffix('s')}"
    notes = [
        f"{text.title(runs, text.trained_on(runs))}; {text.seeds(models)}; reference: "
        f"{reference(found, models[0].metric)}",
        f"FLOPs speed-up: of the fastest model within {limit} of the reference on selection, read "
        "on validation, and below it its score there minus that of the reference; in brackets 95% "
        "intervals of choosing and reading; none: no model is that close; "
        f"{text.AT_LEAST} no faster one was scored",
        "tie: the interval of the ratio to the largest number of the column contains 1 (times: the "
        "intervals overlap)",
    ]
    if (sentence := without_encoder(found)) is not None:
        notes.append(sentence)
    if timed:
        means = {"call": "from text to answer", "encoder": "without tokenisation"}
        used = "; ".join(f"{part}: {means[part]}" for part in sorted({*parts.values()}))
        machine = text.timed_on(timed, study.device_names(task))
        notes.append(
            f"{used}; wall-clock speed-up of that model in its fastest backend over the fastest "
            f"dense model of any backend, on {machine}, and below it the FLOPs speed-up on the "
            f"timed texts; {NONE}: no such model, or not timed"
        )
    title = f"{text.task_name(task)}: speed-up within {limit} of {found.reference.name}"
    return Table(title, columns, [lines], notes)


def _speeds(chosen: Mapping[str, Scored], where: Where, part: str) -> dict[str, str]:
    """By method the cell of a timing setting; ``part`` is the call or the encoder."""
    timed = {method: own.timed[where] for method, own in chosen.items() if where in own.timed}
    speeds = {method: speed for method, own in timed.items() if (speed := getattr(own, part))}
    near = fastest(speeds)
    return {
        method: f"{text.with_interval(speed, TIMES)}{' tie' * (len(near) > 1 and method in near)}\n"
        f"FLOPs {text.rounded(timed[method].flops.value, 1)}{TIMES}"
        for method, speed in speeds.items()
    }


def write(study: StoreView, page: Path) -> Path:
    """Write the headline of a store's first task between the markers of a Markdown page."""
    content = ""
    with suppress(OSError, UnicodeDecodeError):
        content = page.read_text(encoding="utf-8")
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        message = f"no table is marked there in UTF-8; write {BEGIN} and {END}"
        raise InputError(f"--into {page}: {message}")
    table = headline(study.tasks[0], study) if study.tasks else None
    if table is None:
        raise InputError(f"{study.folder}: no method can be compared with a reference, so no table")
    return write_file(page, f"{before}{BEGIN}\n{markdown(table)}\n{END}{after}")

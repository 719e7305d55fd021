"""The tables of a task by name, and all of a store for the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.text import Text

from lotbench.report.tables.all_tasks import all_tasks, drops_of
from lotbench.report.tables.backends import backends
from lotbench.report.tables.clock import clock
from lotbench.report.tables.differences import differences
from lotbench.report.tables.metrics import metrics
from lotbench.report.tables.models import models
from lotbench.report.tables.overview import overview, reach
from lotbench.report.tables.render import Table, terminal
from lotbench.report.tables.search import effort, parameters
from lotbench.statistics.frames import error_text
from lotbench.statistics.store_view import StoreView


def tables(task: str, study: StoreView) -> dict[str, Table]:
    """The tables of a task in their order: the overview, or all models if there is none, first."""
    first = overview(task, study)
    some = {"overview": first, "models": None if first else models(task, study)}
    some |= {"clock": clock(task, study), "reach": reach(task, study)}
    some |= {f"changes-{place}": own for place, own in enumerate(differences(task, study), 1)}
    some |= {"search": effort(task, study), "parameters": parameters(task, study)}
    some |= {"metrics": metrics(task, study), "backends": backends(task, study)}
    return {name: own for name, own in some.items() if own is not None}


def console(study: StoreView) -> Group:
    """The tables of a store, ready for ``rich.print``.

    The overview of a task is its last table.  A store with several tasks has the mean drops over
    all of them after that.  Failed trials come last, each with its error.
    """
    shown = [table for task in study.tasks for table in [*tables(task, study).values()][::-1]]
    compared = drops_of(study)
    if compared:
        shown.append(all_tasks(compared))
    parts: list[Any] = [part for table in shown for part in (terminal(table), Text())]
    if not parts:
        parts.append(Text("No trial is done and scored on validation."))
    if study.failed:
        parts.append(Text(f"Failed trials: {len(study.failed)}", style="bold red"))
    parts += [Text(f"  {run.trial.trial_id}  {error_text(run)}") for run in study.failed]
    return Group(*parts)

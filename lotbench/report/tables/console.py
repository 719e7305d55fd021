"""All tables of a store for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lotbench.report.tables.all_tasks import all_tasks, drops_of
from lotbench.report.tables.of_task import tables
from lotbench.report.tables.render import terminal
from lotbench.statistics.frames import error_text
from lotbench.statistics.store_view import StoreView

if TYPE_CHECKING:
    from rich.console import Group


def console(study: StoreView) -> Group:
    """The tables of a store, ready for ``rich.print``.

    The overview of a task is its last table.  A store with several tasks has the mean drops over
    all of them after that.  Failed trials come last, each with its error.
    """
    from rich.console import Group
    from rich.text import Text

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

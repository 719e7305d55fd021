"""The marks of a search in the rows of a store, as its sweep is now."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from lotbench.plan.plan import Plan
from lotbench.store.rows import Searched
from lotbench.store.store import Store
from lotbench.trial.trial import marked


def mark_rows(store: Store, planned: Plan) -> None:
    """Marks rows from before a search, and those that the sweep no longer has or chooses.

    Rows of other tasks and methods stay as they are.
    """
    sizes = {search.mark.key: search.size for search in planned.searches}
    named = {(trial.config.task, trial.config.method) for trial in planned.trials.values()}
    for row in store.trials():
        mark = row.search
        if row.trial_id in planned.trials:
            mark = planned.trials[row.trial_id].mark
        elif mark and (row.task, row.method) in named and not _stays(mark, sizes, planned.chosen):
            mark = mark.model_copy(update={"part": "superseded", "area": None})
        if mark != row.search and (new := marked(row, mark)) != row:
            store.write(new)


def _stays(mark: Searched, sizes: Mapping[str, int], chosen: Collection[str]) -> bool:
    """True for a part of a search that the sweep has; a choice stays until there is another."""
    if mark.key not in sizes:
        return False
    return mark.index < sizes[mark.key] if mark.part == "search" else mark.key not in chosen

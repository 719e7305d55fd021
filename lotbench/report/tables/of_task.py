"""The tables of a task by name."""

from __future__ import annotations

from lotbench.report.tables.all_models import all_models
from lotbench.report.tables.backends import backends
from lotbench.report.tables.clock import chosen_clock, clock
from lotbench.report.tables.differences import differences
from lotbench.report.tables.equal_flops import equal_flops
from lotbench.report.tables.metrics import against_first, metrics
from lotbench.report.tables.overview import overview
from lotbench.report.tables.render import Table
from lotbench.report.tables.search import effort, parameters
from lotbench.statistics.store_view import StoreView

Tables = dict[str, Table]


def tables(task: str, study: StoreView) -> tuple[Tables, Tables]:
    """The tables that open a task, and the long ones that close it."""
    opening = {"overview": overview(task, study), "equal": equal_flops(task, study)}
    opening |= {"clock": chosen_clock(task, study)}
    opening |= {f"changes-{place}": own for place, own in enumerate(differences(task, study), 1)}
    opening |= {"search": effort(task, study), "parameters": parameters(task, study)}
    models = all_models(task, study) if study.validated(task) else None
    closing = {"metrics": metrics(task, study), "methods": against_first(task, study)}
    closing |= {"models": models, "timings": clock(task, study)}
    closing |= {"backends": backends(task, study)}
    return _there(opening), _there(closing)


def _there(some: dict[str, Table | None]) -> Tables:
    return {name: own for name, own in some.items() if own is not None}

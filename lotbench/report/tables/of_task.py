"""The tables of a task by name."""

from __future__ import annotations

from dataclasses import replace

from lotbench.report.tables.backends import backends
from lotbench.report.tables.clock import clock
from lotbench.report.tables.differences import differences
from lotbench.report.tables.metrics import metrics
from lotbench.report.tables.models import models
from lotbench.report.tables.overview import no_layer_gap, overview, reach
from lotbench.report.tables.render import Table
from lotbench.report.tables.search import effort, parameters
from lotbench.statistics.store_view import StoreView


def tables(task: str, study: StoreView) -> dict[str, Table]:
    """The tables of a task in their order: the overview, or all models if there is none, first.

    Each title ends with the no-layer gap, if there is a model without layers.
    """
    first = overview(task, study)
    some = {"overview": first, "models": None if first else models(task, study)}
    some |= {"clock": clock(task, study), "reach": reach(task, study)}
    some |= {f"changes-{place}": own for place, own in enumerate(differences(task, study), 1)}
    some |= {"search": effort(task, study), "parameters": parameters(task, study)}
    some |= {"metrics": metrics(task, study), "backends": backends(task, study)}
    found = study.evidence.get(task)
    gap = f"; no-layer gap {said}" if found and (said := no_layer_gap(found)) else ""
    return {
        name: replace(own, title=own.title + gap) for name, own in some.items() if own is not None
    }

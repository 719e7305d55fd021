"""Tables of wall-clock speed-ups: of the models that a task chooses, and of all models."""

from __future__ import annotations

from collections.abc import Sequence

from lotbench.report import text
from lotbench.report.looks import order
from lotbench.report.tables.render import Table
from lotbench.report.text import NONE, PLUS_MINUS, TIMES
from lotbench.statistics.bootstrap import Estimate
from lotbench.statistics.scored import DENSE, Scored, wheres
from lotbench.statistics.study import Study
from lotbench.statistics.timed import Timed, Where

# The model of a method whose wall-clock speed-up opens a task: within so many points.
TIMED_DROP = 1.0
COLUMNS = [f"FLOPs {TIMES}", f"real {TIMES}", f"same backend {TIMES}", "fastest backend"]


def chosen_clock(task: str, study: Study) -> Table | None:
    """The speed on the clock of each method's model within one point; None without timings."""
    found, models = study.evidence.get(task), study.validated(task)
    if found is None or not wheres(models):
        return None
    choices = found.choices(TIMED_DROP).items()
    chosen = {method: own.model for method, own in choices if own.model and own.model.timed}
    if not chosen:
        return None
    groups = [
        [
            [method, text.timing_setting(where), *_cells(chosen[method].timed[where])]
            for method in order(chosen)
            if where in chosen[method].timed
        ]
        for where in wheres(chosen.values())
    ]
    close = f"within {TIMED_DROP:g} point of the reference on selection"
    title = f"{task}, speed on the clock of the model {close}"
    return Table(title, ["method", "timed on", *COLUMNS], groups, _notes(task, study), texts=2)


def clock(task: str, study: Study) -> Table | None:
    """The speed on the clock of every timed model; None without timings."""
    models = [own for own in study.validated(task) if own.timed]
    groups = []
    for where in wheres(models):
        own = [each for each in models if where in each.timed]
        methods = order(each.method for each in own)
        own.sort(key=lambda each: (methods.index(each.method), each.flops.value))
        groups.append([_row(each, where) for each in own])
    if not groups:
        return None
    columns = ["method", "setting", "timed on", "seeds", *COLUMNS]
    notes = _notes(task, study)
    if any(own.method in DENSE for own in models):
        notes.append(
            "dense: the dense model of a trial, run like all others (as a file: LoTBench's own "
            "export); it can be slower than the fastest dense model, with which all are compared"
        )
    return Table(f"{task}, speed on the clock of all models", columns, groups, notes, texts=3)


def model_name(own: Scored) -> str:
    """Parameters and target or budget of a model, without repetition."""
    return " ".join(dict.fromkeys([*own.name.split(), *own.at.split()]))


def _row(own: Scored, where: Where) -> list[str]:
    timed = own.timed[where]
    first = [own.method, model_name(own), text.timing_setting(where), str(timed.seeds)]
    return [*first, *_cells(timed)]


def _cells(own: Timed) -> list[str]:
    assert own.best is not None, "the best backend has it"
    mark = "!" if own.noisy else "~" * own.flagged
    flops = text.speedup(own.flops.value)
    return [flops, f"{mark}{_half(own.best)}", _half(own.same), own.backend]


def _half(speedup: Estimate) -> str:
    """A speed-up with half the width of its interval."""
    half = (speedup.high - speedup.low) / 2
    return f"{text.speedup(speedup.value)} {PLUS_MINUS}{text.speedup(half)}"


def _notes(task: str, study: Study) -> list[str]:
    floors = study.noise_floors(task)
    noise = [
        f"{100 * floors[where]:.1f}% ({text.timing_setting(where)})" for where in sorted(floors)
    ]
    return [
        f"FLOPs {TIMES}: FLOPs speed-up on the timed texts",
        f"real {TIMES}: the model in its fastest backend against the fastest dense model of any "
        f"backend; same backend {TIMES}: against the fastest dense model of that backend",
        "a backend counts for a model if it costs at most half a point of the score in torch-fp32",
        f"{PLUS_MINUS} half the 95% interval; ~ the speed-up may be 1 (timing noise); ! its "
        "interval is wider than 10%",
        f"dense against itself (A/A noise): {', '.join(noise) or NONE}",
    ]


def real_speedups(models: Sequence[Scored]) -> str:
    """Note for a caption: what real speed-ups are against, and what hollow marks mean."""
    reduced = [own for own in models if own.method not in DENSE]
    noisy = any(timed.flagged for own in reduced for timed in own.timed.values())
    against = "Timed against the fastest dense model of any backend, each model in its fastest one"
    return f"{against}{'; hollow: within timing noise' * noisy}"

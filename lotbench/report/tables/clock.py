"""Tables of wall-clock speed-ups: of the models that a task chooses, and of all models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lotbench.report import text
from lotbench.report.looks import order
from lotbench.report.tables.render import Table
from lotbench.report.text import NONE, PLUS_MINUS, TIMES
from lotbench.statistics.scored import DENSE_METHODS, Scored, wheres
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import Where

# The model of a method whose wall-clock speed-up opens a task: within so many points.
TIMED_DROP = 1.0


def chosen_clock(task: str, study: StoreView) -> Table | None:
    """The speed on the clock of each method's model within one point; None without timings."""
    found = study.evidence.get(task)
    choices = found.choices(TIMED_DROP).values() if found else ()
    models = [own.model for own in choices if own.model]
    close = f"within {TIMED_DROP:g} point of the reference on selection"
    title = f"{task}, speed on the clock of the model {close}"
    return _table(title, task, study, models, one_each=True)


def clock(task: str, study: StoreView) -> Table | None:
    """The speed on the clock of every timed model; None without timings."""
    title = f"{task}, speed on the clock of all models"
    return _table(title, task, study, study.validated(task), one_each=False)


def _table(
    title: str, task: str, study: StoreView, models: Sequence[Scored], one_each: bool
) -> Table | None:
    """The times of models; of one model per method, its setting and seeds are left out."""
    lossy = [
        own
        for own in models
        # Without a best, it is dense that no backend holds.
        if {where for (where, _), each in own.backends.items() if each.best} - own.timed.keys()
    ]
    models, settings = [own for own in models if own.timed], wheres(models)
    if not models:
        return None
    calls = calls_timed(models, *settings)
    methods = order(own.method for own in models)
    models.sort(key=lambda own: (methods.index(own.method), own.flops.value))
    groups = [
        [_row(own, where, calls, one_each) for own in models if where in own.timed]
        for where in settings
    ]
    first = ["timed on"] if one_each else ["setting", "timed on", "seeds"]
    factors = ["FLOPs", *["call"] * calls, "encoder", "same backend"]
    columns = ["method", *first, *(f"{name} {TIMES}" for name in factors), "fastest backend"]
    notes = _notes(task, study, calls)
    if lossy:
        names = ", ".join(f"{own.method} {model_name(own)}".strip() for own in lossy)
        notes.append(f"not shown where every timed backend costs more than half a point: {names}")
    if any(own.method in DENSE_METHODS for own in models):
        notes.append(
            "dense: the untouched model on padded batches (as a file: its plain export); below "
            f"1{TIMES} the same weights on LoTBench's packed path are faster, and all are compared "
            "with the faster of the two"
        )
    return Table(title, columns, groups, notes, texts=2 if one_each else 3)


def model_name(own: Scored) -> str:
    """Parameters and target or budget of a model, without repetition."""
    return " ".join(dict.fromkeys([*own.name.split(), *own.at.split()]))


def calls_timed(models: Iterable[Scored], *settings: Where) -> bool:
    """True if calls were timed in any of the settings, and not the encoder alone."""
    return any(own.timed[w].call for own in models for w in settings if w in own.timed)


def _row(model: Scored, where: Where, calls: bool, one_each: bool) -> list[str]:
    own, setting = model.timed[where], text.timing_setting(where)
    assert own.encoder is not None, "the best backend has it"
    first = [setting] if one_each else [model_name(model), setting, str(own.seeds)]
    mark = "!" if own.noisy else "~" * own.flagged
    call = [f"{mark}{text.plus_minus(own.call)}" if own.call else NONE] * calls
    encoder = f"{'' if own.call else mark}{text.plus_minus(own.encoder)}"
    speeds = [text.speedup(own.flops.value), *call, encoder, text.plus_minus(own.same)]
    return [model.method, *first, *speeds, own.backend]


def _notes(task: str, study: StoreView, calls: bool) -> list[str]:
    against = "in the model's fastest backend against the fastest dense model of any backend"
    call = [f"call {TIMES}: from text to answer, {against}; {NONE}: not timed"] * calls
    return [
        f"FLOPs {TIMES}: FLOPs speed-up on the timed texts",
        *call,
        f"encoder {TIMES}: {'the same of ' * calls}the encoder alone, without tokenisation"
        + ("" if calls else f", {against}"),
        f"same backend {TIMES}: the encoder alone against the fastest dense model of that backend",
        "a backend counts for a model if it costs at most half a point of the score in torch-fp32",
        f"{PLUS_MINUS} half the 95% interval; ~ the speed-up may be 1 (timing noise); ! its "
        "interval is wider than 10%",
        f"dense against itself (A/A noise): {text.noise(study.noise_floors(task))}",
    ]


def real_speedups(models: Sequence[Scored], settings: Sequence[Where]) -> str:
    """Note for a caption: what real speed-ups are against, and what hollow marks mean."""
    reduced = [own.timed for own in models if own.method not in DENSE_METHODS]
    noisy = any(timed[w].flagged for timed in reduced for w in settings if w in timed)
    names = {True: "calls, from text to answer,", False: "the encoder alone,"}
    kinds = sorted({calls_timed(models, where) for where in settings}, reverse=True)
    what = " or, where an axis says so, ".join(names[kind] for kind in kinds)
    against = "against the fastest dense model of any backend, each model in its fastest one"
    return f"{what[0].upper()}{what[1:]} timed {against}{'; hollow: within timing noise' * noisy}"

"""The table of wall-clock speed-ups, of the models that a task chooses."""

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


def clock(task: str, study: StoreView) -> Table | None:
    """The speed on the clock of each method's model within one point; None without timings."""
    found = study.evidence.get(task)
    choices = found.choices(TIMED_DROP) if found else {}
    chosen = [choices[method].model for method in order(choices)]
    models = [own for own in chosen if own and own.timed]
    if not models:
        return None
    settings = wheres(models)
    rows = [
        [own.method, text.speedup(own.flops.value), *(speed(own, where) for where in settings)]
        for own in models
    ]
    columns = ["method", f"FLOPs {TIMES}", *map(text.timing_setting, settings)]
    close = f"within {TIMED_DROP:g} point of the reference on selection"
    title = f"{text.named(task, study)}: speed on the clock of the model {close}"
    return Table(title, columns, [rows], notes(task, study, models))


def model_name(own: Scored) -> str:
    """Parameters and target or budget of a model, without repetition."""
    at = str(own.at or "") if own.target is None else f"target={own.target:g}"
    return " ".join(dict.fromkeys([*own.name.split(), *at.split()]))


def calls_timed(models: Iterable[Scored], *settings: Where) -> bool:
    """True if calls were timed in any of the settings, and not the encoder alone."""
    return any(own.timed[w].call for own in models for w in settings if w in own.timed)


def speed(model: Scored, where: Where) -> str:
    """The real speed-ups of a model in a timing setting, a line each, and its fastest backend."""
    timed = model.timed.get(where)
    if timed is None or timed.encoder is None:
        return NONE
    mark = "!" if timed.noisy else "~" * timed.flagged
    call = [f"{mark}{text.plus_minus(timed.call)}"] if timed.call else []
    encoder = (
        f"encoder {text.plus_minus(timed.encoder)}"
        if call
        else f"{mark}{text.plus_minus(timed.encoder)}"
    )
    return "\n".join([*call, encoder, f"same backend {text.plus_minus(timed.same)}", timed.backend])


def notes(task: str, study: StoreView, models: Sequence[Scored]) -> list[str]:
    """How to read the speeds of these models; none if no model was timed."""
    settings = wheres(models)
    if not settings:
        return []
    what = "a call, from text to answer" if calls_timed(models, *settings) else "the encoder alone"
    sentences = [
        f"first line: speed-up of {what}, in the model's fastest backend against the fastest dense "
        f"model of any backend; encoder: the same without tokenisation; {NONE}: not timed",
        "same backend: the encoder alone against the fastest dense model of that backend, which is "
        "named last",
        "a backend counts for a model if it costs at most half a point of the score in torch-fp32",
        f"{PLUS_MINUS} half the 95% interval; ~ the speed-up may be 1 (timing noise); ! its "
        "interval is wider than 10%",
        f"dense against itself (A/A noise): {text.noise(study.noise_floors(task))}",
    ]
    lossy = [
        own
        for own in models
        # Without a best, it is dense that no backend holds.
        if {where for (where, _), each in own.backends.items() if each.best} - own.timed.keys()
    ]
    if lossy:
        names = ", ".join(f"{own.method} {model_name(own)}".strip() for own in lossy)
        sentences.append(f"not timed where every backend costs more than half a point: {names}")
    if any(own.method in DENSE_METHODS for own in models):
        sentences.append(
            "dense: the untouched model on padded batches (as a file: its plain export); below "
            f"1{TIMES} the same weights on LoTBench's packed path are faster, and all are compared "
            "with the faster of the two"
        )
    return sentences


def real_speedups(models: Sequence[Scored], settings: Sequence[Where]) -> str:
    """Note for a caption: what real speed-ups are against, and what hollow marks mean."""
    reduced = [own.timed for own in models if own.method not in DENSE_METHODS]
    noisy = any(timed[w].flagged for timed in reduced for w in settings if w in timed)
    names = {True: "calls, from text to answer,", False: "the encoder alone,"}
    kinds = sorted({calls_timed(models, where) for where in settings}, reverse=True)
    what = " or, where an axis says so, ".join(names[kind] for kind in kinds)
    against = "against the fastest dense model of any backend, each model in its fastest one"
    return f"{what[0].upper()}{what[1:]} timed {against}{'; hollow: within timing noise' * noisy}"

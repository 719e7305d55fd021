"""What a task shows, in a few plain sentences.

A method is called ahead only if no other ties with it, if it keeps to the limit on validation, too,
and if its interval leaves out "no saving".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lotbench.report import text
from lotbench.report.looks import order
from lotbench.report.tables.clock import TIMED_DROP
from lotbench.report.tables.overview import reference, texts, without_encoder
from lotbench.report.tables.search import in_order, verdict
from lotbench.report.text import TIMES
from lotbench.scoring.area import LEAST_END
from lotbench.statistics.evidence import Choice, Evidence, first, ties
from lotbench.statistics.scored import Scored, wheres
from lotbench.statistics.search import orders
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import Where, fastest

# FLOPs speed-ups at which methods are compared in a sentence; the tables have all.
TARGETS = (2.0, 4.0, 8.0)
# Timing settings that the last sentence names.
MOST_SETTINGS = 3


def findings(task: str, study: StoreView) -> list[str]:
    """The sentences on a task: what is compared, the winners, whole curve, real time, search."""
    ranked = orders(in_order(task, study))
    return _of_reported(task, study) + [sentence for sentence in [verdict(ranked)] if sentence]


def _of_reported(task: str, study: StoreView) -> list[str]:
    models = study.validated(task)
    if not models:
        return ["No trial is done and scored on validation."]
    found = study.evidence.get(task)
    if found is None:
        return ["Neither dense nor the teacher has a score, so there is nothing to compare with."]
    opening = _compared(task, study, found, models)
    if not found.methods:
        return [opening, "Only dense models are here, so there is nothing to compare."]
    if not found.curves:
        why = "not every seed of a model or of the reference is scored on both splits"
        return [opening, f"No winner is named: {why}, so none can be chosen fairly."]
    unit = text.unit(models[0].metric)
    choices = found.choices(TIMED_DROP)
    kept = {method: own for method, own in choices.items() if own.keeps(TIMED_DROP)}
    at_targets = [_at_target(target, found, unit) for target in TARGETS]
    sentences = [
        opening,
        without_encoder(found) or "",
        _within(found, choices, unit),
        " ".join(filter(None, at_targets)),
        _curve(found),
        _on_the_clock(kept, models, unit),
    ]
    return [sentence for sentence in sentences if sentence]


def _compared(task: str, study: StoreView, found: Evidence, models: list[Scored]) -> str:
    """The methods, models and seeds, and the reference."""
    count = text.count(len(found.methods), "method")
    reduced = [own for own in models if own.method in found.methods]
    scored = f" with {text.count(len(reduced), 'model')} ({text.seeds(reduced)})" if reduced else ""
    against = reference(found, models[0].metric)
    unit = text.unit_of(study.runs_on(task))
    sizes = [f"{texts(task, split, study)} {split} {unit}" for split in ("selection", "validation")]
    return (
        f"{count[0].upper()}{count[1:]}{scored} against {against}; "
        f"chosen on {sizes[0]}, read on {sizes[1]}."
    )


def _within(found: Evidence, choices: Mapping[str, Choice], unit: str) -> str:
    """Who saves most within the drop: a winner, or the methods that tie, or none."""
    limit = f"{TIMED_DROP:g} {unit.removesuffix('s')}"
    close = (
        f"Within {limit} of {'the ' * (found.reference.name == 'teacher')}{found.reference.name}"
    )
    good = {method: own for method, own in choices.items() if own.model}
    if not good:
        return f"{close}: none. {_nearest(found, unit)}"
    kept = {method: own for method, own in good.items() if own.keeps(TIMED_DROP)}
    lost = [method for method in order(good) if method not in kept]
    verb = "is" if len(lost) == 1 else "are"
    missed = f" {text.listed(lost)} {verb} that close on selection, but not on validation."
    missed = missed if lost else ""
    if not kept:
        return f"{close}: none on validation.{missed}"
    tied = ties(kept)
    leader = max(order(kept), key=lambda method: kept[method].speedup.value)
    if tied:
        speedups = [kept[method].speedup.value for method in tied]
        return (
            f"{close}, no method is ahead: {text.listed(order(tied))} tie, with "
            f"{_range(speedups, TIMES)} fewer FLOPs.{missed}"
        )
    own = kept[leader]
    saving = f"{text.with_interval(own.speedup, TIMES)} fewer FLOPs"
    gain = f"{text.with_interval(own.margin)} {unit} on validation"
    if own.speedup.low <= 1:
        return f"{close}, no saving is sure: {leader} has {saving} at {gain}.{missed}"
    further = " No faster model of it was scored, so it may go further." * own.open_end
    who = f"{leader} saves most:" if len(choices) > 1 else f"{leader}, the only method, has"
    return f"{close}, {who} {saving} at {gain}.{further}{missed}"


def _nearest(found: Evidence, unit: str) -> str:
    """The model that loses least on selection, with its loss on validation."""
    nearest = [
        (float(own.margins["selection"][place, 0]), model)
        for own in found.curves.values()
        for place, model in enumerate(own.models)
    ]
    _, model = max(nearest, key=lambda pair: pair[0])
    speedup = f"{text.rounded(model.flops.value, 1)}{TIMES}"
    where = f"{text.with_interval(model.gain)} {unit} on validation"
    return f"The nearest is {model.method}: {speedup} fewer FLOPs at {where}."


def _at_target(target: float, found: Evidence, unit: str) -> str:
    """Who scores best at a speed-up: one method, or those that tie."""
    margins = found.at_target(target)
    if len(margins) < 2:
        return ""
    leaders = order(first(margins))
    where = f"At {target:g}{TIMES} fewer FLOPs"
    if len(leaders) == 1:
        gain = text.with_interval(margins[leaders[0]].value)
        return f"{where}, {leaders[0]} is ahead, with {gain} {unit}."
    values = [margins[method].value.value for method in leaders]
    who = "all methods tie" if len(leaders) == len(margins) else f"{text.listed(leaders)} tie"
    return f"{where}, no method is ahead: {who} ({_range(values)} {unit})."


def _curve(found: Evidence) -> str:
    """The largest area."""
    areas = found.areas()
    if found.end < LEAST_END:
        return f"No whole curves are compared: some end at {found.end:.2f}{TIMES}."
    upto = f"Over all speed-ups up to {text.rounded(found.end, 1)}{TIMES}"
    first = [method for method in order(areas) if areas[method].rank == 1]
    values = [areas[method].value.value for method in first]
    if len(first) > 1:
        return f"{upto}, no method is ahead: {text.listed(first)} tie (areas {_range(values)})."
    area = text.with_interval(areas[first[0]].value)
    return f"{upto}, {first[0]} has the largest area, {area}."


def _on_the_clock(choices: Mapping[str, Choice], models: list[Scored], unit: str) -> str:
    """The fastest of the chosen models on the clock, by timing setting."""
    if not wheres(models):
        return "Nothing was timed, so no speed on the clock is claimed (see `lotbench measure`)."
    limit = f"{TIMED_DROP:g} {unit.removesuffix('s')}"
    chosen = [own.model for own in choices.values() if own.model and own.model.timed]
    parts = [_fastest(chosen, where) for where in wheres(chosen)]
    if not parts:
        return f"No model within {limit} was timed; the tables have those that were."
    more = len(parts) - MOST_SETTINGS
    rest = f"; {text.count(more, 'more setting')} in the table" if more > 0 else ""
    return (
        f"On the clock, against the fastest dense model of any backend, of the models within "
        f"{limit}: {'; '.join(parts[:MOST_SETTINGS])}{rest}."
    )


def _fastest(chosen: Iterable[Scored], where: Where) -> str:
    """The fastest in a timing setting, or those whose intervals overlap with it."""
    timed = {own.method: own.timed[where] for own in chosen if where in own.timed}
    speeds = {method: own.best or own.same for method, own in timed.items()}
    near = order(fastest(speeds))
    own, encoders = timed[near[0]], [each.value for m in near if (each := timed[m].encoder)]
    alone = f": {_range(encoders, TIMES)}" if own.call else ""
    setting = f"{text.timing_setting(where)}; the encoder alone{alone}"
    if len(near) > 1:
        span = _range([speeds[method].value for method in near], TIMES)
        what = " in answering a text," * bool(own.call)
        return f"{text.listed(near)} tie{what} at {span} ({setting})"
    noise = ", within timing noise" * own.flagged
    speed = text.with_interval(speeds[near[0]], TIMES)
    runs = "answers a text" if own.call else "runs"
    return f"{near[0]} {runs} {speed} as fast in {own.backend}{noise} ({setting})"


def _range(values: Iterable[float], unit: str = "") -> str:
    """``3.0 to 11.5``, or one number if all are equal."""
    values = list(values)
    ends = [f"{text.rounded(end, 1)}{unit}" for end in (min(values), max(values))]
    return " to ".join(dict.fromkeys(ends))

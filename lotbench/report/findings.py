"""What a task shows, in a few plain sentences.

A method is called ahead only if no other ties with it, and if its interval leaves out "no saving".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lotbench.report import text
from lotbench.report.advice import name, past_there
from lotbench.report.chance import nothing_learned
from lotbench.report.looks import order
from lotbench.report.recommend import Limits, advise
from lotbench.report.tables.clock import TIMED_DROP
from lotbench.report.tables.overview import reference, texts, without_encoder
from lotbench.report.tables.search import in_order, verdict
from lotbench.report.text import TIMES
from lotbench.scoring.area import LEAST_END
from lotbench.statistics.bootstrap import Estimate
from lotbench.statistics.evidence import Choice, Evidence, first, ties
from lotbench.statistics.scored import Scored, wheres
from lotbench.statistics.search import orders
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import Where

# FLOPs speed-ups at which methods are compared in a sentence; the tables have all.
TARGETS = (2.0, 4.0, 8.0)
# Timing settings that the last sentence names.
MOST_SETTINGS = 3


def findings(task: str, study: StoreView) -> list[str]:
    """The sentences on a task: what is compared, the winners, whole curve, real time, search."""
    first, last = nothing_learned(task, study), verdict(orders(in_order(task, study)))
    return [sentence for sentence in (first, *_of_reported(task, study), last) if sentence]


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
    at_targets = [_at_target(target, found, unit) for target in TARGETS]
    sentences = [
        opening,
        without_encoder(found) or "",
        _within(found, choices, unit),
        " ".join(filter(None, at_targets)),
        _curve(found),
        _on_the_clock(task, study, unit),
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
        f"Within {limit} of {'the ' * (found.reference.name == 'teacher')}{found.reference.name} "
        "on selection"
    )
    good = {method: own for method, own in choices.items() if own.model}
    if not good:
        return f"{close}: none. {_nearest(found, unit)}"
    tied, leader = ties(good), max(order(good), key=lambda method: good[method].speedup.value)
    if tied:
        speedups = [good[method].speedup.value for method in tied]
        missed = "".join(
            f" {method} has {text.with_interval(good[method].margin)} {unit} on validation{past}."
            for method in order(tied)
            if (past := _past_there(good[method]))
        )
        return (
            f"{close}, no method is ahead: {text.listed(order(tied))} tie, with "
            f"{_range(speedups, TIMES)} fewer FLOPs.{missed}"
        )
    own = good[leader]
    saving = f"{text.with_interval(own.speedup, TIMES)} fewer FLOPs"
    gain = f"{text.with_interval(own.margin)} {unit} on validation{_past_there(own)}"
    if own.speedup.low <= 1:
        return f"{close}, no saving is sure: {leader} has {saving} at {gain}."
    further = " No faster model of it was scored, so it may go further." * own.open_end
    who = f"{leader} saves most:" if len(choices) > 1 else f"{leader}, the only method, has"
    return f"{close}, {who} {saving} at {gain}.{further}"


def _past_there(own: Choice) -> str:
    """What follows the validation score of a choice that is past the limit."""
    if own.model is own.holding:
        return ""
    other = own.holding and f"{text.rounded(own.holding.flops.value, 1)}{TIMES}"
    return f", {text.past_there(other)}"


def _nearest(found: Evidence, unit: str) -> str:
    """The model that loses least on selection, with its loss on validation."""
    margins = {
        model: margin
        for curve in found.curves.values()
        for model, margin in zip(curve.models, curve.margins["selection"][:, 0], strict=True)
    }
    model = max(margins, key=margins.__getitem__)
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


def _on_the_clock(task: str, study: StoreView, unit: str) -> str:
    """What `recommend` chooses in every timing setting, and which methods tie with it."""
    settings = wheres(study.validated(task))
    if not settings:
        return "Nothing was timed, so no speed on the clock is claimed (see `lotbench measure`)."
    limit = f"{TIMED_DROP:g} {unit.removesuffix('s')}"
    parts = [part for where in settings if (part := _fastest(task, study, where))]
    if not parts:
        return f"No model within {limit} was timed; the tables have those that were."
    more = len(parts) - MOST_SETTINGS
    rest = f"; {text.count(more, 'more setting')} in the table" if more > 0 else ""
    return (
        f"On the clock, against the fastest dense model of any backend, of the models within "
        f"{limit} on selection: {'; '.join(parts[:MOST_SETTINGS])}{rest}."
    )


def _fastest(task: str, study: StoreView, where: Where) -> str | None:
    """The fastest model in a timing setting, or the methods whose intervals overlap with it."""
    limits = Limits(TIMED_DROP, None, where.batch_size, where.threads, where.device)
    advice = advise(task, study, limits)
    if advice is None or (own := advice.choice) is None or (speed := own.speedup) is None:
        return None
    speeds: dict[str, Estimate] = {}
    for option in advice.good:
        if option.speedup:
            speeds.setdefault(option.row.run.method, option.speedup)
    near = order(method for method, other in speeds.items() if other.high >= speed.low)
    contender, call = own.measured.contender, own.measured.contender.call
    encoder = contender.speedup_best
    alone = f": {text.rounded(encoder.median, 1)}{TIMES}" if call and encoder else ""
    setting = f"{text.timing_setting(where)}; the encoder alone{alone}"
    others = [method for method in near if method != own.row.run.method]
    tie = f", a tie with {text.listed(others)}" if others else ""
    best = contender.call_or_encoder.speedup_best
    noise = ", within timing noise" * (best is not None and best.flagged)
    runs = "answers a text" if call else "runs"
    saying = (
        f"{name(own)} {runs} {text.with_interval(speed, TIMES)} as fast{tie}{noise} ({setting})"
    )
    if not (past := past_there(own, advice)):
        return saying
    return f"{saying}; it has {text.with_interval(own.margins['validation'])} on validation, {past}"


def _range(values: Iterable[float], unit: str = "") -> str:
    """``3.0 to 11.5``, or one number if all are equal."""
    values = list(values)
    ends = [f"{text.rounded(end, 1)}{unit}" for end in (min(values), max(values))]
    return " to ".join(dict.fromkeys(ends))

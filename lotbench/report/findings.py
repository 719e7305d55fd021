"""What a task shows, in a few plain sentences.

A method is called ahead only if no other ties with it, and if its interval leaves out "no saving".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lotbench.report import text
from lotbench.report.chance import nothing_learned
from lotbench.report.looks import look_of, order
from lotbench.report.recommend import Advice, Limits, Option, advise
from lotbench.report.tables.clock import TIMED_DROP
from lotbench.report.tables.overview import reference, texts, the_reference, without_encoder
from lotbench.report.tables.search import in_order, verdict
from lotbench.report.text import TIMES
from lotbench.statistics.bootstrap import Estimate
from lotbench.statistics.drops import Drops, mean_drops
from lotbench.statistics.evidence import Area, Choice, Evidence, first, ties
from lotbench.statistics.runs import Row
from lotbench.statistics.scored import Scored, wheres
from lotbench.statistics.search import orders
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import Where

# FLOPs speed-ups at which methods are compared in a sentence; the tables have all.
TARGETS = (2.0, 4.0, 8.0)
# Timing settings with a sentence; the tables have all.
MOST_SETTINGS = 3


def answer(task: str, study: StoreView) -> list[str]:
    """The answer: who is first over the curve, who is fastest, and what a bag of words gives."""
    found = study.evidence.get(task)
    if found is None or not found.curves:
        return []
    unit = text.unit(study.validated(task)[0].metric)
    fastest, *_ = [*_on_the_clock(task, study, unit), within(found, unit)]
    return [own for own in (_curve(found, unit), fastest, without_encoder(found)) if own]


def findings(task: str, study: StoreView) -> list[str]:
    """The sentences on a task: what is compared, answer, control, equal FLOPs, search."""
    first, last = nothing_learned(task, study), verdict(orders(in_order(task, study)))
    return [sentence for sentence in (first, *_of_reported(task, study), last) if sentence]


def over_tasks(compared: Drops | None, every: Iterable[Evidence | None]) -> list[str]:
    """The answer over several tasks: who is first in the mean, and what the controls say."""
    drops = [own for each in every if each and any(map(_is_control, own := mean_drops(each)))]
    sentences = []
    if compared and compared.mean:
        where = f"Over {len(compared.tasks)} tasks"
        sentences = [f"{where}, {_first(compared.mean, 'points', 'the reference')}"]
    first = sum(any(own[m].rank == 1 and _is_control(m) for m in own) for own in drops)
    of = f"{text.count(len(drops), 'task')} with controls"
    said = [f"A control is first, or ties for it, on {first or 'none'} of {of}."] * bool(drops)
    return [*sentences, *said]


def _of_reported(task: str, study: StoreView) -> list[str]:
    models = study.validated(task)
    if not models:
        return ["No trial is done and scored on validation."]
    found = study.evidence.get(task)
    if found is None:
        return ["Neither dense nor the teacher has a score, so there is nothing to compare with."]
    opening = _compared(task, study, found, models)
    if not found.methods:
        return ["Only dense models are here, so there is nothing to compare.", opening]
    if not found.curves:
        why = "not every seed of a model or of the reference is scored on both splits"
        return [f"No winner is named: {why}, so none can be chosen fairly.", opening]
    unit = text.unit(models[0].metric)
    rest = [*_on_the_clock(task, study, unit), _at_targets(found, unit), within(found, unit)]
    return [*dict.fromkeys([*answer(task, study), *rest, opening])]


def _compared(task: str, study: StoreView, found: Evidence, models: list[Scored]) -> str:
    """The methods, models and seeds, and the reference."""
    count = text.count(len(found.methods), "method")
    reduced = [own for own in models if own.method in found.methods]
    scored = f" with {text.count(len(reduced), 'model')} ({text.seeds(reduced)})" if reduced else ""
    against = reference(found, models[0].metric)
    unit = text.unit_of(study.runs_on(task))
    untimed = "" if wheres(models) else "; nothing was timed (see `lotbench measure`)"
    sizes = [f"{texts(task, split, study)} {split} {unit}" for split in ("selection", "validation")]
    return (
        f"{count[0].upper()}{count[1:]}{scored} against {against}; "
        f"chosen on {sizes[0]}, read on {sizes[1]}{untimed}."
    )


def within(found: Evidence, unit: str) -> str:
    """Who saves most within the drop, and who ties with it; or that no model is that close."""
    choices = found.choices(TIMED_DROP)
    limit = f"{TIMED_DROP:g} {unit.removesuffix('s')}"
    close = f"ithin {limit} of {the_reference(found)} on selection"
    good = {method: own for method, own in choices.items() if own.model}
    if not good:
        return f"W{close}: none. {_nearest(found, unit)}"
    leader = max(order(good), key=lambda method: good[method].speedup.value)
    own, others = good[leader], [method for method in order(ties(good)) if method != leader]
    saving = f"{text.with_interval(own.speedup, TIMES)} fewer FLOPs"
    gain = f"{text.with_interval(own.margin)} {unit} on validation{_past_there(own)}"
    if own.speedup.low <= 1:
        return f"W{close}, no saving is sure: {leader} has {saving} at {gain}."
    further = " No faster model of it was scored, so it may go further." * own.open_end
    return f"Fastest w{close}: {leader} with {saving}{_tie(others)}, at {gain}.{further}"


def _tie(others: list[str]) -> str:
    return f", a tie with {text.some(others)}" if others else ""


def _is_control(method: str) -> bool:
    return look_of(method).role == "control"


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


def _at_targets(found: Evidence, unit: str) -> str:
    """Who scores best at some speed-ups, and how many tie with it."""
    parts = []
    for target in TARGETS:
        margins = found.at_target(target)
        if len(margins) > 1:
            leaders = first(margins)
            best = max(order(leaders), key=lambda method: margins[method].value.value)
            tie = f", a tie of {len(leaders)}" if len(leaders) > 1 else ", ahead of all others"
            parts.append(
                f"at {target:g}{TIMES} {best}, {text.with_interval(margins[best].value)}{tie}"
            )
    return f"Best at equal FLOPs, in {unit}: {'; '.join(parts)}." if parts else ""


def _curve(found: Evidence, unit: str) -> str:
    """Who is best over the whole curve."""
    drops = mean_drops(found)
    if not drops:
        return f"No whole curves are compared: some end at {found.end:.2f}{TIMES}."
    where = f"From 1{TIMES} to {text.rounded(found.end, 1)}{TIMES} fewer FLOPs"
    return f"{where}, {_first(drops, unit, the_reference(found))}"


def _first(drops: Mapping[str, Area], unit: str, reference: str) -> str:
    """The best method with its gain, those that tie with it, and the best of the other kind."""

    def gain(method: str) -> str:
        value, low, high = drops[method].value
        return text.with_interval(Estimate(-value, -high, -low))

    ranked = sorted(order(drops), key=lambda method: drops[method].value.value)
    best, *rest = ranked
    tied = [method for method in rest if drops[method].rank == drops[best].rank == 1]
    control = _is_control(best)
    what = f"{best}, a control," if control else best
    what += " is best, at" if rest else ", the only method, is at"
    sentence = f"{what} {gain(best)} {unit} against {reference} on average{_tie(tied)}"
    other = next((method for method in rest if _is_control(method) != control), None)
    if other is None:
        return f"{sentence}."
    return f"{sentence}; the best {'method' if control else 'control'}, {other}, {gain(other)}."


def _on_the_clock(task: str, study: StoreView, unit: str) -> list[str]:
    """What `recommend` chooses in the first timing settings, and which methods tie with it."""
    settings = wheres(study.validated(task))[:MOST_SETTINGS]
    limit = f"{TIMED_DROP:g} {unit.removesuffix('s')}"
    return [
        f"Fastest on the clock within {limit} on selection ({text.timing_setting(where)}): {said}."
        for where in settings
        if (said := _fastest(task, study, where))
    ]


def _fastest(task: str, study: StoreView, where: Where) -> str | None:
    """The fastest model in a timing setting in words; None if no timed model is close enough."""
    limits = Limits(TIMED_DROP, None, where.batch_size, where.threads, where.device)
    advice = advise(task, study, limits)
    if advice is None or advice.choice is None or advice.choice.speedup is None:
        return None
    return timed(advice.choice, advice, study)


def timed(own: Option, advice: Advice, study: StoreView) -> str:
    """A timed model with its speed, the methods whose intervals overlap with it, and its score."""
    contender, sentence = own.measured.contender, f"{_model(own.row, study)} in {own.backend}"
    if (speed := own.speedup) is not None:
        speeds: dict[str, Estimate] = {}
        for option in advice.good:
            if option.speedup:
                speeds.setdefault(option.row.run.method, option.speedup)
        near = order(method for method, other in speeds.items() if other.high >= speed.low)
        best = contender.call_or_encoder.speedup_best
        part = "a call" if contender.call else "the encoder"
        sentence += f", {part} {text.with_interval(speed, TIMES)} as fast as dense"
        sentence += _tie([method for method in near if method != own.row.run.method])
        sentence += ", within timing noise" * (best is not None and best.flagged)
    unit = text.unit(own.row.metric)
    sentence += f", at {text.with_interval(own.margins['validation'])} {unit} on validation"
    if own is not advice.choice or own is (other := advice.holding):
        return sentence
    at = f", {text.rounded(other.speedup.value, 1)}{TIMES}" if other and other.speedup else ""
    named = other and f"{_model(other.row, study)} in {other.backend}{at}"
    return f"{sentence}, {text.past_there(named)}"


def _model(row: Row, study: StoreView) -> str:
    """``static at 4x``, with the parameters in which it differs from others of the method."""
    point, models = row.evaluation, study.models[row.run.task]
    names = {own.setting: own.name for own in models if own.method == row.run.method}
    name = f"{row.run.method} {names[row.run.setting]}".strip()
    at = f"{point.target:g}{TIMES}" if point.target else point.budget
    return f"{name} at {at}" if at else name

"""What wins where on a task, in at most five plain sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lotbench.report import words
from lotbench.report.area import LEAST_END
from lotbench.report.bootstrap import Estimate, estimate
from lotbench.report.content import Content
from lotbench.report.looks import order
from lotbench.report.models import Model
from lotbench.report.overview import TIMED_DROP, reference
from lotbench.report.pareto import DENSE, KEY, settings_of
from lotbench.report.rows import is_missing
from lotbench.report.statistics import SLACK, Choice, Evidence, ties

if TYPE_CHECKING:
    import pandas as pd

# The drops beside the main one, which is `TIMED_DROP`.
CLOSER, FARTHER = 0.5, 2.0
# Timing settings that the sentence names; the table has all.
MOST_SETTINGS = 3

Choices = Mapping[str, Choice]
"""The choice of every method, by method."""


def findings(task: str, content: Content) -> list[str]:
    """The sentences on a task: what is compared, the winners, the whole curve and real time."""
    rows = content.rows[content.rows["task"] == task]
    if not len(rows):
        return ["No trial is done and scored on validation."]
    found = content.evidence.get(task)
    if found is None:
        return ["Neither dense nor the teacher has a score, so there is nothing to compare with."]
    opening = _compared(task, content, found, rows)
    if not found.methods:
        return [opening, "Only dense models are here, so there is nothing to compare."]
    if not found.candidates:
        why = "not every seed of a model is scored on selection and on validation"
        return [opening, f"No winner is named: {why}, so none can be chosen fairly."]
    unit = words.unit(rows["score_name"].iloc[0])
    within = {drop: _choices(found, drop) for drop in (CLOSER, TIMED_DROP, FARTHER)}
    return [
        opening,
        _main(found, within[TIMED_DROP], unit),
        f"{_short(within[CLOSER], CLOSER, unit)} {_short(within[FARTHER], FARTHER, unit)}",
        _curve(found),
        _timed(within[TIMED_DROP], rows, unit),
    ]


def _compared(task: str, content: Content, found: Evidence, rows: pd.DataFrame) -> str:
    """The methods, models and seeds, the reference, and whether there are intervals."""
    count = words.count(len(found.methods), "method")
    reduced = rows[~rows["method"].isin(DENSE)]
    models = f" with {words.count(len(reduced), 'model')} ({words.seeds(reduced)})"
    against = reference(found, rows["score_name"].iloc[0])
    sizes = [f"{content.texts(task, split)} {split} texts" for split in ("selection", "validation")]
    text = (
        f"{count[0].upper()}{count[1:]}{models if len(reduced) else ''} against {against}; "
        f"chosen on {sizes[0]}, read on {sizes[1]}."
    )
    if found.candidates and not any(own.sampled for own in found.candidates.values()):
        text += " These rows have no predictions, so there are no intervals: a lead may be chance."
    return text


def _choices(found: Evidence, drop: float) -> Choices:
    return {method: found.largest_speedup(method, drop) for method in found.candidates}


def _main(found: Evidence, choices: Choices, unit: str) -> str:
    """The winner within the main drop, how sure the lead is, and who else is within."""
    article = "the " * (found.reference.method == "teacher")
    close = f"Within {_drop(TIMED_DROP, unit)} of {article}{found.reference.method}"
    leader = _leader(choices)
    if leader is None:
        return f"{close}: none. {_nearest(found, unit)}{_in_resamples(choices)}"
    own, others = choices[leader], len(choices) - 1
    gain = f"{words.with_interval(own.margin)} {unit} on validation"
    saving = f"{_speedup(own)} fewer FLOPs at {gain}{_lead(leader, choices)}"
    who = f"{leader} saves most:" if others else f"{leader}, the only method, needs"
    parts = [f"{close}, {who} {saving}"]
    if own.margin.value < -TIMED_DROP - 100 * SLACK:
        parts.append("On validation that is past the limit")
    if own.sampled and own.speedup.low <= 1:
        parts.append("Its interval includes no saving at all")
    if own.open_end:
        parts.append("No faster model of it was scored, so it may go further")
    inside = sum(each.model is not None for each in choices.values()) - 1
    if others and not inside:
        parts.append("No other method is that close")
    elif others > inside:
        verb = "is" if inside == 1 else "are"
        parts.append(f"{inside} of the {others} other methods {verb} as close")
    return ". ".join(parts) + "." + _in_resamples(choices)


def _lead(leader: str, choices: Choices) -> str:
    """Whether others tie with the leader; nothing if that is not known."""
    tied = ties(choices)
    if leader in tied:
        return f", in a tie with {words.listed(order(tied - {leader}))}"
    rivals = {name: own for name, own in choices.items() if name != leader}
    second = _leader(rivals)
    if second is None:
        return ""
    speedup = _value(rivals[second].speedup.value)
    if choices[leader].sampled and rivals[second].sampled:
        return f", clearly ahead of {second} at {speedup}"
    lead = "narrowly " * (speedup == _value(choices[leader].speedup.value))
    return f", {lead}ahead of {second} at {speedup}"


def _short(choices: Choices, drop: float, unit: str) -> str:
    """The winner within another drop, without the details."""
    close = f"Within {_drop(drop, unit)}"
    leader = _leader(choices)
    if leader is None:
        return f"{close}: none."
    mark = "at least " * choices[leader].open_end
    return f"{close}: {leader}, {mark}{_speedup(choices[leader])}{_lead(leader, choices)}."


def _leader(choices: Choices) -> str | None:
    """The method with the largest speed-up, or None if none has a model that is close enough."""
    chosen = [method for method in order(choices) if choices[method].model is not None]
    return max(chosen, key=lambda method: choices[method].speedup.value, default=None)


def _nearest(found: Evidence, unit: str) -> str:
    """The model that loses least on selection, with its loss on validation."""
    best: tuple[float, Model | None, Estimate] = (-float("inf"), None, Estimate(1, 1, 1))
    for own in found.candidates.values():
        place = int(own.margins["selection"][:, 0].argmax())
        value = float(own.margins["selection"][place, 0])
        if value > best[0]:
            best = value, own.models[place], estimate(own.margins["validation"][place], own.sampled)
    _, model, margin = best
    assert model is not None, "every candidate has a model"
    speedup = _value(float(model.speedup("validation")[0]))
    where = f"{words.with_interval(margin)} {unit} on validation"
    return f"The nearest is {model.method}: {speedup} fewer FLOPs at {where}."


def _in_resamples(choices: Choices) -> str:
    """Methods that are close enough in some draws alone, and how far they go there."""
    some = {
        method: own.speedup.high
        for method, own in choices.items()
        if own.model is None and own.sampled and own.speedup.high > 1
    }
    if not some:
        return ""
    far = f"up to {_value(max(some.values()))}"
    return f" In some resamples {words.listed(order(some))} would be that close, {far}."


def _curve(found: Evidence) -> str:
    """The largest area."""
    areas = found.areas()
    if found.end < LEAST_END:
        return f"No whole curves are compared: some end at {found.end:.2f}{words.TIMES}."
    first = max(order(areas), key=lambda method: areas[method].value.value)
    value = words.with_interval(areas[first].value)
    upto = f"Over all speed-ups up to {_value(found.end)}"
    if len(areas) == 1:
        return f"{upto}, the area of {first} is {value}; no other has one."
    shared = [method for method in order(areas) if areas[method].rank == 1 and method != first]
    if shared:
        return f"{upto}, {first} has the largest area, {value}, in a tie with " + (
            f"{words.listed(shared)}."
        )
    sampled = found.candidates[first].sampled
    others = (method for method in areas if method != first)
    second = max(others, key=lambda method: areas[method].value.value)
    lead = "clearly the" if sampled and found.candidates[second].sampled else "the"
    return f"{upto}, {first} has {lead} largest area, {value}; {second} is next."


def _timed(choices: Choices, rows: pd.DataFrame, unit: str) -> str:
    """The fastest of the chosen models on the clock, by timing setting."""
    labels = settings_of(rows)
    if not labels:
        return "Nothing was timed, so no speed on the clock is claimed (see `lotbench measure`)."
    parts = []
    for label in labels:
        found = _fastest(choices, rows, f"real.{label}")
        if found:
            parts.append(f"{found} ({words.timing_setting(label)})")
    if not parts:
        return (
            f"No model within {_drop(TIMED_DROP, unit)} was timed; the tables have those that were."
        )
    more = len(parts) - MOST_SETTINGS
    rest = f"; {words.count(more, 'more setting')} in the table" if more > 0 else ""
    return f"On the clock, of the models within {_drop(TIMED_DROP, unit)}, against the fastest " + (
        f"dense model: {'; '.join(parts[:MOST_SETTINGS])}{rest}."
    )


def _fastest(choices: Choices, rows: pd.DataFrame, column: str) -> str:
    """The fastest chosen model in a timing setting, and those whose intervals reach it."""
    timed: dict[str, Mapping[Any, Any]] = {}
    for method, own in choices.items():
        if own.model is None:
            continue
        place = rows[KEY[1:]] == [method, own.model.setting, own.model.point]
        point = rows[place.all(axis=1)].to_dict("records")[0]
        if not is_missing(point[column]):
            timed[method] = point
    if not timed:
        return ""
    first = max(order(timed), key=lambda method: timed[method][column])
    own = timed[first]
    near = [
        method
        for method in order(timed)
        if method != first and timed[method][f"{column}.high"] >= own[f"{column}.low"]
    ]
    value = Estimate(own[column], own[f"{column}.low"], own[f"{column}.high"])
    text = f"{first} runs {words.with_interval(value, words.TIMES)} as fast"
    if own.get(f"{column}.backend"):
        text += f" in {own[f'{column}.backend']}"
    if own[f"{column}.flagged"] is True:
        text += ", within timing noise"
    return text + (f", not told apart from {words.listed(near)}" if near else "")


def _speedup(own: Choice) -> str:
    return words.with_interval(own.speedup, words.TIMES)


def _value(speedup: float) -> str:
    return f"{words.rounded(speedup, 1)}{words.TIMES}"


def _drop(drop: float, unit: str) -> str:
    """``1 point``, ``0.5 points``, ``1 hundredth``."""
    return f"{drop:g} {unit.removesuffix('s') if drop == 1 else unit}"

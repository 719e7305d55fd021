"""A recommendation in words and as JSON."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence

from lotbench.backends import EXPORTED
from lotbench.errors import InputError
from lotbench.report import text as words
from lotbench.report.chance import nothing_learned
from lotbench.report.layout import HEIGHT, fit, shortened
from lotbench.report.recommend import Advice, Limits, Option
from lotbench.statistics.bootstrap import Estimate
from lotbench.statistics.runs import Row
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import call_seconds, is_tie, times_slower

LEAST_NEEDED = ("runner-up", "faster, but", "note", "selection", "why not", "next")
"""Lines that are left out where there is no room for the advice on all tasks."""
UNITS = {"ms": 1e-3, "s": 1.0}


def seconds(text: str) -> float:
    """The seconds of a text such as ``20ms`` or ``0.02s``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s)", text.strip())
    if found is None or float(found[1]) == 0:
        raise InputError(f"--p95 {text}: a time with its unit is needed, such as 20ms or 0.02s")
    return float(found[1]) * UNITS[found[2]]


def screen(found: Sequence[Advice], study: StoreView, limits: Limits) -> list[str]:
    """The advice for all tasks in one screen; of many tasks without what has no room."""
    texts = [as_text(own, study, limits) for own in found]
    lines = fit("\n\n".join(texts).split("\n"))
    for name in LEAST_NEEDED:
        if len(lines) <= HEIGHT:
            break
        texts = [re.sub(f"\n  {name}  .*", "", text) for text in texts]
        lines = fit("\n".join(texts).split("\n"))
    return shortened(lines, HEIGHT, "lines; --json has all")


def as_text(advice: Advice, study: StoreView, limits: Limits) -> str:
    """The advice in lines: the choice with its numbers, who lost and why, and what to run next."""
    own, faster = advice.choice, advice.passed_over
    if own is None:
        assert advice.nearest is not None, "nothing was chosen"
        p95 = "" if limits.p95 is None else f" and a 95th percentile of {_ms(limits.p95)} ms"
        limit = f"a drop of {limits.drop:g}{p95}"
        what = f"no model keeps to {limit}; the nearest is {name(advice.nearest)}"
        lines = facts(advice.nearest, advice, limits) | {"why not": past(advice.nearest, limits)}
        if points := advice.nearest.excess(limits)[0]:
            wider = math.ceil(2 * (limits.drop + points)) / 2
            lines["next"] = f"lotbench recommend {study.folder} --max-drop {wider:g}"
    else:
        what = name(own)
        lines = facts(own, advice, limits) | {"runner-up": _runner_up(advice)}
        if faster is not None:
            lines["faster, but"] = f"{name(faster)}: {past(faster, limits)}"
        lines |= _next(own, study)
    named = (f"  {name:<13}{line}" for name, line in lines.items())
    warning = nothing_learned(advice.task, study)
    first = [f"{advice.task}: {warning}"] if warning else []
    return "\n".join([*first, f"{advice.task}: {what}", *named])


def as_json(advice: Advice, study: StoreView, limits: Limits) -> dict[str, object]:
    """The advice for scripts; seconds, and points against the reference."""
    chosen, second = advice.choice, advice.runner_up
    slower = tie = None
    if chosen and second:
        ratio = times_slower(second.measured, chosen.measured)
        slower, tie = _interval(ratio), is_tie(ratio, second.measured, chosen.measured)
    return {
        "task": advice.task,
        "reference": advice.reference,
        "meets": chosen is not None,
        "model": _record(chosen or advice.nearest, study),
        "holding": _record(advice.holding, study),
        "runner_up": _record(second, study),
        "runner_up_times_slower": slower,
        "tie": tie,
        "why_not": None if chosen or not advice.nearest else past(advice.nearest, limits),
        "next": export_command(study, chosen.row, chosen.backend) if chosen else None,
    }


def name(own: Option) -> str:
    """A trained model at a budget in a backend, with the id of its trial."""
    run, budget = own.row.run, own.row.evaluation.budget
    at = f" at {budget}" if budget else ""
    return f"{run.method}{at} in {own.backend} ({run.trial.trial_id})"


def facts(own: Option, advice: Advice, limits: Limits) -> dict[str, str]:
    """What is known of an option, by name: its scores, and the time of a call."""
    timing, contender = own.measured
    mean = f", mean of {own.seeds} seeds" if own.seeds > 1 else ""
    selection, validation = (
        f"{words.with_interval(own.margins[split])} {words.unit(own.row.metric)} against "
        f"{advice.reference}{mean}"
        for split in ("selection", "validation")
    )
    machine = words.machine_name(timing.setting.device_name or "unknown device")
    threads = words.in_threads([limits.threads])
    p95 = f", 95% of the calls within {_ms(own.p95)} ms"
    picked = timing.setting.picked
    asked = f"a query with {limits.batch} passages" if picked and picked.queries else None
    where = f"{asked or f'batch {limits.batch}'}, {threads}, {machine}, {timing.created[:10]}"
    latency = words.with_interval(Estimate(*(1e3 * s for s in call_seconds(own.measured))), " ms")
    alone = _ms(contender.seconds_per_example * limits.batch)
    whole = f"from text to answer, {alone} ms of it in the encoder"
    part = whole if contender.call else "of the encoder alone"
    return {
        "selection": f"{selection} (chosen by this)",
        "validation": f"{words.score_with_interval(own.score, own.row.metric)}, {validation}"
        + (f"; {past}" if (past := past_there(own, advice)) else ""),
        "latency": f"{latency} a call {part}{p95}; {where}",
    }


def past_there(own: Option, advice: Advice) -> str:
    """What follows the choice's validation score if it is past the limit; else nothing."""
    if own is not advice.choice or own is advice.holding:
        return ""
    return words.past_there(advice.holding and name(advice.holding))


def _runner_up(advice: Advice) -> str:
    """The next fastest, and why it lost."""
    own, second = advice.choice, advice.runner_up
    assert own is not None, "something was chosen"
    if second is None:
        return "none, no other model keeps to the limits"
    ratio = times_slower(second.measured, own.measured)
    text = words.with_interval(ratio, words.TIMES)
    better = second.margins["selection"].value - own.margins["selection"].value
    unit = words.unit(own.row.metric)
    score = f"its score on selection is {better:+.1f} {unit} from the choice's"
    tie = is_tie(ratio, second.measured, own.measured)
    return f"{name(second)}: {'a tie, it takes' if tie else 'slower,'} {text} the time; {score}"


def past(own: Option, limits: Limits) -> str:
    """Which limits it is past, and by how much."""
    points, share = own.excess(limits)
    parts = []
    if points:
        margin = words.with_interval(own.margins["selection"])
        unit = words.unit(own.row.metric)
        parts.append(
            f"{margin} {unit} on selection, {points:.1f} past the limit of {limits.drop:g}"
        )
    if limits.p95 is not None and share:
        parts.append(f"95% of its calls within {_ms(own.p95)} ms, allowed are {_ms(limits.p95)} ms")
    return "; ".join(parts)


def _next(own: Option, study: StoreView) -> dict[str, str]:
    """The command that exports the choice, or why there is none."""
    command = export_command(study, own.row, own.backend)
    if command is None:
        return {"next": f"{study.folder} has no models: run its sweep, then recommend there"}
    if own.backend in EXPORTED:
        return {"next": command}
    why = f"as a file it runs in another backend than {own.backend}; time it there"
    return {"note": why, "next": command}


def export_command(study: StoreView, row: Row, backend: str | None) -> str | None:
    """The command that exports the model of a row; None if the store does not have the model."""
    trial, budget = row.run.trial, row.evaluation.budget
    model = study.store.model(trial)
    if model is None:
        return None
    parts = ["lotbench", "export", str(model), "exported"]
    if backend in EXPORTED:
        parts += ["--backend", backend]
    if budget:
        parts += ["--budget", str(budget.value)]
    plugins = trial.config.get("plugins")
    for plugin in plugins if isinstance(plugins, list) else []:
        parts += ["--plugin", str(plugin)]
    return shlex.join(parts)


def _record(own: Option | None, study: StoreView) -> dict[str, object] | None:
    if own is None:
        return None
    run = own.row.run
    model = study.store.model(run.trial)
    return {
        "trial_id": run.trial.trial_id,
        "folder": str(model) if model else None,
        "method": run.method,
        "budget": str(own.row.evaluation.budget or ""),
        "backend": own.backend,
        "metric": own.row.metric,
        "selection_margin": _interval(own.margins["selection"]),
        "validation_margin": _interval(own.margins["validation"]),
        "validation_score": _interval(own.score),
        "timed": "call" if own.measured.contender.call else "encoder",
        "call_seconds": _interval(call_seconds(own.measured)),
        "p95_seconds": own.p95,
        "timing": own.measured.timing.pass_id,
    }


def _interval(value: Estimate) -> dict[str, float | None]:
    """An estimate as JSON, which has no NaN."""
    return {
        name: None if math.isnan(each) else each
        for name, each in zip(("value", "low", "high"), value, strict=True)
    }


def _ms(value: float) -> str:
    return f"{1e3 * value:.3g}"

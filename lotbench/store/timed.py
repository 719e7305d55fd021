"""The wall-clock columns of the frame: each timed model in each backend, and in its best one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from lotbench import backends
from lotbench.store.records import TimingPass
from lotbench.store.store import Store
from lotbench.store.timing_parts import Contender, Interval

log = logging.getLogger(__name__)

Columns = dict[str, Any]
"""One row of the frame, or a part of it, by column."""
Owner = tuple[str, str, str]
"""Task, trial id (or method and seed) and budget."""
Timed = dict[tuple[str, str], tuple[TimingPass, Contender]]
"""What was timed of one model at one budget, by label of the setting and backend."""


def timed_models(store: Store) -> dict[Owner, Timed]:
    """The contenders of the shown passes by model and budget; the newest pass wins."""
    found: dict[Owner, Timed] = {}
    shown = store.newest_passes()
    for skipped in {t.pass_id for t in store.timings()} - {t.pass_id for t in shown}:
        log.warning(
            "timing %s skipped: the newest pass in its setting has another machine, torch, "
            "transformers, choice of texts, protocol, engine, backends or runtimes; measure again "
            "to compare",
            skipped,
        )
    for timing in shown:
        for own in timing.contenders:
            owner = own.trial_id or f"{own.name} {timing.setting.seed}"
            key = (timing.task, owner, str(own.budget or ""))
            where = timing.setting.label, timing.backend(own)
            found.setdefault(key, {})[where] = timing, own
    return found


def best_backend(timed: Timed, label: str) -> str | None:
    """The backend in which a model is fastest in a setting, among those that hold its score.

    A backend holds the score if it is at most half a point below that in ``torch-fp32``, on the
    selection split.
    """
    held = {
        backend: own.seconds_per_example
        for (setting, backend), (_, own) in timed.items()
        if setting == label
        and own.seconds_per_example is not None
        and own.speedup_best is not None
        and own.scores
        and "selection" in own.scores
        and own.scores["selection"].held
    }
    return min(held, key=lambda backend: held[backend]) if held else None


def columns(timed: Timed, split: str) -> Columns:
    """The columns ``real.…`` of one model at one budget, for a row of this split."""
    found: Columns = {}
    for label in dict.fromkeys(label for label, _ in timed):
        for (setting, backend), (timing, own) in timed.items():
            if setting == label and timing.setting.dtype is not None:
                found |= _same(f"real.{label}", own)
            elif setting == label:
                own_label = f"real.{label}-{backend}"
                found |= _same(own_label, own) | dict(_costs(own_label, own, split))
                found |= _interval(f"{own_label}.best", own.speedup_best)
        best = best_backend(timed, label)
        if best is not None:
            found |= _headline(f"real.{label}", timed, label, best, split)
    return found


def _same(label: str, own: Contender) -> Columns:
    """``x same`` and what goes with it."""
    return {
        **_interval(label, own.speedup),
        f"{label}.padded": own.speedup_padded and own.speedup_padded.median,
        f"{label}.flagged": own.flagged,
        f"{label}.noisy": own.noisy,
        f"{label}.flops": own.flops_speedup,
        **flat(f"{label}.share", own.time_shares or {}),
    }


def _headline(name: str, timed: Timed, label: str, best: str, split: str) -> Columns:
    """``x best`` of a model in its best backend, and what goes with it."""
    _, own = timed[label, best]
    speed = own.speedup_best
    assert speed is not None, "the best backend has it"
    # Only torch counts FLOPs; the texts are the same in every backend.
    flops = [each.flops_speedup for (setting, _), (_, each) in timed.items() if setting == label]
    return {
        **_interval(name, speed),
        f"{name}.flagged": speed.flagged,
        f"{name}.noisy": speed.noisy,
        f"{name}.flops": next((each for each in flops if each is not None), None),
        f"{name}.backend": best,
        **_interval(f"{name}.same", own.speedup),
        **dict(_costs(name, own, split)),
    }


def _interval(name: str, value: Interval | None) -> Columns:
    ends = (value.median, value.low, value.high) if value else (None, None, None)
    return dict(zip((name, f"{name}.low", f"{name}.high"), ends, strict=True))


def _costs(name: str, own: Contender, split: str) -> Iterator[tuple[str, Any]]:
    """The score in the backend, seconds per text, and percentiles of a call."""
    score, calls = (own.scores or {}).get(split), own.call_seconds
    yield f"{name}.score", score and score.score
    yield f"{name}.seconds", own.seconds_per_example
    for percentile in ("p50", "p90", "p95", "p99"):
        yield f"{name}.{percentile}", calls and getattr(calls, percentile)


def flat(prefix: str, values: Mapping[str, Any]) -> Columns:
    """Nested values as columns with dotted names; a list becomes JSON text, which is hashable."""
    found: Columns = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= flat(f"{prefix}.{name}", value)
        else:
            found[f"{prefix}.{name}"] = json.dumps(value) if isinstance(value, list) else value
    return found


def without_backend(label: str) -> str:
    """A label of the frame without its backend: ``cpu-1t-b32`` of ``cpu-1t-b32-onnx-int8``."""
    for backend in backends.BACKENDS:
        label = label.removesuffix(f"-{backend}")
    return label

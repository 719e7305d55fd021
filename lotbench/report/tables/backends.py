"""The table of what each backend costs: how fast dense is in it, and what it does to scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from lotbench.backends import TORCH
from lotbench.report import text
from lotbench.report.tables.render import Table
from lotbench.report.text import NONE, PLUS_MINUS, TIMES
from lotbench.statistics.scored import DENSE_METHODS
from lotbench.statistics.store_view import StoreView
from lotbench.statistics.timed import Where
from lotbench.store.passes import Contender


def backends(task: str, study: StoreView) -> Table | None:
    """How fast dense is in every timed backend, and how it changes scores.

    None if nothing but torch-fp32 was timed.
    """
    # The newest pass wins, as in `TimingIndex`; dense has one entry for each seed.
    found: dict[tuple[str, Where], dict[tuple, Contender]] = defaultdict(dict)
    for timing in study.shown_passes:
        for own in timing.contenders if timing.task == task else ():
            model = own.trial_id or (own.name, timing.setting.seed), str(own.budget or "")
            found[own.backend, Where.of(timing)][model] = own
    if not {backend for backend, _ in found} - {TORCH}:
        return None
    counts = study.texts(task, "validation")
    texts = counts[0] if len(counts) == 1 else None
    rows = [
        [backend, text.timing_setting(where), *_row(backend, found[backend, where].values(), texts)]
        for backend, where in sorted(found)
    ]
    kinds = [f"{name} {TIMES}" for name in DENSE_METHODS]
    columns = ["backend", "timed on", *kinds, "models", "score", "answers changed"]
    unit = text.unit(study.runs_on(task)[0].trial.metric or "")
    notes = [
        f"{' and '.join(kinds)}: the untouched model on padded batches (as a file: its plain "
        "export) and on LoTBench's packed path, against the fastest dense model of any backend; "
        f"a speed-up over a dense model at 0.50{TIMES} is twice as large as one over the fastest",
        f"{PLUS_MINUS} half the 95% interval; {NONE}: not timed, or nothing to compare",
        f"score: of the reduced models, in this backend minus in {TORCH}, on "
        f"validation, in {unit}: the mean (lowest to highest model)",
        f"answers changed: texts that such a model classifies otherwise than in {TORCH}, the mean",
    ]
    return Table(
        f"{text.named(task, study)}: what a backend costs", columns, [rows], notes, texts=2
    )


def _row(backend: str, contenders: Iterable[Contender], texts: int | None) -> list[str]:
    """The cells of a backend in a setting; ``texts`` are those of the validation split."""
    contenders = list(contenders)
    dense = [_speed([own for own in contenders if own.name == name]) for name in DENSE_METHODS]
    scores = [own.scores["validation"] for own in contenders if own.name not in DENSE_METHODS]
    changes = [100 * own.change for own in scores if own.change is not None]
    flips = [own.flips for own in scores if own.flips is not None]
    if backend == TORCH or not changes:
        return [*dense, str(len(scores)), NONE, NONE]
    low, mean, high = map(text.signed, (min(changes), float(np.mean(changes)), max(changes)))
    share = f"{100 * np.mean(flips) / texts:.1f}%" if flips and texts else NONE
    return [*dense, str(len(scores)), f"{mean} ({low} to {high})", share]


def _speed(own: list[Contender]) -> str:
    """The speed-up of a dense model over the fastest one, as the mean over its seeds."""
    found = [each.call_or_encoder.speedup_best for each in own]
    known = [each for each in found if each is not None]
    if not known:
        return NONE
    mean = text.speedup(float(np.mean([each.median for each in known])))
    half = (max(each.high for each in known) - min(each.low for each in known)) / 2
    return f"{mean} {PLUS_MINUS}{text.speedup(half)}" if half else mean

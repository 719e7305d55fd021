"""The two public frames of a store: its results, and its timings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lotbench.statistics.bootstrap import estimate
from lotbench.statistics.drawn import draws_by_metric, draws_of
from lotbench.statistics.runs import Row, Run, runs_of
from lotbench.statistics.store_view import StoreView
from lotbench.store.passes import Contender, Interval, Measures, Speedup, TimingPass

if TYPE_CHECKING:
    import pandas as pd

# Always in a frame, in this order, even if the store is empty.
RESULTS = (
    *("store", "trial_id", "task", "method", "name", "setting", "seed", "status", "error"),
    *("created", "backbone", "split", "target", "budget_name", "budget", "examples"),
    *("metric", "score", "score_low", "score_high", "teacher_score"),
    *("flops", "dense_flops", "flops_speedup", "keep_ratio"),
    *("train_seconds", "steps", "precision", "threads", "cpu"),
    *("search_part", "search_key", "search_index", "search_area", "dimensions"),
)
TIMINGS = (
    *("store", "pass_id", "task", "trial_id", "model", "budget_name", "budget"),
    *("backend", "device", "threads", "batch_size", "timed", "reference"),
    *("speedup", "speedup_low", "speedup_high", "flagged", "noisy"),
    *("seconds", "p50", "p90", "p95", "p99", "score_selection", "score_validation"),
    *("flops_speedup", "peak_bytes", "cpu"),
)
NUMBERS = (
    *("target", "budget", "score", "teacher_score", "flops", "flops_speedup", "keep_ratio"),
    *("search_index", "search_area", "dimensions"),
)

Cells = dict[str, Any]


def results(folder: str | Path) -> pd.DataFrame:
    """One row per trial, budget and split; a trial without scores has one row.

    ``method`` is the registered name, ``name`` the written one, such as ``LoT (ours)``; trials that
    differ only in their seed have the same ``setting``.  ``target`` is the FLOPs speed-up that
    ``budget`` was searched for, and missing if the budget was given; ``budget_name`` says what the
    budget is, such as ``threshold``.  ``score`` is the main metric of the task, from ``score_low``
    to ``score_high`` (95% bootstrap interval over the texts).  ``flops`` are per text;
    ``keep_ratio`` is the mean over the layers, ``keep_ratio.<layer>`` that of a layer, and
    ``evidence_kept`` the share of the evidence, of tasks that have some.
    ``metric.<name>`` are all metrics, those of vectors and rankings with ``metric.<name>_low`` and
    ``_high``; ``param.<name>`` are all parameters of the method.

    ``search_part`` is ``search`` for trials that a setting is chosen from, ``confirmation`` for
    those that reports read, ``superseded`` for what the sweep no longer has or chooses, and missing
    without a search.  Trials of one search have the same ``search_key``; ``search_index`` 0 is the
    default setting, ``search_area`` the area by which settings are chosen, and ``dimensions`` the
    number of searched parameters.

    Raises
    ------
    InputError
        If the folder is not a store.
    """
    study = StoreView(folder)
    pairs = [
        (run, [Row(run, own) for own in run.trial.evaluations] if not run.failed else [])
        for run in runs_of(study.trials)
    ]
    every = [row for _, rows in pairs for row in rows]
    intervals = {row: _interval("score", own) for row, own in draws_of(every).items()}
    for name, draws in draws_by_metric(every).items():
        for row, own in draws.items():
            intervals[row] |= _interval(f"metric.{name}", own)
    records = []
    for run, rows in pairs:
        own = {"store": study.name} | _of_trial(run)
        records += [own | _of_evaluation(row) | intervals[row] for row in rows] or [own]
    return _frame(records, RESULTS)


def timings(folder: str | Path) -> pd.DataFrame:
    """One row per timed model, budget, backend, device, threads, batch size, part and reference.

    ``timed`` is the part: ``call``, from texts to outputs, or ``encoder``; older passes have the
    encoder alone.  Of several times of a model in one setting, it is the newest.

    ``reference`` is what the model is compared with: ``best``, the fastest dense model of any
    backend that holds its score; ``same``, that of the same backend; or ``padded``, the padded
    dense model of the same backend.  ``speedup`` has its 95% interval; ``flagged`` and
    ``noisy`` are those of `lotbench.store.passes.Speedup`.  ``seconds`` are per text,
    ``p50`` to ``p99`` seconds of a call, which is one batch.  ``flops_speedup`` is that of the
    timed texts; ``share.<section>`` are shares of the time.  ``model`` names dense models, which
    may have no trial.  Join with `results` on ``trial_id``, ``budget_name`` and ``budget``.

    A pass with other `conditions` than the newest pass of its setting is skipped, with a warning.

    Raises
    ------
    InputError
        If the folder is not a store.
    """
    study = StoreView(folder)
    records = []
    for timing, own in study.clocks.timed.values():
        for part, measures in (("call", own.call), ("encoder", own)):
            if measures is None:
                continue
            common = {"store": study.name, "timed": part}
            common |= _of_contender(timing, own) | {"seconds": measures.seconds_per_example}
            if measures.call_seconds:
                common |= _fields(measures.call_seconds, "p50", "p90", "p95", "p99")
            records.append(common | _speedup("same", measures.speedup) | _flags(measures))
            if best := measures.speedup_best:
                records.append(common | _speedup("best", best) | _flags(best))
            records.append(common | _speedup("padded", measures.speedup_padded))
    return _frame(records, TIMINGS)


def _frame(records: list[Cells], first: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    others = {name: None for record in records for name in record if name not in first}
    table = pd.DataFrame(records, columns=[*first, *sorted(others, key=_column_order)])
    # A null, such as an undefined correlation, makes a column of objects.
    numbers = [c for c in table if c in NUMBERS or str(c).startswith(("metric.", "keep_ratio."))]
    # Speed-ups against the padded model have no flags.
    flags = [c for c in table if c in ("flagged", "noisy")]
    return table.astype(dict.fromkeys(numbers, "float") | dict.fromkeys(flags, "boolean"))


def _of_trial(run: Run) -> Cells:
    trial = run.trial
    names = ("trial_id", "task", "method", "seed", "status", "created", "backbone", "metric")
    found = _fields(trial, *names)
    found |= {"name": run.method, "setting": run.setting, "cpu": trial.machine.cpu}
    if trial.error:
        found["error"] = error_text(run)
    if trial.training:
        found["train_seconds"] = trial.training.seconds
        found |= _fields(trial.training, "steps", "precision", "threads")
    if mark := trial.search:
        found |= {"search_part": mark.part, "search_key": mark.key, "search_index": mark.index}
        found |= {"search_area": mark.area, "dimensions": len(mark.space)}
    return found | _flat("param", trial.params)


def _fields(own: Any, *names: str) -> Cells:
    return {name: getattr(own, name) for name in names}


def error_text(run: Run) -> str:
    """Why a trial failed: ``NonFiniteLoss: task loss is nan (step 37)``."""
    if (error := run.trial.error) is None:
        return ""
    step = f" (step {error.step})" if error.step is not None else ""
    return f"{error.kind}: {error.message}{step}"


def _of_evaluation(row: Row) -> Cells:
    own = row.evaluation
    ratios = own.keep_ratio
    evidence = {} if own.evidence_kept is None else _fields(own, "evidence_kept")
    return evidence | {
        **{f"keep_ratio.{layer}": ratio for layer, ratio in enumerate(ratios)},
        **{f"metric.{name}": value for name, value in own.metrics.items()},
        **_fields(own, "split", "target", "examples", "flops", "dense_flops", "flops_speedup"),
        **_budget(own),
        "score": row.score,
        "teacher_score": row.run.teacher_score(row.split),
        "keep_ratio": sum(ratios) / len(ratios),
    }


def _of_contender(timing: TimingPass, own: Contender) -> Cells:
    return {
        **_fields(timing, "pass_id", "task"),
        **_fields(timing.setting, "device", "threads", "batch_size"),
        **_fields(own, "trial_id", "backend", "flops_speedup", "peak_bytes"),
        **_budget(own),
        **{f"score_{split}": score.score for split, score in own.scores.items()},
        **{f"share.{name}": share for name, share in (own.time_shares or {}).items()},
        "model": own.name,
        "cpu": timing.machine.cpu,
    }


def _budget(own: Any) -> Cells:
    return {"budget_name": own.budget.name, "budget": own.budget.value} if own.budget else {}


def _interval(name: str, draws: Any) -> Cells:
    _, low, high = estimate(draws)
    return {f"{name}_low": low, f"{name}_high": high}


def _speedup(reference: str, own: Interval) -> Cells:
    ends = {"speedup_low": own.low, "speedup_high": own.high}
    return {"reference": reference, "speedup": own.median, **ends}


def _flags(own: Measures | Speedup) -> Cells:
    return {"flagged": own.flagged, "noisy": own.noisy}


def _flat(prefix: str, values: Mapping[str, Any]) -> Cells:
    """Nested values as columns with dotted names; a list becomes JSON text, which is hashable."""
    found: Cells = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(f"{prefix}.{name}", value)
        else:
            found[f"{prefix}.{name}"] = json.dumps(value) if isinstance(value, list) else value
    return found


def _column_order(name: str) -> tuple[str, list[tuple[int, int, str]]]:
    """Sort key: by prefix, then numbers by value (layer 2 before layer 10)."""
    parts = [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in name.split(".")]
    return name.split(".")[0], parts

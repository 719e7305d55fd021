"""Re-checks a store that somebody sends: which of its numbers contradict each other.

It reads the JSON files alone, and it imports no plugin.  A fault is a contradiction between two
values of the store; that a value is plausible is no proof that it was measured.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lotbench.audit.passes import Complaint, close, pass_complaints
from lotbench.config.sections import digest
from lotbench.errors import InputError
from lotbench.scoring.metrics import MEANS, METRICS, compute_metrics
from lotbench.scoring.predictions import decode
from lotbench.statistics.runs import setting_of
from lotbench.store.maps import Map
from lotbench.store.passes import TimingPass
from lotbench.store.rows import Evaluation, Searched, Trial, without_limit
from lotbench.store.store import read_record
from lotbench.trial.objective import objective

NARROWEST = 64
"""Fewest units of a layer that are assumed where the width of the backbone is not known."""
OVERHEAD = 0.5
"""Most FLOPs of routers and scorers, as a share of dense."""
TARGET = 0.35
"""A budget is searched on a part of selection, so on the whole it may be this far off."""


class Fault(NamedTuple):
    """One thing that does not add up."""

    file: str
    """Path within the store."""
    key: str
    """Where in the file, such as ``evaluations.0.flops``; empty for the whole file."""
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in self if part)


@dataclass
class Audit:
    """The faults of one store, and how much was checked."""

    folder: Path
    faults: list[Fault] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """Files read, by kind."""
    rowless: int = 0
    """Timing passes with models whose trials the store lacks, so that these were not compared."""


def audit(folder: Path) -> Audit:
    """Check every file of a store by itself and against the others."""
    if not (folder / Trial.FOLDER).is_dir():
        raise InputError(f"{folder}: no store (it has no folder {Trial.FOLDER!r})")
    report, records = Audit(folder), {}
    for kind in (Trial, TimingPass, Map):
        for file in sorted((folder / kind.FOLDER).glob("*.json")):
            path = f"{kind.FOLDER}/{file.name}"
            report.counts[kind.FOLDER] += 1
            try:
                records[path] = read_record(kind, file)
            except ValueError as error:
                report.faults.append(Fault(path, "", f"not a record: {error}"))
    trials = {path: row for path, row in records.items() if isinstance(row, Trial)}
    rows = {trial.trial_id: trial for trial in trials.values()}
    for path, record in records.items():
        complaints = [*_provenance(record)]
        if isinstance(record, Trial):
            complaints += [*_identity(record), *_evaluations(record)]
        elif isinstance(record, TimingPass):
            complaints += pass_complaints(record, rows)
            report.rowless += any(
                model.trial_id not in (None, *rows) for model in record.contenders
            )
        report.faults += [Fault(path, *complaint) for complaint in complaints]
    report.faults += [*_differing(trials), *_searches(trials), *_suites(trials)]
    return report


def _provenance(record: Trial | TimingPass | Map) -> Iterator[Complaint]:
    """Processor and versions must be there, and the time must not be ahead."""
    if not record.machine.cpu:
        yield "machine.cpu", "missing"
    if not record.versions:
        yield "versions", "missing"
    # An installed package has a version instead of a commit.
    if not record.git_commit and "lotbench" not in record.versions:
        yield "git_commit", "missing"
    try:
        created = datetime.fromisoformat(record.created)
    except ValueError:
        yield "created", f"{record.created!r} is no time"
        return
    if created.replace(tzinfo=created.tzinfo or UTC) > datetime.now(UTC):
        yield "created", f"{record.created} is in the future"


def _identity(trial: Trial) -> Iterator[Complaint]:
    """The id and the fields of a row agree with its configuration."""
    config = trial.config
    for key in ("task", "method", "seed", "backbone"):
        value = getattr(trial, key)
        if config.get(key) != value:
            yield key, f"{value!r}, but the configuration has {config.get(key)!r}"
    hashed = {key: value for key, value in without_limit(config).items() if key != "plugins"}
    start = f"{trial.task}-{trial.method}-s{trial.seed}-"
    if trial.trial_id != start + digest({**hashed, "version": trial.version})[:10]:
        yield "trial_id", "is not the id of its configuration"
    params: Any = config.get("params", {})
    for name, value in params.items():
        # Budgets and targets stand here, too, but are no parameters.
        if name in trial.params and trial.params[name] != value:
            yield f"params.{name}", f"{trial.params[name]!r}, but the configuration has {value!r}"


def _evaluations(trial: Trial) -> Iterator[Complaint]:
    """Both splits have the same budgets once, and each evaluation agrees with itself."""
    counts = Counter((evaluation.split, evaluation.budget) for evaluation in trial.evaluations)
    for (split, budget), count in counts.items():
        if count > 1:
            yield "evaluations", f"{count} evaluations of {split} {budget or ''}".rstrip()
    by_split = Counter(evaluation.split for evaluation in trial.evaluations)
    if len(set(by_split.values())) > 1:
        listed = ", ".join(f"{split} {count}" for split, count in sorted(by_split.items()))
        yield "evaluations", f"not the same budgets on each split: {listed}"
    for place, evaluation in enumerate(trial.evaluations):
        for key, message in (*_scores(trial, evaluation), *_flops(trial, evaluation)):
            yield f"evaluations.{place}.{key}", message


def _scores(trial: Trial, evaluation: Evaluation) -> Iterator[Complaint]:
    """The scores are those of the predictions and labels."""
    stored = ((trial.data and trial.data.labels) or {}).get(evaluation.split)
    if stored is not None and len(stored) != evaluation.examples:
        yield "examples", f"{evaluation.examples}, but there are {len(stored)} labels"
    for name, score in evaluation.metrics.items():
        mean = name in MEANS
        if score is None or name not in METRICS or not (mean or stored):
            continue
        labels = decode(stored) if stored and not mean else None
        value = compute_metrics([name], decode(evaluation.made_of(name)), labels)[name]
        if not close(score, value):
            yield f"metrics.{name}", f"{score}, but the predictions give {value:.6g}"


def _flops(trial: Trial, evaluation: Evaluation) -> Iterator[Complaint]:
    """The speed-up agrees with FLOPs, keep ratios and target."""
    ratio = evaluation.dense_flops / evaluation.flops
    if not close(ratio, evaluation.flops_speedup):
        yield "flops_speedup", f"{evaluation.flops_speedup:.6g}, but its FLOPs give {ratio:.6g}"
    means = [
        float(np.mean(ratios))
        for ratios in (evaluation.keep_ratio, evaluation.key_ratio, evaluation.ffn_ratio)
    ]
    scored: Any = trial.config.get("evaluate") or trial.config.get("data", {})
    longest = scored.get("max_length")
    low, high = _bounds(means, longest if isinstance(longest, int) else 512)
    if not low <= 1 / evaluation.flops_speedup <= high:
        span = f"between {1 / high:.3g} and {1 / low:.3g}"
        yield "flops_speedup", f"{evaluation.flops_speedup:.4g}, but the keep ratios allow {span}"
    if evaluation.target and evaluation.split == "selection":
        off = evaluation.flops_speedup / evaluation.target
        if not 1 / (1 + TARGET) <= off <= 1 + TARGET:
            speed = f"{evaluation.flops_speedup:.4g}"
            yield "target", f"{evaluation.target:g}, but its FLOPs speed-up is {speed}"


def _bounds(means: list[float], longest: int) -> tuple[float, float]:
    """The least and largest FLOPs as a share of dense, for queries, keys and feed-forwards kept.

    Per token and layer of width D, projections cost 8 D^2 FLOPs, the feed-forward 16 D^2, and
    attention at most 4 D times the longest text; only the last is not linear in the tokens.
    """
    queries, keys, feed_forward = means
    linear = (4 * queries + 4 * keys + 16 * feed_forward) / 24
    share = 24 * NARROWEST / (24 * NARROWEST + 4 * longest)
    return share * linear - 1e-3, share * linear + (1 - share) + OVERHEAD


def _differing(trials: Mapping[str, Trial]) -> Iterator[Fault]:
    """A fault for each value that is not that of the first trial with the same data or teacher."""
    first: dict[Any, tuple[str, Any]] = {}
    for path, trial in trials.items():
        for key, group, value in _shared(trial) if trial.status == "done" else ():
            where, expected = first.setdefault(group, (path, value))
            alike = isinstance(value, int | float) and close(value, expected)
            if value != expected and not alike:
                yield Fault(path, key, f"differs from that of {where}")


def _shared(trial: Trial) -> Iterator[tuple[str, Any, Any]]:
    """Key, group and value of what all trials of a group share."""
    config, data, teacher = trial.config, trial.data, trial.teacher
    layers = str(config.get("layers"))
    if data and data.fingerprint:
        fingerprint = data.fingerprint
        yield "data.fingerprint", (str(config.get("data")), trial.task, trial.seed), fingerprint
        for split, labels in (data.labels or {}).items():
            yield f"data.labels.{split}", ("labels", fingerprint, split), labels
        for place, evaluation in enumerate(trial.evaluations):
            group = "FLOPs", fingerprint, trial.backbone, layers, evaluation.split
            yield f"evaluations.{place}.dense_flops", group, evaluation.dense_flops
    if teacher and teacher.key and teacher.metrics:
        yield "teacher.metrics", ("teacher", teacher.key), teacher.metrics


def _suites(trials: Mapping[str, Trial]) -> Iterator[Fault]:
    """All rows have the suite version of the first, or none."""
    first = next(iter(trials.values()), None)
    for path, trial in trials.items():
        if first and trial.suite != first.suite:
            yield Fault(path, "suite", f"{trial.suite}, but {first.trial_id} has {first.suite}")


def _searches(trials: Mapping[str, Trial]) -> Iterator[Fault]:
    """Areas follow from the rows, and what was confirmed is among the best of its search."""
    tried: dict[str, Trial] = {}
    newest: dict[str, dict[int, Trial]] = defaultdict(dict)
    confirmed: dict[str, set[str | None]] = defaultdict(set)
    for trial in sorted(trials.values(), key=lambda trial: trial.created):
        if trial.search and trial.search.part == "search":
            tried[trial.trial_id] = newest[trial.search.key][trial.search.index] = trial
        elif trial.search and trial.search.part == "confirmation":
            confirmed[trial.search.key].add(trial.search.chosen)
    for path, trial in trials.items():
        mark = trial.search
        if mark is None or mark.part == "superseded":
            continue
        if mark.part == "search":
            area = objective(trial, mark.end) if trial.status == "done" else None
            if not _equal(mark.area, area):
                yield Fault(path, "search.area", f"{mark.area}, but the evaluations give {area}")
        elif complaint := _choice(trial, mark, tried.get(mark.chosen or "")):
            yield Fault(path, "search.chosen", f"{mark.chosen} {complaint}")
        else:
            best = _area(tried[mark.chosen or ""])
            better = sum(_area(other) > best for other in newest[mark.key].values())
            if better >= (count := len(confirmed[mark.key])):
                complaint = f"is not among the best {count} trials of the search"
                yield Fault(path, "search.chosen", f"{mark.chosen} {complaint}")


def _choice(trial: Trial, mark: Searched, chosen: Trial | None) -> str | None:
    """The reason why a trial does not confirm another one; None if it does."""
    if chosen is None or chosen.search is None:
        return "is no trial of a search"
    if chosen.search.key != mark.key:
        return "is a trial of another search"
    if chosen.seed == trial.seed:
        return "has the same seed"
    return None if setting_of(chosen) == setting_of(trial) else "has another configuration"


def _area(trial: Trial) -> float:
    """The area of a trial of a search; of a failed one less than any."""
    area = trial.search and trial.search.area
    return -np.inf if area is None else area


def _equal(one: float | None, other: float | None) -> bool:
    return one == other if one is None or other is None else close(one, other)

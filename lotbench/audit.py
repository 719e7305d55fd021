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

from lotbench.config.sections import digest
from lotbench.errors import InputError
from lotbench.metrics import MEANS, METRICS, compute_metrics
from lotbench.statistics.runs import setting_of
from lotbench.store.parts import Searched
from lotbench.store.predictions import decode
from lotbench.store.records import Evaluation, Map, TimingPass, Trial, without_limit
from lotbench.store.store import read_record
from lotbench.store.timing_parts import Contender
from lotbench.study.objective import objective

VERSIONS = range(1, 100)
"""Versions of a method that the id of an older row may be of, since these do not say which."""
NARROWEST = 64
"""Fewest units of a layer that are assumed where the width of the backbone is not known."""
OVERHEAD = 0.5
"""Most FLOPs of routers and scorers, as a share of dense."""
TARGET = 0.35
"""A budget is searched on a part of selection, so on the whole it may be this far off."""
SLACK = 0.1
"""By so much another dense model may be faster than the best: medians of ratios do not chain."""
CALLS = 3
"""The protocol from which on a pass times calls."""

Complaint = tuple[str, str]
"""A key path of a record, such as ``evaluations.0.flops``, and what is wrong there."""
TrialsById = Mapping[str, Trial]
"""The trials by trial id."""
ByName = Mapping[tuple[str, str], Contender]
"""The contenders of a pass by name and backend."""


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
    """What the checks of one store found."""

    folder: Path
    faults: list[Fault] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """Files read, by kind."""
    rowless: int = 0
    """Timing passes with models whose trials the store lacks, so that these were not compared."""


def audit(folder: Path) -> Audit:
    """Check every file of a store by itself and against the others.

    Raises
    ------
    InputError
        If the folder holds no trials.
    """
    if not (folder / Trial.FOLDER).is_dir():
        raise InputError(f"{folder}: no store (it has no folder {Trial.FOLDER!r})")
    found, records = Audit(folder), {}
    for kind in (Trial, TimingPass, Map):
        for file in sorted((folder / kind.FOLDER).glob("*.json")):
            path = f"{kind.FOLDER}/{file.name}"
            found.counts[kind.FOLDER] += 1
            try:
                records[path] = read_record(kind, file)
            except ValueError as error:
                found.faults.append(Fault(path, "", f"not a record: {error}"))
    trials = {path: own for path, own in records.items() if isinstance(own, Trial)}
    rows = {own.trial_id: own for own in trials.values()}
    for path, own in records.items():
        complaints = [*_provenance(own)]
        if isinstance(own, Trial):
            complaints += [*_identity(own), *_evaluations(own)]
        elif isinstance(own, TimingPass):
            complaints += _pass(own, rows)
            found.rowless += any(each.trial_id not in (None, *rows) for each in own.contenders)
        found.faults += [Fault(path, *complaint) for complaint in complaints]
    found.faults += [*_differing(trials), *_searches(trials)]
    return found


def _close(one: float, other: float) -> bool:
    """True if two numbers differ by rounding alone."""
    return abs(one - other) <= 1e-6 * max(abs(one), abs(other), 1e-6)


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
        own = getattr(trial, key)
        if config.get(key) != own:
            yield key, f"{own!r}, but the configuration has {config.get(key)!r}"
    hashed = {key: value for key, value in without_limit(config).items() if key != "plugins"}
    start = f"{trial.task}-{trial.method}-s{trial.seed}-"
    versions = VERSIONS if trial.version is None else (trial.version,)
    ids = (start + digest({**hashed, "version": version})[:10] for version in versions)
    if trial.trial_id not in ids:
        yield "trial_id", "is not the id of its configuration"
    given: Any = config.get("params", {})
    for name, value in given.items():
        # Budgets and targets stand among the given parameters, but are not parameters.
        if name in trial.params and trial.params[name] != value:
            yield f"params.{name}", f"{trial.params[name]!r}, but the configuration has {value!r}"


def _evaluations(trial: Trial) -> Iterator[Complaint]:
    """Both splits have the same budgets once, and each evaluation agrees with itself."""
    counts = Counter((own.split, own.budget) for own in trial.evaluations)
    for (split, budget), count in counts.items():
        if count > 1:
            yield "evaluations", f"{count} evaluations of {split} {budget or ''}".rstrip()
    by_split = Counter(own.split for own in trial.evaluations)
    if len(set(by_split.values())) > 1:
        listed = ", ".join(f"{split} {count}" for split, count in sorted(by_split.items()))
        yield "evaluations", f"not the same budgets on each split: {listed}"
    for place, own in enumerate(trial.evaluations):
        for key, message in (*_scores(trial, own), *_flops(trial, own)):
            yield f"evaluations.{place}.{key}", message


def _scores(trial: Trial, own: Evaluation) -> Iterator[Complaint]:
    """The scores are those of the predictions and labels."""
    stored = ((trial.data and trial.data.labels) or {}).get(own.split)
    if stored is not None and len(stored) != own.examples:
        yield "examples", f"{own.examples}, but there are {len(stored)} labels"
    for name, score in own.metrics.items():
        mean = name in MEANS
        if score is None or name not in METRICS or not (mean or stored):
            continue
        labels = decode(stored) if stored and not mean else None
        value = compute_metrics([name], decode(own.made_of(name)), labels)[name]
        if not _close(score, value):
            yield f"metrics.{name}", f"{score}, but the predictions give {value:.6g}"


def _flops(trial: Trial, own: Evaluation) -> Iterator[Complaint]:
    """The speed-up agrees with FLOPs, keep ratios and target."""
    ratio = own.dense_flops / own.flops
    if not _close(ratio, own.flops_speedup):
        yield "flops_speedup", f"{own.flops_speedup:.6g}, but its FLOPs give {ratio:.6g}"
    means = [float(np.mean(each)) for each in (own.keep_ratio, own.key_ratio, own.ffn_ratio)]
    low, high = _bounds(means, _longest(trial))
    if not low <= 1 / own.flops_speedup <= high:
        span = f"between {1 / high:.3g} and {1 / low:.3g}"
        yield "flops_speedup", f"{own.flops_speedup:.4g}, but the keep ratios allow {span}"
    if own.target and own.split == "selection":
        off = own.flops_speedup / own.target
        if not 1 / (1 + TARGET) <= off <= 1 + TARGET:
            yield "target", f"{own.target:g}, but its FLOPs speed-up is {own.flops_speedup:.4g}"


def _bounds(means: list[float], longest: int) -> tuple[float, float]:
    """The least and largest FLOPs as a share of dense, for queries, keys and feed-forwards kept.

    Per token and layer of width D, projections cost 8 D^2 FLOPs, the feed-forward 16 D^2, and
    attention at most 4 D times the longest text; only the last is not linear in the tokens.
    """
    queries, keys, feed_forward = means
    linear = (4 * queries + 4 * keys + 16 * feed_forward) / 24
    share = 24 * NARROWEST / (24 * NARROWEST + 4 * longest)
    return share * linear - 1e-3, share * linear + (1 - share) + OVERHEAD


def _longest(trial: Trial) -> int:
    scored: Any = trial.config.get("evaluate") or trial.config.get("data", {})
    longest = scored.get("max_length")
    return longest if isinstance(longest, int) else 512


def _differing(trials: Mapping[str, Trial]) -> Iterator[Fault]:
    """A fault for each value that is not that of the first trial with the same data or teacher."""
    first: dict[Any, tuple[str, Any]] = {}
    for path, trial in trials.items():
        for key, group, value in _shared(trial) if trial.status == "done" else ():
            where, expected = first.setdefault(group, (path, value))
            close = isinstance(value, int | float) and _close(value, expected)
            if value != expected and not close:
                yield Fault(path, key, f"differs from that of {where}")


def _shared(trial: Trial) -> Iterator[tuple[str, Any, Any]]:
    """Key, group and value of what all trials of a group share."""
    config, data, teacher = trial.config, trial.data, trial.teacher
    if data and data.fingerprint:
        own = data.fingerprint
        yield "data.fingerprint", (str(config.get("data")), trial.task, trial.seed), own
        for split, labels in (data.labels or {}).items():
            yield f"data.labels.{split}", ("labels", own, split), labels
        for place, each in enumerate(trial.evaluations):
            group = "FLOPs", own, trial.backbone, str(config.get("layers")), each.split
            yield f"evaluations.{place}.dense_flops", group, each.dense_flops
    if teacher and teacher.key and teacher.metrics:
        yield "teacher.metrics", ("teacher", teacher.key), teacher.metrics


def _searches(trials: Mapping[str, Trial]) -> Iterator[Fault]:
    """Areas follow from the rows, and what was confirmed is among the best of its search."""
    tried: dict[str, Trial] = {}
    newest: dict[str, dict[int, Trial]] = defaultdict(dict)
    confirmed: dict[str, set[str | None]] = defaultdict(set)
    for own in sorted(trials.values(), key=lambda own: own.created):
        if own.search and own.search.part == "search":
            tried[own.trial_id] = newest[own.search.key][own.search.index] = own
        elif own.search and own.search.part == "confirmation":
            confirmed[own.search.key].add(own.search.chosen)
    for path, own in trials.items():
        mark = own.search
        if mark is None or mark.part == "superseded":
            continue
        if mark.part == "search":
            area = objective(own, mark.end) if own.status == "done" else None
            if not _equal(mark.area, area):
                yield Fault(path, "search.area", f"{mark.area}, but the evaluations give {area}")
        elif complaint := _choice(own, mark, tried.get(mark.chosen or "")):
            yield Fault(path, "search.chosen", f"{mark.chosen} {complaint}")
        else:
            best = _area(tried[mark.chosen or ""])
            better = sum(_area(each) > best for each in newest[mark.key].values())
            if better >= (count := len(confirmed[mark.key])):
                complaint = f"is not among the best {count} trials of the search"
                yield Fault(path, "search.chosen", f"{mark.chosen} {complaint}")


def _choice(own: Trial, mark: Searched, chosen: Trial | None) -> str | None:
    """What contradicts that a trial confirms another one."""
    if chosen is None or chosen.search is None:
        return "is no trial of a search"
    if chosen.search.key != mark.key:
        return "is a trial of another search"
    if chosen.seed == own.seed:
        return "has the same seed"
    return None if setting_of(chosen) == setting_of(own) else "has another configuration"


def _area(trial: Trial) -> float:
    """The area of a trial of a search; of a failed one less than any."""
    area = trial.search and trial.search.area
    return -np.inf if area is None else area


def _equal(one: float | None, other: float | None) -> bool:
    return one == other if one is None or other is None else _close(one, other)


def _pass(timing: TimingPass, rows: TrialsById) -> Iterator[Complaint]:
    """A pass agrees with itself and with the trials."""
    if len({(own.name, own.backend) for own in timing.contenders}) < len(timing.contenders):
        yield "contenders", "two of one backend have the same name"
    yield from _measures(timing)
    with_calls = [(own, own.call) for own in timing.contenders if own.call]
    if timing.call and len(with_calls) == len(timing.contenders):
        called = [own.model_copy(update=call.known()) for own, call in with_calls]
        of_calls = timing.call.known() | {"contenders": called}
        yield from _measures(timing.model_copy(update=of_calls), "call.")
    elif timing.call or with_calls or timing.protocol >= CALLS:
        yield "call", "the pass or a contender has no times of its calls"
    for place, own in enumerate(timing.contenders):
        if own.time_shares and abs((total := sum(own.time_shares.values())) - 1) > 1e-3:
            yield f"contenders.{place}.time_shares", f"they sum to {total:.4g}, not 1"
        if trial := rows.get(own.trial_id or ""):
            for key, message in _against_row(timing, own, trial):
                yield f"contenders.{place}.{key}", message


def _measures(timing: TimingPass, part: str = "") -> Iterator[Complaint]:
    """The times of a pass agree; ``part`` is ``call.`` if they are of its calls."""
    by_name = {(own.name, own.backend): own for own in timing.contenders}
    for key, message in _references(timing, by_name):
        yield f"{part}{key}", message
    for place, own in enumerate(timing.contenders):
        for key, message in (*_times(timing, own), *_speedups(timing, own, by_name)):
            yield f"contenders.{place}.{part}{key}", message


def _references(timing: TimingPass, by_name: ByName) -> Iterator[Complaint]:
    """The dense models that others are measured against are timed, and are as claimed.

    No other dense model that holds its score is faster, and they hold theirs if any does.
    """
    for backend, name in timing.fastest.items():
        if (name, backend) not in by_name:
            yield "fastest", f"no {name} in {backend} was timed"
    best = by_name.get((timing.fastest.get(timing.best or "", ""), timing.best or ""))
    if timing.best and best is None:
        yield "best", f"{timing.best} has no dense model"
    if best and not best.scores["selection"].held:
        yield "best", f"dense in {timing.best} does not hold its score on selection"
    held = [own for own in by_name.values() if not own.trial_id and own.scores["selection"].held]
    for own in held:
        same = by_name.get((timing.fastest.get(own.backend, ""), own.backend))
        if same and not same.scores["selection"].held:
            yield "fastest", f"{same.name} in {own.backend} does not hold its score on selection"
        for key, first in (("fastest", same), ("best", best)):
            if first and len(own.samples) == len(first.samples):
                ratio = float(np.median(np.divide(first.samples, own.samples)))
                if ratio > 1 + SLACK:
                    yield key, f"{own.name} in {own.backend} is {ratio:.3g} times faster"


def _times(timing: TimingPass, own: Contender) -> Iterator[Complaint]:
    """The time per text is the median of the samples."""
    if timing.setting.examples:
        median = float(np.median(own.samples)) / timing.setting.examples
        if not _close(own.seconds_per_example, median):
            yield "seconds_per_example", f"{own.seconds_per_example:.6g}, not {median:.6g}"


def _speedups(timing: TimingPass, own: Contender, by_name: ByName) -> Iterator[Complaint]:
    """The speed-ups are the medians of the ratios of the samples, round by round."""
    backend, fastest, best = own.backend, timing.fastest, timing.best or ""
    for key, interval, dense in (
        ("speedup", own.speedup, by_name.get((fastest.get(backend, ""), backend))),
        ("speedup_padded", own.speedup_padded, by_name.get(("dense", backend))),
        ("speedup_best", own.speedup_best, by_name.get((fastest.get(best, ""), best))),
    ):
        if interval is None or dense is None:
            continue
        reference = np.array(dense.samples, float)
        if own.group is not None:
            reference = reference[_rounds(timing, own.group, len(reference))]
        if len(reference) != len(own.samples):
            text = f"{len(own.samples)} rounds, but {dense.name} has {len(reference)} in them"
            yield "samples", text
            return
        median = float(np.median(reference / np.array(own.samples, float)))
        if not _close(interval.median, median):
            yield f"{key}.median", f"{interval.median:.6g}, but the samples give {median:.6g}"


def _rounds(timing: TimingPass, group: int, total: int) -> np.ndarray:
    """Which samples of a dense model, which is in all groups, are of one group's rounds."""
    sizes = [group.rounds for group in timing.groups]
    # Process by process, and within a process group by group.
    owner = [
        number
        for process in range(max(map(len, sizes), default=0))
        for number, own in enumerate(sizes)
        for _ in range(own[process] if process < len(own) else 0)
    ]
    return np.array(owner) == group if len(owner) == total else np.zeros(total, bool)


def _against_row(timing: TimingPass, own: Contender, trial: Trial) -> Iterator[Complaint]:
    """A contender is a scored model of its trial, and its scores are those of the row, changed."""
    if trial.task != timing.task:
        yield "trial_id", f"{own.trial_id} is of another task"
    scored = {each.split: each for each in trial.evaluations if each.budget == own.budget}
    if not scored:
        yield "budget", f"{own.trial_id} was not scored at {own.budget or 'no budget'}"
    for split, score in own.scores.items():
        row = scored.get(split)
        # The change is against the predictions of the row.
        if row is None or score.score is None or score.change is None:
            continue
        before, expected = score.score - score.change, row.metrics.get(timing.metric or "")
        if expected is not None and abs(before - expected) > 1e-6:
            yield f"scores.{split}.score", f"less change {before:.6g}, the row has {expected:.6g}"
        moved, flips = abs(score.change) * row.examples, score.flips
        if timing.metric == "accuracy" and flips is not None and moved > flips + 0.5:
            yield f"scores.{split}.flips", f"{flips} texts, but {moved:.0f} changed the score"

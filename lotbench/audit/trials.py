"""What must add up within one trial's row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from lotbench.audit.fault import Fault, close
from lotbench.config.sections import digest
from lotbench.metrics import METRICS, compute_metrics
from lotbench.store.predictions import decode
from lotbench.store.records import Evaluation, Map, TimingPass, Trial, without_limit

VERSIONS = range(1, 100)
"""Versions of a method that a trial id may be of; rows do not say which."""
NARROWEST = 64
"""Fewest units of a layer that are assumed where the width of the backbone is not known."""
OVERHEAD = 0.5
"""Most FLOPs of routers and scorers, as a share of dense."""
TARGET = 0.35
"""A budget is searched on a part of selection, so on the whole it may be this far off."""


def faults(path: str, trial: Trial) -> Iterator[Fault]:
    """Everything within one row that does not add up."""
    yield from provenance(path, trial)
    yield from _identity(path, trial)
    yield from _evaluations(path, trial)


def unchecked(trial: Trial) -> Iterator[str]:
    """What the row lacks, so that a check is left out."""
    if trial.config is None:
        yield "configuration"
    if trial.status == "done" and not all(own.predictions for own in trial.evaluations):
        yield "predictions"
    if trial.status == "done" and not (trial.data and trial.data.labels):
        yield "labels"


def provenance(path: str, record: Trial | TimingPass | Map) -> Iterator[Fault]:
    """Machine, versions, commit and time must be there, and the time must not be ahead."""
    if record.machine is None or not record.machine.cpu:
        yield Fault(path, "machine", "missing")
    if not record.versions:
        yield Fault(path, "versions", "missing")
    if not record.git_commit:
        yield Fault(path, "git_commit", "missing")
    try:
        created = datetime.fromisoformat(record.created or "")
    except ValueError:
        yield Fault(path, "created", f"{record.created!r} is no time")
        return
    if created.replace(tzinfo=created.tzinfo or UTC) > datetime.now(UTC):
        yield Fault(path, "created", f"{record.created} is in the future")


def _identity(path: str, trial: Trial) -> Iterator[Fault]:
    """The id and the fields of the row against its configuration."""
    config = trial.config
    if config is None:
        return
    for key in ("task", "method", "seed", "backbone"):
        own = getattr(trial, key)
        if config.get(key) != own:
            yield Fault(path, key, f"{own!r}, but the configuration has {config.get(key)!r}")
    hashed = {key: value for key, value in without_limit(config).items() if key != "plugins"}
    start = f"{trial.task}-{trial.method}-s{trial.seed}-"
    ids = (start + digest({**hashed, "version": version})[:10] for version in VERSIONS)
    if trial.trial_id not in ids:
        yield Fault(path, "trial_id", "is not the id of its configuration")
    given = config.get("params")
    for name, value in given.items() if isinstance(given, dict) else ():
        # Budgets and targets stand among the given parameters, but are not parameters.
        if name in trial.params and trial.params[name] != value:
            message = f"{trial.params[name]!r}, but the configuration has {value!r}"
            yield Fault(path, f"params.{name}", message)


def _evaluations(path: str, trial: Trial) -> Iterator[Fault]:
    keys = [(own.split, own.budget) for own in trial.evaluations]
    for (split, budget), count in Counter(keys).items():
        if count > 1:
            name = f"{split} {budget or ''}".strip()
            yield Fault(path, "evaluations", f"{count} evaluations of {name}")
    by_split = Counter(split for split, _ in keys)
    if len(set(by_split.values())) > 1:
        counts = ", ".join(f"{split} {count}" for split, count in sorted(by_split.items()))
        yield Fault(path, "evaluations", f"not the same budgets on each split: {counts}")
    for place, own in enumerate(trial.evaluations):
        found = [*_scores(trial, own), *_flops(trial, own)]
        yield from (Fault(path, f"evaluations.{place}.{key}", text) for key, text in found)


def _scores(trial: Trial, own: Evaluation) -> Iterator[tuple[str, str]]:
    """The scores in their range, and against predictions and labels."""
    for name, value in own.metrics.items():
        least = 0 if name in ("accuracy", "f1") else -1
        if value is not None and not least <= value <= 1:
            yield f"metrics.{name}", f"{value} is not between {least} and 1"
    stored = ((trial.data and trial.data.labels) or {}).get(own.split)
    if own.predictions is None or stored is None:
        return
    try:
        predicted, labels = decode(own.predictions), decode(stored)
    except (TypeError, ValueError):
        yield "predictions", "neither a text of digits nor a list of numbers"
        return
    if not len(predicted) == len(labels) == own.examples:
        counts = f"{len(predicted)} predictions, {len(labels)} labels, {own.examples} examples"
        yield "predictions", counts
        return
    known = [name for name in own.metrics if name in METRICS]
    for name, value in compute_metrics(known, predicted, labels).items():
        score = own.metrics[name]
        if score is not None and not close(score, value):
            yield f"metrics.{name}", f"{score}, but the predictions give {value:.6g}"


def _flops(trial: Trial, own: Evaluation) -> Iterator[tuple[str, str]]:
    """FLOPs against speed-up, keep ratios and target."""
    if own.flops and own.dense_flops and own.flops_speedup:
        ratio = own.dense_flops / own.flops
        if not close(ratio, own.flops_speedup):
            yield "flops_speedup", f"{own.flops_speedup:.6g}, but its FLOPs give {ratio:.6g}"
    ratios = [each for each in (own.keep_ratio, own.key_ratio, own.ffn_ratio) if each]
    if len({len(each) for each in ratios}) > 1:
        yield "keep_ratio", "the ratios are of different numbers of layers"
        return
    for name in ("keep_ratio", "key_ratio", "ffn_ratio"):
        if any(not 0 <= share <= 1 + 1e-9 for share in getattr(own, name) or ()):
            yield name, "a share is not between 0 and 1"
            return
    if len(ratios) == 3 and own.flops_speedup:
        low, high = _bounds(ratios, _longest(trial))
        if not low <= 1 / own.flops_speedup <= high:
            span = f"between {1 / high:.3g} and {1 / low:.3g}"
            yield "flops_speedup", f"{own.flops_speedup:.4g}, but the keep ratios allow {span}"
    if own.target and own.split == "selection" and own.flops_speedup:
        off = own.flops_speedup / own.target
        if not 1 / (1 + TARGET) <= off <= 1 + TARGET:
            yield "target", f"{own.target:g}, but its FLOPs speed-up is {own.flops_speedup:.4g}"


def _bounds(ratios: list[list[float | int]], longest: int) -> tuple[float, float]:
    """The least and largest FLOPs as a share of dense.

    Per token and layer of width D, projections cost 8 D^2 FLOPs, the feed-forward 16 D^2, and
    attention at most 4 D times the longest text; only the last is not linear in the tokens.
    """
    queries, keys, feed_forward = (sum(each) / len(each) for each in ratios)
    linear = (4 * queries + 4 * keys + 16 * feed_forward) / 24
    share = 24 * NARROWEST / (24 * NARROWEST + 4 * longest)
    return share * linear - 1e-3, share * linear + (1 - share) + OVERHEAD


def _longest(trial: Trial) -> int:
    data = (trial.config or {}).get("data")
    longest = data.get("max_length") if isinstance(data, dict) else None
    return longest if isinstance(longest, int) else 512

"""What must agree between the trials of a store."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping

from lotbench.audit.fault import Fault, close
from lotbench.store.records import Trial


def faults(rows: Mapping[str, Trial]) -> Iterator[Fault]:
    """Values that all trials with the same data, teacher or training must share."""
    done = {path: trial for path, trial in rows.items() if trial.status == "done"}
    yield from _differ(done, "data.fingerprint", _task_and_seed, _fingerprint)
    for split in ("validation", "selection"):
        key = f"data.labels.{split}"
        yield from _differ(done, key, _fingerprint, lambda row, split=split: _labels(row, split))
    yield from _differ(done, "teacher.metrics", _teacher, _teacher_scores)
    yield from _dense_flops(done)


def _differ(
    rows: Mapping[str, Trial],
    key: str,
    group: Callable[[Trial], Hashable],
    value: Callable[[Trial], Hashable],
) -> Iterator[Fault]:
    """A fault for each row whose value is not that of the first row of its group."""
    first: dict[Hashable, tuple[str, Hashable]] = {}
    for path, trial in rows.items():
        name, own = group(trial), value(trial)
        if name is None or own is None:
            continue
        where, expected = first.setdefault(name, (path, own))
        if own != expected:
            yield Fault(path, key, f"differs from that of {where}")


def _dense_flops(rows: Mapping[str, Trial]) -> Iterator[Fault]:
    """The dense model's FLOPs on one split of the same data, in all rows."""
    known: dict[Hashable, tuple[str, float]] = {}
    for path, trial in rows.items():
        data = _fingerprint(trial)
        if data is None:
            continue
        for place, own in enumerate(trial.evaluations):
            if own.dense_flops is None:
                continue
            name = (data, trial.backbone, (trial.config or {}).get("layers"), own.split)
            where, expected = known.setdefault(name, (path, own.dense_flops))
            if not close(own.dense_flops, expected):
                key = f"evaluations.{place}.dense_flops"
                yield Fault(path, key, f"{own.dense_flops:.6g}, but {where} has {expected:.6g}")


def _task_and_seed(trial: Trial) -> Hashable:
    return str((trial.config or {}).get("data")), trial.task, trial.seed


def _fingerprint(trial: Trial) -> Hashable:
    return trial.data and trial.data.fingerprint


def _teacher(trial: Trial) -> Hashable:
    return trial.teacher and trial.teacher.key


def _teacher_scores(trial: Trial) -> Hashable:
    scores = (trial.teacher and trial.teacher.metrics) or {}
    return str(sorted((split, sorted(own.items())) for split, own in scores.items()))


def _labels(trial: Trial, split: str) -> Hashable:
    labels = ((trial.data and trial.data.labels) or {}).get(split)
    return tuple(labels) if isinstance(labels, list) else labels

"""A timing pass: several worker processes one after another, merged into one record each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from lotbench import engine
from lotbench.errors import InputError
from lotbench.measure import launch, merge, protocol
from lotbench.measure.spec import PassSpec, WorkerResult
from lotbench.store.records import TimingPass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PassResult:
    """The record of one batch size, and why candidates failed, by key."""

    record: TimingPass
    broken: dict[str, str]


def run_pass(spec: PassSpec) -> Iterator[PassResult]:
    """One result per batch size, once all workers are done.

    A candidate that raises is left out.

    Raises
    ------
    InputError
        If two candidates of a backend have the same name, one has the name of a baseline, or there
        are no examples.
    PassFailed
        If a worker dies.
    """
    names = [each.key for each in (*spec.dense, *spec.candidates)]
    for each in spec.candidates:
        if names.count(each.key) > 1 or each.name in protocol.BASELINES:
            raise InputError(
                f"contenders: the name {each.name!r} is taken; every name must be unique"
            )
    if not spec.examples:
        raise InputError("examples: nothing to time; raise measure.examples")
    label = f"timing {spec.task} on {spec.setting}"
    log.info("%s: %d contenders and %d dense", label, len(spec.candidates), len(spec.dense))
    shares = merge.rounds_of_processes(spec.rounds)
    results = [
        launch.run_worker(
            "lotbench.measure.worker",
            replace(
                spec, process=process, rounds=rounds, min_seconds=spec.min_seconds / len(shares)
            ),
            WorkerResult,
            f"{label}: process {process + 1} of {len(shares)}",
        )
        for process, rounds in enumerate(shares)
    ]
    broken = {name: why for result in results for name, why in result.broken.items()}
    unable: dict[str, Any] = {"unable": list(spec.unable)} if spec.unable else {}
    for size in spec.batch_sizes:
        setting, summary = merge.merge(spec, results, size)
        parts = (spec.task, *spec.setting.parts, f"b{size}")
        record = TimingPass(
            **launch.provenance("pass_id", *parts),
            task=spec.task,
            protocol=protocol.VERSION,
            engine=engine.VERSION,
            setting=setting,
            dense_model=spec.dense_model,
            metric=spec.metric,
            **vars(summary),
            **unable,
        )
        yield PassResult(record, broken)

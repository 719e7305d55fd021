"""Merge the times of several worker processes into one record per batch size.

A process lays out its memory once, and some layouts are faster than others.  All rounds of
a process share one layout, so only an interval over several processes includes this variation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lotbench import engine
from lotbench.measure import launch, protocol
from lotbench.measure.devices import device_name
from lotbench.measure.spec import GroupTimes, PassSpec, WorkerResult, key
from lotbench.store.records import TimingPass
from lotbench.store.timing_parts import Contender, TimingSetting

ROUNDS_EACH = 4


def rounds_of_processes(rounds: int) -> list[int]:
    """Number of rounds for each process; there is one process for every four rounds."""
    count = max(1, rounds // ROUNDS_EACH)
    return [rounds // count + (number < rounds % count) for number in range(count)]


def merge(spec: PassSpec, results: Sequence[WorkerResult], batch_size: int) -> TimingPass:
    """The record of one batch size; entries that raised in a process are left out.

    Parameters
    ----------
    spec : PassSpec
        The specification of the whole pass.
    results : sequence of WorkerResult
        One per process, in order.
    batch_size : int
    """
    broken = {name for result in results for name in result.broken}
    groups = list(zip(*(result.groups[batch_size] for result in results), strict=True))
    samples = [
        [{k: v for k, v in process.samples.items() if k not in broken} for process in group]
        for group in groups
    ]
    found = protocol.compare(samples, spec.dense, spec.entries, len(spec.examples), spec.seed)
    unable: dict[str, Any] = {"unable": list(spec.unable)} if spec.unable else {}
    return TimingPass(
        **launch.origin("pass_id", spec.task, *spec.setting.parts, f"b{batch_size}"),
        task=spec.task,
        protocol=protocol.VERSION,
        engine=engine.VERSION,
        setting=TimingSetting(
            device=spec.setting.device,
            device_name=device_name(spec.setting.device),
            threads=spec.setting.threads,
            backends=list(dict.fromkeys(each.backend for each in spec.dense)),
            batch_size=batch_size,
            examples=len(spec.examples),
            attention=results[0].attention,
            rounds=spec.rounds,
            min_seconds=spec.min_seconds,
            seed=spec.seed,
            processes=len(results),
            picked=spec.picked,
        ),
        dense_model=spec.dense_model,
        metric=spec.metric,
        fastest=found.fastest,
        best=found.best,
        noise_floor=found.noise_floor,
        groups=found.groups,
        contenders=[_completed(row, groups) for row in found.contenders],
        **unable,
    )


def _completed(row: Contender, groups: Sequence[Sequence[GroupTimes]]) -> Contender:
    """The row with its call seconds and observations added."""
    name = key(row.name, row.backend)
    own = [process for group in groups for process in group if name in process.samples]
    calls = protocol.pool([process.calls for process in own], [name])[name]
    found: dict[str, Any] = {"call_seconds": protocol.percentiles(calls)}
    if name in own[0].observations:
        found |= vars(own[0].observations[name])
    if own[0].events:
        found["event_samples"] = protocol.pool([each.events for each in own], [name])[name]
    return row.model_copy(update=found)

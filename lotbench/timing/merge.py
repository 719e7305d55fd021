"""Merge the times of several worker processes into one record per batch size.

A process lays out its memory once, and some layouts are faster than others.  All rounds of
a process share one layout, so only an interval over several processes includes this variation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lotbench import engine
from lotbench.measure import launch, protocol
from lotbench.measure.devices import device_name
from lotbench.measure.spec import GroupTimes, PassSpec, Samples, Times, WorkerResult, key
from lotbench.store.passes import (
    CallMeasures,
    CallSeconds,
    Contender,
    Measures,
    References,
    TimingPass,
    TimingSetting,
)


def merge(spec: PassSpec, results: Sequence[WorkerResult], batch_size: int) -> TimingPass:
    """The record of one batch size of a pass; entries that raised in a process are left out.

    There is one result per process, in order.
    """
    broken = {name for result in results for name in result.broken}
    groups = list(zip(*(result.groups[batch_size] for result in results), strict=True))

    def compare(part: Callable[[GroupTimes], Times]) -> protocol.Comparison:
        def samples(own: GroupTimes) -> Samples:
            return {k: v for k, v in part(own).passes.items() if k not in broken}

        times = [list(map(samples, group)) for group in groups]
        return protocol.compare(times, spec.dense, spec.entries, len(spec.examples), spec.seed)

    found, whole = compare(lambda own: own.encoder), compare(lambda own: own.call)
    untimed = {"unable": list(spec.unable), "slower": list(spec.slower)}
    given: dict[str, Any] = {name: pairs for name, pairs in untimed.items() if pairs}
    return TimingPass(
        **launch.origin("pass_id", spec.task, *spec.setting.parts, f"b{batch_size}"),
        task=spec.task,
        protocol=protocol.VERSION,
        engine=engine.VERSION,
        setting=TimingSetting(
            device=spec.setting.device,
            device_name=device_name(spec.setting.device),
            threads=spec.setting.threads,
            backends=list(spec.backends),
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
        call=References(fastest=whole.fastest, best=whole.best, noise_floor=whole.noise_floor),
        groups=found.groups,
        contenders=[
            _completed(row, call, groups)
            for row, call in zip(found.contenders, whole.contenders, strict=True)
        ],
        **given,
    )


def _completed(
    row: Contender, call: Contender, groups: Sequence[Sequence[GroupTimes]]
) -> Contender:
    """The row of an encoder with its percentiles, its observations and the measures of its call."""
    name = key(row.name, row.backend)
    own = [process for group in groups for process in group if name in process.call.passes]

    def percentiles(times: Sequence[Times]) -> CallSeconds:
        return protocol.percentiles(protocol.pool([each.calls for each in times], [name])[name])

    measures = {field: getattr(call, field) for field in Measures.model_fields}
    seconds = percentiles([each.call for each in own])
    found: dict[str, Any] = {
        "call_seconds": percentiles([each.encoder for each in own]),
        "call": CallMeasures(**measures, call_seconds=seconds),
        **own[0].observations.get(name, {}),
    }
    if own[0].events:
        found["event_samples"] = protocol.pool([each.events for each in own], [name])[name]
    return row.model_copy(update=found)

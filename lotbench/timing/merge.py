"""Merge the times of several worker processes into one record per batch size.

A process lays out its memory once, and some layouts are faster than others.  All rounds of
a process share one layout, so only an interval over several processes includes this variation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from lotbench import engine
from lotbench.measure import launch, protocol
from lotbench.measure.devices import device_name
from lotbench.measure.spec import GroupTimes, Passes, PassSpec, Samples, WorkerResult, key, sums
from lotbench.store.passes import (
    CallMeasures,
    CallSeconds,
    Contender,
    Measures,
    TimingPass,
    TimingSetting,
)


def merge(spec: PassSpec, results: Sequence[WorkerResult], batch_size: int) -> TimingPass:
    """The record of one batch size of a pass; entries that raised in a process are left out.

    There is one result per process, in order.
    """
    broken = {name for result in results for name in result.broken}
    groups = list(zip(*(result.groups[batch_size] for result in results), strict=True))

    def samples(passes: Passes) -> Samples:
        return sums({name: own for name, own in passes.items() if name not in broken})

    models = spec.dense, spec.entries, len(spec.examples), spec.seed
    of_encoders = [[samples(own.encoder) for own in group] for group in groups]
    of_calls = [[samples(own.call) for own in group] for group in groups]
    references, rounds, encoders = protocol.compare(of_encoders, *models)
    whole, _, calls = protocol.compare(of_calls, *models)
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
        **dict(references),
        call=whole,
        groups=rounds,
        contenders=[
            _completed(row, call, groups) for row, call in zip(encoders, calls, strict=True)
        ],
        **given,
    )


def _completed(
    row: Contender, call: Contender, groups: Sequence[Sequence[GroupTimes]]
) -> Contender:
    """The row of an encoder with its percentiles, its observations and the measures of its call."""
    name = key(row.name, row.backend)
    own = [process for group in groups for process in group if name in process.call]

    def percentiles(times: Sequence[Passes]) -> CallSeconds:
        passes = protocol.pool(times, [name])[name]
        return protocol.percentiles([*chain.from_iterable(passes)])

    measures = {field: getattr(call, field) for field in Measures.model_fields}
    seconds = percentiles([each.call for each in own])
    found: dict[str, Any] = {
        "call_seconds": percentiles([each.encoder for each in own]),
        "call": CallMeasures(**measures, call_seconds=seconds),
        **own[0].observations.get(name, {}),
    }
    if own[0].events:
        found["event_samples"] = protocol.pool([sums(each.events) for each in own], [name])[name]
    return row.model_copy(update=found)
